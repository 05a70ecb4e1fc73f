"""The names and units of DCGM 3 and of 4.7, at once and on any release."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import REPOSITORY, Bench, gpu, labels_of, series_of
from tests.unit.field_tables import rows_of

from do_dcgm_exporter.collect.machine import GPU_UTILIZATION, MEMORY_TOTAL
from do_dcgm_exporter.page.exposition import render

StartBench = Callable[..., Bench]
RELEASES = ("3.3.9", "4.2.3", "4.5.3", "4.6.0", "4.7.0")
ETC = REPOSITORY / "etc" / "do-dcgm-exporter"
MIB = 2**20
every_release = pytest.mark.parametrize("release", RELEASES)

ROWS = rows_of("exporter-4.9.csv")
OLD = [f"{row['metric_4.8']}, {row['type']}, x" for row in ROWS]
NEW = [f"{row['metric_4.9']}, {row['type']}, x" for row in ROWS]
PAIRS = [
    (row["metric_4.8"], row["metric_4.9"], Fraction(row["factor"] or 1))
    for row in ROWS
    if row["type"] != "label"
]


def by_name(path: Path) -> dict[str, str]:
    """The lines of a counters file by the names of their metrics."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    return {line.partition(",")[0]: line for line in lines}


def settled(started: Bench, *lines: str) -> dict[str, dict[str, float]]:
    """Values by family and GPU of a page whose profiling values have arrived."""
    session = started.session(*lines)
    started.snapshot(session)
    for _ in range(4):
        started.pass_time(1)
        snapshot = started.snapshot(session)
    return {
        family.name: {
            labels_of(block)["gpu"]: float(value)
            for block, value in series_of(snapshot.families, family.name).items()
        }
        for family in snapshot.families
    }


@every_release
def test_both_generations_stand_side_by_side_and_differ_by_the_factor(
    bench: StartBench, release: str
) -> None:
    lines = dict.fromkeys((*OLD[:-1], *NEW, OLD[-1]))  # two names are the same in both
    page = settled(bench("h100x8", release), *lines)
    for old, new, factor in PAIRS:
        assert len(page[old]) == 8, old
        for number, value in page[old].items():
            exact = float(Fraction(repr(value)) * factor)
            if release == "4.7.0" and factor == MIB:
                assert exact < page[new][number] < exact + MIB  # the driver's own bytes
            elif release == "4.7.0" and new.endswith("JOULES_TOTAL"):
                assert page[new][number] == int(exact)
            else:
                assert page[new][number] == exact, new


@every_release
def test_nothing_is_read_twice_for_two_names(bench: StartBench, release: str) -> None:
    started = bench("h100x1", release)
    started.session("DCGM_FI_DEV_GPU_TEMP, gauge, x", "DCGM_FI_DEV_GPU_TEMP_CELSIUS, gauge, x")
    watches = started.engine.control("status")["watches"]
    assert [watch["field"] for watch in watches if watch["field"] == 150] == [150]


@every_release
@pytest.mark.parametrize("scenario", ["h100x8", "h100x8-mig"])
def test_what_an_engine_has_natively_is_what_is_read(
    bench: StartBench, release: str, scenario: str
) -> None:
    started = bench(scenario, release)
    session = started.session("DCGM_FI_DEV_FB_USED_BYTES, gauge, x")
    watched = {watch["field"] for watch in started.engine.control("status")["watches"]}
    native = release == "4.7.0"
    assert watched - {1, 57, 230} == ({1627} if native else {252})
    assert session.stand_ins == ({} if native else {1627: 252})
    values = {float(v) for v in started.series(session, "DCGM_FI_DEV_FB_USED_BYTES").values()}
    assert {value % MIB for value in values} == ({5 * 4096.0} if native else {0.0})


def test_a_value_that_a_gpu_does_not_have_is_not_multiplied(bench: StartBench) -> None:
    """A passively cooled board has no fan."""
    started = bench("h100x8", "4.6.0")
    assert started.names(started.session("DCGM_FI_DEV_FAN_SPEED_RATIO, gauge, x")) == set()


@every_release
def test_the_driver_is_told_under_either_name(bench: StartBench, release: str) -> None:
    started = bench("h100x1", release)
    lines = ("DCGM_FI_DEV_GPU_TEMP, gauge, x", "DCGM_FI_SYSTEM_DRIVER_VERSION, label, x")
    (block,) = started.series(started.session(*lines), "DCGM_FI_DEV_GPU_TEMP")
    assert labels_of(block)["DCGM_FI_SYSTEM_DRIVER_VERSION"].count(".") == 2
    (block,) = started.series(
        started.session(*lines, "DCGM_FI_DRIVER_VERSION, label, x"), "DCGM_FI_DEV_GPU_TEMP"
    )
    labels = labels_of(block)
    assert labels["DCGM_FI_SYSTEM_DRIVER_VERSION"] == labels["DCGM_FI_DRIVER_VERSION"]


def test_the_last_xid_has_its_labels_under_either_name(bench: StartBench) -> None:
    started = bench("h100x1", "4.7.0")
    names = ("DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_XID_ERROR")
    session = started.session(*(f"{name}, gauge, x" for name in names))
    started.engine.control("xid", "--gpu", "0", "79")
    started.pass_time(3)
    for name in names:
        ((block, value),) = started.series(session, name).items()
        assert (labels_of(block)["err_code"], value) == ("79", "79")


@every_release
def test_people_see_a_machine_as_before_whatever_is_asked_for(
    bench: StartBench, release: str
) -> None:
    """The status page knows the old fields; the engine may be asked for the new ones alone."""
    started = bench("h100x1", release)
    lines = [*by_name(ETC / "counters-4.9.csv").values()]
    machine = started.read(started.session(*lines)).machine
    total = machine.number(gpu(0), MEMORY_TOTAL)
    assert total is not None
    assert int(total) == 81559
    assert machine.number(gpu(0), GPU_UTILIZATION) == machine.utilization(gpu(0))
    assert 0 <= (machine.utilization(gpu(0)) or 0) <= 100


@every_release
def test_a_strict_parser_takes_a_page_of_both_generations(bench: StartBench, release: str) -> None:
    old, new = (ETC / name for name in ("default-counters.csv", "counters-4.9.csv"))
    lines = by_name(old) | by_name(new)
    started = bench("hgx", release)
    page = render(started.snapshot(started.session(*lines.values())).families).text.decode()
    families = list(parse_text(page))
    names = [family.name for family in families]
    assert len(names) == len(set(names))
    assert len([line for line in page.splitlines() if line.startswith("# TYPE")]) == len(names)
    assert {"DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_USED_BYTES"} <= set(names)
    series = [(s.name, tuple(sorted(s.labels.items()))) for f in families for s in f.samples]
    assert len(series) == len(set(series))
