"""The documentation: its links lead somewhere, and its lists are those of the code."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

from tests.builders import REPOSITORY, counter_set, cycle_result

from dcgm_simulator import SCENARIOS
from do_dcgm_exporter.collect.clock_log import EVENT_NAMES
from do_dcgm_exporter.config.counters import Special
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.embedded_dcgm import EmbeddedDcgm
from do_dcgm_exporter.page.forwarding import ForwardResult, ForwardStatistics
from do_dcgm_exporter.page.gpu_users import GpuUsers
from do_dcgm_exporter.page.own_metrics import Telemetry, TelemetryRegistry
from do_dcgm_exporter.usage_report import UsageReport, encode

DOCUMENTS = sorted([*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/*.md")])
METRICS = (REPOSITORY / "docs" / "metrics.md").read_text()
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text()
PACKAGE = REPOSITORY / "src" / "do_dcgm_exporter"
# Folders that paths in the documents start from.
ROOTS = ("", "src/do_dcgm_exporter")


def links(document: Path) -> list[str]:
    return re.findall(r"\]\(([^)\s]+)\)", document.read_text())


def anchors(document: Path) -> set[str]:
    """The anchors GitHub makes of the headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", document.read_text())
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_link_leads_somewhere() -> None:
    local = [(path, link) for path in DOCUMENTS for link in links(path) if "://" not in link]
    assert len(local) > len(DOCUMENTS)
    for document, link in local:
        name, _, anchor = link.partition("#")
        target = document.parent / name if name else document
        assert target.exists(), f"{document.name}: {link}: no such file"
        assert not anchor or anchor in anchors(target), f"{document.name}: {link}: no such heading"


def test_every_file_of_the_sources_that_is_named_exists() -> None:
    text = "\n".join(document.read_text() for document in DOCUMENTS)
    named = set(
        re.findall(r"(?<![\w/.:-])((?:[\w-]+/)+[\w-]+\.(?:py|yml|csv|json|md|svg))\b", text)
    )
    assert "collect/event_logs.py" in named
    missing = [
        path for path in named if not any((REPOSITORY / root / path).exists() for root in ROOTS)
    ]
    assert not missing


def tree_of_the_manual() -> Iterator[tuple[str, str]]:
    """Yield the package's part of the tree: each entry and the folder it stands under."""
    drawn = ARCHITECTURE.split("    src/do_dcgm_exporter/\n", 1)[1].split("    src/", 1)[0]
    parent = ""
    for depth, entry in re.findall(r"(?m)^ {6}( *)([\w.]+/?) ", drawn):
        parent = parent if depth else entry
        yield (parent if depth else ""), entry


def test_the_architecture_draws_every_folder() -> None:
    drawn = {f"{parent}{entry}" for parent, entry in tree_of_the_manual()}
    assert all((PACKAGE / entry).exists() for entry in drawn)
    folders = {f"{path.parent.relative_to(PACKAGE)}/" for path in PACKAGE.rglob("__init__.py")}
    assert {entry for entry in drawn if entry.endswith("/")} == folders - {"./"}


def rows(heading: str) -> list[list[str]]:
    """The cells of the table whose head begins with ``heading``."""
    (table,) = re.findall(rf"(?m)^\| {re.escape(heading)} \|.*\n\|[- |]+\n((?:\|.*\n)+)", METRICS)
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.splitlines()]


def names_in(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def test_the_manual_has_every_default_field() -> None:
    listed = {(name.strip("`"), field, kind) for name, field, kind, *_ in rows("family | field")}
    assert listed == {
        (counter.name, str(counter.field.id), counter.type.value)
        for counter in counter_set().counters
        if counter.field
    }


def test_the_manual_has_every_family_made_by_the_exporter() -> None:
    listed = {name.strip("`") for name, *_ in rows("family | type | its own labels")}
    assert listed == {special.value for special in Special}


def test_the_manual_has_every_family_of_the_exporter_itself(tmp_path: Path) -> None:
    # The package's timers write them.
    embedded, users = tmp_path / "embedded-dcgm.json", tmp_path / "gpu-usage.json"
    embedded.write_text(json.dumps({"time": time.time(), "processes": []}))
    users.write_bytes(encode(UsageReport(time.time(), ())))
    telemetry = Telemetry(CallCount(), ForwardStatistics(), EmbeddedDcgm(embedded), GpuUsers(users))
    telemetry.record(cycle_result(), Versions(), 0.1, 1.0)
    listed = {name.strip("`").partition("{")[0] for name, *_ in rows("family | type | meaning")}
    families = {family.name for family in TelemetryRegistry(telemetry).families()}
    assert listed - {"process_*"} == {name for name in families if not name.startswith("process_")}


def test_the_manual_explains_every_reason_result_and_clock_event() -> None:
    reasons = [name for first, *_ in rows("reason") for name in names_in(first)]
    results = [name for first, *_ in rows("result") for name in names_in(first)]
    events = names_in(METRICS.split("`clock_event` is one of ", 1)[1].split(".\n", 1)[0])
    assert sorted(reasons) == sorted(reason.value for reason in Absence)
    assert sorted(results) == sorted(result.value for result in ForwardResult)
    assert events == list(EVENT_NAMES.values())


def test_the_manuals_of_the_simulator_name_every_machine() -> None:
    for manual in ("docs/simulator.md", "man/dcgm-simulator.1.scd"):
        text = (REPOSITORY / manual).read_text()
        named = {name for name in SCENARIOS if re.search(rf"(?<![\w-]){name}(?![\w-])", text)}
        assert set(SCENARIOS) == named, manual
