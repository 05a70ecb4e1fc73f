"""The energy of GPUs that have no counter of it, from the samples of their power."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
from tests.builders import Bench, gpu, labels_of, raw

from dcgm_simulator.versions import VERSIONS
from do_dcgm_exporter.collect.energy_log import EnergyLog
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue

StartBench = Callable[..., Bench]
every_version = pytest.mark.parametrize("version", VERSIONS)

POWER, ENERGY = 155, 156
BLANK = 2.0**47
NAME = "DCGM_EXP_SAMPLED_ENERGY_JOULES_TOTAL"
LINES = (f"{NAME}, counter, x", "DCGM_FI_DEV_POWER_USAGE, gauge, x")


def samples(*values: tuple[float, float]) -> list[RawValue]:
    return [raw(gpu(0), POWER, watts, timestamp=second) for second, watts in values]


def test_the_area_below_the_samples_is_added_once() -> None:
    log = EnergyLog()
    log.add(gpu(0), samples((10, 100.0)), 3.0)
    assert log.joules(gpu(0)) == 0
    log.add(gpu(0), samples((12, 200.0), (11, 100.0)), 3.0)
    log.add(gpu(0), samples((12, 200.0), (11, 100.0)), 3.0)
    assert log.joules(gpu(0)) == 250
    log.add(gpu(0), [], 3.0)
    log.add(gpu(0), samples((12, 200.0), (13, 400.0)), 3.0)
    assert log.joules(gpu(0)) == 550


@pytest.mark.parametrize("unknown", [BLANK, float("nan"), -1.0])
def test_what_lies_around_no_power_is_not_counted(unknown: float) -> None:
    log = EnergyLog()
    log.add(gpu(0), samples((1, 100.0), (2, unknown), (3, 100.0), (4, 100.0)), 3.0)
    assert log.joules(gpu(0)) == 100


def test_an_outage_is_not_counted() -> None:
    log = EnergyLog()
    log.add(gpu(0), samples((1, 100.0), (4, 100.0), (7.5, 100.0), (8.5, 100.0)), 3.0)
    assert log.joules(gpu(0)) == 400


def test_a_clock_that_was_set_back_takes_nothing_away() -> None:
    log = EnergyLog()
    log.add(gpu(0), samples((100, 100.0), (101, 100.0)), 3.0)
    assert log.asks_from(gpu(0), 50_000_000) == 50_000_000
    log.add(gpu(0), samples((49, 500.0), (50, 500.0)), 3.0)
    assert log.joules(gpu(0)) == 100
    assert log.asks_from(gpu(0), 51_000_000) == 50_000_001
    log.add(gpu(0), samples((51, 500.0)), 3.0)
    assert log.joules(gpu(0)) == 600


# On engines.


def without_energy(started: Bench, *gpus: int) -> None:
    for number in gpus:
        started.engine.control("set", "--entity", f"gpu:{number}", str(ENERGY), "not-supported")
    started.pass_time(1.0)


def joules(result: CycleResult) -> dict[str, float]:
    return {
        labels_of(sample.labels)["gpu"]: float(sample.value)
        for family in result.snapshot.families
        if family.name == NAME
        for sample in family.samples
    }


def area_of_gpu_0(started: Bench, session: Session, seconds: float) -> float:
    """The energy of the last ``seconds`` by the trapezoids of a reader of all samples."""
    (watch,) = [watch for watch in session.watches if watch.field_ids == (POWER,)]
    begin = int((started.now - seconds) * 1e6)
    found = [raw for raw in session.engine.since(watch, begin) if raw.entity == gpu(0)]
    assert len(found) > seconds
    return sum(
        (float(a.payload) + float(b.payload)) / 2 * (b.timestamp - a.timestamp) / 1e6
        for a, b in pairwise(found)
        if isinstance(a.payload, float) and isinstance(b.payload, float)
    )


@every_version
def test_a_gpu_without_a_counter_has_the_energy_of_all_its_samples(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    without_energy(started, 0, 2)
    session = started.session(*LINES)
    assert joules(started.read(session)) == {"0": 0.0, "2": 0.0}
    expected = 0.0
    for _ in range(3):
        started.pass_time(20.0)
        found = joules(started.read(session))
        expected += area_of_gpu_0(started, session, 20.0)
        assert found["0"] == pytest.approx(expected)


def test_a_gpu_with_a_counter_of_its_own_costs_no_call(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    session = started.session(*LINES)
    started.pass_time(20.0)
    assert {} == joules(started.read(session))
    assert started.calls_made("values_since") == 0
    without_energy(started, 0)
    started.pass_time(20.0)
    assert joules(started.read(session)) == {"0": 0.0}
    assert started.calls_made("values_since") == 1


def test_a_reload_continues_where_the_session_before_ended(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    without_energy(started, 0)
    logs = started.logs()
    session = started.session(*LINES, logs=logs)
    started.read(session)
    started.pass_time(20.0)
    before = joules(started.read(session))["0"]
    session = started.session(*LINES, logs=logs)
    assert joules(started.read(session))["0"] == before > 0
    started.pass_time(20.0)
    after = joules(started.read(session))["0"]
    assert after == pytest.approx(before + area_of_gpu_0(started, session, 20.0))


def test_time_in_which_nothing_was_sampled_is_not_counted(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    without_energy(started, 0)
    session = started.session(*LINES)
    started.read(session)
    started.engine.control("set", "--entity", "gpu:0", str(POWER), "100")
    started.pass_time(1.0)
    before = joules(started.read(session))["0"]
    started.engine.control("freeze", str(POWER))
    started.pass_time(10.0)
    started.engine.control("thaw", str(POWER))
    started.pass_time(10.0)
    assert 800 <= joules(started.read(session))["0"] - before <= 1100, "all of it would be 2000"


def test_a_lost_gpu_has_none_and_goes_on_where_it_was(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    without_energy(started, 0, 1)
    session = started.session(*LINES)
    started.read(session)
    started.pass_time(20.0)
    before = joules(started.read(session))
    started.engine.control("lose-gpu", "0")
    started.pass_time(20.0)
    result = started.read(session)
    assert joules(result).keys() == {"1"}
    assert result.dropped[Absence.GPU_LOST] >= 1
    started.engine.control("restore-gpu", "0")
    started.pass_time(20.0)
    returned = joules(started.read(session))
    assert before["0"] <= returned["0"] < before["0"] + 20 * 800


def test_a_refusal_fails_energy_alone(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    without_energy(started, 0)
    session = started.session(*LINES)
    started.engine.control("refuse-call", "values_since", "-3")
    result = started.read(session)
    assert ["energy"] == [outcome.name for outcome in result.outcomes if not outcome.succeeded]
    assert {} == joules(result)
    assert any(family.name == "DCGM_FI_DEV_POWER_USAGE" for family in result.snapshot.families)
