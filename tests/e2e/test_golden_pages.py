"""A whole page per simulated machine and DCGM release, compared as text.

The pages in tests/golden are what ``--once`` prints with the shipped default counters and
an engine whose values stand still (``--still``). A change of output shows as a change of
these files; they are written anew by ``pytest --update-golden`` and by nothing else.

What differs from run to run is replaced by a word in angle brackets: the host's name, the
exporter's own version, durations, Unix times and the number of engine calls. The metrics
of the process (``process_…``) are left out: which there are depends on prometheus_client.
A program that ends with an error has its exit status and its complaint on the last line.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import DATA, DEFAULT_COUNTERS, REPOSITORY, counter_set, labels_of

from dcgm_simulator import SCENARIOS, bindings_directory
from dcgm_simulator.layouts import LAYOUTS
from dcgm_simulator.process import SimulatedEngine
from do_dcgm_exporter.config.counters import CounterType

GOLDEN = REPOSITORY / "tests" / "golden"
VERSIONS = ("3.3.9", "4.2.3", "4.6.0")
OF_ONE_VERSION = {name for name, layout in LAYOUTS.items() if layout.model is not None}
"""Machines that differ between releases as the recorded ones do."""
PAGES = [
    (scenario, version)
    for scenario in SCENARIOS
    for version in VERSIONS
    if scenario not in OF_ONE_VERSION or version == VERSIONS[-1]
]
PATIENCE = 180  # seconds; only ever waited out by a failure

_VARIABLE = (
    (r'\b(Hostname)="[^"]*"', r'\1="<host>"'),
    (r'^(do_dcgm_exporter_build_info\{version)="[^"]*"', r'\1="<version>"'),
    (r"^(do_dcgm_exporter_(?:collect|collector)_duration_seconds\S*) .*", r"\1 <seconds>"),
    (r"^(do_dcgm_exporter_last_success_timestamp_seconds) .*", r"\1 <unix time>"),
    (r"^(do_dcgm_exporter_engine_calls_total) .*", r"\1 <calls>"),
    (r"^(?:# (?:HELP|TYPE) )?process_.*\n", ""),
)


def page_of(scenario: str, version: str) -> str:
    """What the program prints about one machine, without what differs from run to run."""
    with SimulatedEngine.start(scenario, version, still=True) as engine:
        command = [sys.executable, "-m", "do_dcgm_exporter", "--once"]
        command += ["--config-file", os.devnull, "--remote-hostengine-info", engine.address]
        command += ["--dcgm-bindings", str(bindings_directory())]
        command += ["--default-counters", str(DEFAULT_COUNTERS)]
        environ = {k: v for k, v in os.environ.items() if not k.startswith("DO_DCGM_EXPORTER_")}
        environ |= {"DCGM_SIMULATOR_VERSION": version}
        ended = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    page = ended.stdout
    if ended.returncode:
        complaint = ended.stderr.strip().splitlines()[-1]
        page += f"# exit status {ended.returncode}: {complaint}\n"
    for pattern, replacement in _VARIABLE:
        page = re.sub(pattern, replacement, page, flags=re.MULTILINE)
    assert socket.gethostname() not in re.findall(r'"([^"]*)"', page)
    return page


Pages = dict[tuple[str, str], Future[str]]


@pytest.fixture(scope="module")
def pages() -> Iterator[Pages]:
    """All pages; each takes a second or two of waiting for profiling values."""
    with ThreadPoolExecutor(max_workers=4) as pool:
        yield {page: pool.submit(page_of, *page) for page in PAGES}


@pytest.mark.parametrize(("scenario", "version"), PAGES)
def test_a_page_is_what_it_was(
    pages: Pages, scenario: str, version: str, request: pytest.FixtureRequest
) -> None:
    path = GOLDEN / f"{scenario}-{version}.prom"
    page = pages[scenario, version].result()
    if request.config.getoption("--update-golden"):
        path.write_text(page, encoding="utf-8")
    assert path.read_text(encoding="utf-8").splitlines() == page.splitlines()


def test_every_golden_page_is_of_a_machine_and_a_release() -> None:
    expected = {f"{scenario}-{version}.prom" for scenario, version in PAGES}
    assert expected == {path.name for path in GOLDEN.iterdir()}


# What the golden pages must have, whoever updates them.


def golden(scenario: str, version: str) -> str:
    return (GOLDEN / f"{scenario}-{version}.prom").read_text(encoding="utf-8")


def types_in(page: str) -> dict[str, str]:
    """The types of families, by name."""
    return dict(re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE))


def label_orders_in(page: str) -> dict[str, set[tuple[str, ...]]]:
    """The label names of the series of each family, in their order."""
    orders: dict[str, set[tuple[str, ...]]] = {}
    for name, block in re.findall(r"^([A-Za-z_]\w*)\{(.*)\} \S+$", page, re.MULTILINE):
        orders.setdefault(name, set()).add(tuple(labels_of(block)))
    return orders


@pytest.mark.parametrize(("scenario", "version"), [page for page in PAGES if page[0] != "no-nvml"])
def test_a_strict_parser_reads_every_page(scenario: str, version: str) -> None:
    page = re.sub(r"<[a-z ]+>$", "0", golden(scenario, version), flags=re.MULTILINE)
    families = list(parse_text(page))
    assert len(families) == len({family.name for family in families})
    series = [
        (sample.name, tuple(sorted(sample.labels.items())))
        for family in families
        for sample in family.samples
    ]
    assert len(series) == len(set(series))


# Passively cooled boards have no fan, H100 remaps rows instead of retiring pages and is
# no vGPU; the others belong to NvSwitches, of which this machine has none.
NOT_ON_EIGHT_H100 = {
    "DCGM_FI_DEV_FAN_SPEED",
    "DCGM_FI_DEV_RETIRED_SBE",
    "DCGM_FI_DEV_RETIRED_DBE",
    "DCGM_FI_DEV_RETIRED_PENDING",
    "DCGM_FI_DEV_NVSWITCH_FATAL_ERRORS",
    "DCGM_FI_DEV_NVSWITCH_NON_FATAL_ERRORS",
    "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT",
    "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_LIMIT_SLOWDOWN",
    "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_LIMIT_SHUTDOWN",
    "DCGM_FI_DEV_NVSWITCH_THROUGHPUT_TX",
    "DCGM_FI_DEV_NVSWITCH_THROUGHPUT_RX",
    "DCGM_FI_DEV_NVSWITCH_LINK_STATUS",
}
# Only the machine that was recorded with 4.6.0 has a fabric.
FABRIC = {
    "DCGM_FI_DEV_FABRIC_MANAGER_STATUS",
    "DCGM_FI_DEV_FABRIC_MANAGER_ERROR_CODE",
    "DCGM_FI_DEV_FABRIC_CLIQUE_ID",
    "DCGM_FI_DEV_FABRIC_HEALTH_MASK",
    "DCGM_FI_DEV_FABRIC_HEALTH_SUMMARY",
}
# There is no time of an XID that never was.
WITHOUT_EVENTS = {"DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS"}

UNKNOWN_OF_RTX_PRO_6000 = {
    f"DCGM_FI_DEV_{name}_TEMP" for name in ("MEMORY", "SLOWDOWN", "SHUTDOWN")
}


def default_families() -> set[str]:
    counters = counter_set().counters
    return {counter.name for counter in counters if counter.type is not CounterType.LABEL}


@pytest.mark.parametrize("version", VERSIONS)
def test_eight_h100_have_every_default_family_that_they_support(version: str) -> None:
    page = golden("h100x8", version)
    found = {name for name in types_in(page) if name.startswith("DCGM_")}
    absent = NOT_ON_EIGHT_H100 | WITHOUT_EVENTS | (set() if version == "4.6.0" else FABRIC)
    assert default_families() - absent == found
    rows = {name: len(re.findall(rf"^{name}\{{", page, re.MULTILINE)) for name in found}
    assert set() == {name for name, count in rows.items() if count % 8}


@pytest.mark.parametrize("version", VERSIONS)
def test_switches_bring_their_families_along(version: str) -> None:
    found = set(types_in(golden("hgx", version))) - set(types_in(golden("h100x8", version)))
    expected = {name for name in NOT_ON_EIGHT_H100 if "NVSWITCH" in name}
    if version == "4.2.3":  # its link ids do not name the switch
        expected -= {"DCGM_FI_DEV_NVSWITCH_LINK_STATUS"}
    assert expected == found


@pytest.mark.parametrize("scenario", ["h200x8", "b200x8"])
def test_their_successors_have_the_families_of_eight_h100(scenario: str) -> None:
    assert set(types_in(golden("h100x8", "4.6.0"))) == set(types_in(golden(scenario, "4.6.0")))


@pytest.mark.parametrize("scenario", ["l40sx2", "rtx-pro-6000x2"])
def test_machines_without_nvlink_and_profiling_have_no_such_family(scenario: str) -> None:
    absent = set(types_in(golden("h100x8", "4.6.0"))) - set(types_in(golden(scenario, "4.6.0")))
    gone = {name for name in default_families() if re.search("_NVLINK_|_FABRIC_|_PROF_", name)}
    assert gone == {name for name in absent if name in gone}
    unknown = {name for name in absent - gone if name.startswith("DCGM_")}
    assert unknown == (UNKNOWN_OF_RTX_PRO_6000 if scenario == "rtx-pro-6000x2" else set())


# The exporter that this one replaces, on real engines and eight injected H100.

# It calls these counters: one is a rate, the others are error numbers.
GAUGES_HERE = {
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL",
    "DCGM_FI_DEV_NVSWITCH_FATAL_ERRORS",
    "DCGM_FI_DEV_NVSWITCH_NON_FATAL_ERRORS",
}
DRIVER_LABEL = "DCGM_FI_DRIVER_VERSION"
CLOCK_EVENTS = "DCGM_EXP_CLOCK_EVENTS_COUNT"


@pytest.fixture(scope="module")
def go_page() -> str:
    """Its page."""
    return (DATA / "go-exporter-page.prom").read_text(encoding="utf-8")


@pytest.mark.parametrize("version", VERSIONS)
def test_families_of_the_go_exporter_are_here_with_their_types(go_page: str, version: str) -> None:
    theirs, ours = types_in(go_page), types_in(golden("h100x8", version))
    assert set() == set(theirs) - set(ours) - NOT_ON_EIGHT_H100
    shared = theirs.keys() & ours.keys()
    assert len(shared) > 40
    differing = {name for name in shared if theirs[name] != ours[name]}
    assert differing <= GAUGES_HERE
    assert {"gauge"} >= {ours[name] for name in differing}


@pytest.mark.parametrize("version", VERSIONS)
def test_series_of_the_go_exporter_have_the_same_labels_in_the_same_order(
    go_page: str, version: str
) -> None:
    """It forgets the driver's version on its own counts, and only there.

    Where nothing was counted ours have a series without what it is of. GPUs that were injected
    are idle there at any load and have nothing else; those of 4.6.0 were slowed by a power cap.
    """
    theirs, ours = label_orders_in(go_page), label_orders_in(golden("h100x8", version))
    for name in theirs.keys() & ours.keys():
        if name.startswith("DCGM_EXP_"):
            assert all(DRIVER_LABEL in order for order in ours[name]), name
            ours[name] = {
                tuple(label for label in order if label != DRIVER_LABEL) for order in ours[name]
            }
            ours[name] -= {tuple(label for label in order if label != "clock_event")
                           for order in theirs[name] if "clock_event" in order}  # fmt: skip
            if name == CLOCK_EVENTS and version != "4.6.0":
                assert not ours[name]
                continue
        assert theirs[name] == ours[name], name
