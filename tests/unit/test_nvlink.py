"""The states of GPUs' own NVLinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from tests.builders import Bench, Clock, readings_of, some_gpu

from do_dcgm_exporter.collect.sources.nvlink import NvLinkCollector
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode

StartBench = Callable[..., Bench]


class Engine:
    def __init__(
        self, states: Mapping[int, tuple[int, ...]], refusal: CallRefused | None = None
    ) -> None:
        self.states = states
        self.refusal = refusal
        self.asked = 0

    def nvlink_states(self) -> Mapping[int, tuple[int, ...]]:
        self.asked += 1
        if self.refusal is not None:
            raise self.refusal
        return self.states


def collector_of(engine: Engine, clock: Clock | None = None) -> NvLinkCollector:
    gpus = (some_gpu(0), some_gpu(1))
    return NvLinkCollector(engine, gpus, interval=240.0, clock=clock or Clock())


def test_links_that_exist_have_a_state() -> None:
    engine = Engine({0: (3, 2, 0, 1, 0), 1: (0, 0, 3, 0, 0), 7: (3,)})
    states = collector_of(engine).collect(readings_of())
    assert {(0, 0): 3, (0, 1): 2, (0, 3): 1, (1, 2): 3} == states


def test_links_of_a_lost_gpu_are_not_known() -> None:
    readings = readings_of()
    readings.lost_gpus = frozenset({0})
    assert {(1, 0): 3} == collector_of(Engine({0: (3,), 1: (3,)})).collect(readings)


def test_an_engine_without_the_function_is_counted() -> None:
    readings = readings_of()
    absent = CallRefused("these bindings have no such thing", ReturnCode.NOT_SUPPORTED)
    assert {} == collector_of(Engine({}, absent)).collect(readings)
    assert {Absence.FUNCTION_ABSENT: 1} == dict(readings.dropped)


@pytest.mark.parametrize("code", [ReturnCode.VERSION_MISMATCH, ReturnCode.FUNCTION_NOT_FOUND])
def test_a_refusal_is_no_absence_of_links(code: ReturnCode) -> None:
    with pytest.raises(CallRefused):
        collector_of(Engine({0: (3,)}, CallRefused("another release", code))).collect(readings_of())


def test_links_are_asked_for_every_ten_seconds() -> None:
    engine, clock = Engine({0: (3,)}), Clock()
    collector = collector_of(engine, clock)
    for clock.now in (0.0, 1.0, 9.0):
        assert {(0, 0): 3} == collector.collect(readings_of())
    assert 1 == engine.asked
    engine.states = {0: (2,)}
    clock.now = 10.0
    assert {(0, 0): 2} == collector.collect(readings_of())


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.6.0"])
def test_all_links_of_eight_gpus(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    states = started.read(started.session()).nvlink_states
    assert {(number, link): 3 for number in range(8) for link in range(18)} == states


def test_a_gpu_that_is_cut_has_no_links(bench: StartBench) -> None:
    started = bench("h100x8-mig")
    states = started.read(started.session()).nvlink_states
    assert set(range(2, 8)) == {number for number, _ in states}
