"""The rules of examples/prometheus as text: what they name exists, what they say is complete."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from tests.builders import REPOSITORY, counter_set

from do_dcgm_exporter.config.counter_files import group_files
from do_dcgm_exporter.config.counters import read_counter_set
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.explain.device_findings import GRAVE_XIDS
from do_dcgm_exporter.page.embedded_dcgm import EmbeddedDcgm
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry, TelemetryRegistry

EXAMPLES = REPOSITORY / "examples" / "prometheus"
HANDBOOK = (REPOSITORY / "docs" / "alerts.md").read_text()
XIDS = {int(xid) for xid in json.loads(
    (REPOSITORY / "src" / "do_dcgm_exporter" / "dcgm" / "xid-errors.json").read_text()
)} - {0}  # fmt: skip
NEED_PEAKS = {"GpuPowerPeak"}
SEVERITIES = ("critical", "warning", "info")


def rules(name: str) -> Iterator[dict[str, str]]:
    for group in yaml.safe_load((EXAMPLES / name).read_text())["groups"]:
        yield from group["rules"]


ALERTS = {rule["alert"]: rule for rule in rules("alerts.yml")}
RECORDS = {rule["record"]: rule for rule in rules("recording-rules.yml")}


def section(alert: str) -> str:
    found = re.search(rf"(?ms)^## {alert}\n(.*?)(?=^## |\Z)", HANDBOOK)
    assert found, f"docs/alerts.md has no section {alert}"
    return found[1]


@pytest.mark.parametrize("alert", ALERTS)
def test_an_alert_tells_what_to_do_and_where_to_read_on(alert: str) -> None:
    rule = ALERTS[alert]
    notes = rule["annotations"]
    assert set(notes) == {"summary", "runbook", "runbook_url"}
    assert rule["labels"]["severity"] in SEVERITIES
    assert notes["runbook"].endswith(".")
    assert notes["runbook_url"].endswith(f"/docs/alerts.md#{alert.lower()}")
    waits = re.search(r"\*(\w+), (at once|after (\d+) (minute|hour)s?)", section(alert))
    assert waits, f"the section {alert} says neither severity nor time"
    duration = f"{waits[3]}{waits[4][0]}" if waits[3] else None
    assert (rule["labels"]["severity"], rule.get("for")) == (waits[1], duration)


def test_the_handbook_has_no_section_of_an_alert_that_is_gone() -> None:
    assert re.findall("(?m)^## (.*)$", HANDBOOK) == list(ALERTS)


@pytest.mark.parametrize("name", [*ALERTS, *RECORDS])
def test_a_rule_needs_only_default_counters_and_the_exporters_own_metrics(
    name: str, tmp_path: Path
) -> None:
    rule = (ALERTS | RECORDS)[name]
    used = set(
        re.findall(r"\b(?:DCGM_(?:FI|EXP)|do_dcgm_exporter)_\w+|\b\w+:dcgm_\w+:\w+", rule["expr"])
    )
    report = tmp_path / "embedded-dcgm.json"  # the package's timer writes it
    report.write_text(json.dumps({"time": time.time(), "processes": []}))
    telemetry = Telemetry(CallCount(), ForwardStatistics(), embedded_dcgm=EmbeddedDcgm(report))
    own = {family.name for family in TelemetryRegistry(telemetry).families()}
    known = {counter.name for counter in counter_set().counters} | set(RECORDS)
    known |= own | {"DCGM_FI_DRIVER_VERSION"}
    if name in NEED_PEAKS:
        known |= {
            counter.name for counter in read_counter_set(*group_files(["peaks"]), ()).counters
        }
    assert used
    assert used <= known


def patterns(alert: str) -> list[str]:
    """The patterns its expression has of XIDs, wanted or not."""
    return re.findall(r'xid[!=]~"([^"]*)"', ALERTS[alert]["expr"])


def in_class(alert: str) -> set[int]:
    (pattern,) = patterns(alert)
    return {xid for xid in range(1, 1000) if re.fullmatch(pattern, str(xid))}


def test_the_status_page_calls_grave_what_is_critical() -> None:
    assert in_class("GpuXidCritical") == GRAVE_XIDS


def test_an_xid_is_in_one_class() -> None:
    critical, application = in_class("GpuXidCritical"), in_class("GpuXidApplication")
    assert not critical & application
    assert critical | application <= XIDS
    # What is no warning is what the two others have, and messages of tests.
    (*others, tests) = patterns("GpuXidWarning")
    assert others == patterns("GpuXidCritical") + patterns("GpuXidApplication")
    assert tests == "14|106|107"


def test_the_handbook_lists_the_classes_as_the_rules_have_them() -> None:
    listed: dict[str, set[int]] = {}
    for row in re.findall(r"(?m)^\| [^|]+ \| ([\d, ato]+) \| (\w+) \|$", HANDBOOK):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", row[0]):
            listed.setdefault(row[1], set()).update(range(int(first), int(last or first) + 1))
    assert listed["GpuXidCritical"] == in_class("GpuXidCritical")
    assert listed["GpuXidApplication"] == in_class("GpuXidApplication")
    assert listed["none"] == {14, 106, 107}
