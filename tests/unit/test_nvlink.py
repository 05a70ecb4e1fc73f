"""The states of GPUs' own NVLinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from tests.builders import Bench, readings_of, some_gpu

from do_dcgm_exporter.collect.sources.nvlink import NvLinkCollector
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.errors import CallRefused

StartBench = Callable[..., Bench]


class Engine:
    def __init__(self, states: Mapping[int, tuple[int, ...]] | None) -> None:
        self.states = states

    def nvlink_states(self) -> Mapping[int, tuple[int, ...]]:
        if self.states is None:
            raise CallRefused("not on this machine")
        return self.states


def collector_of(engine: Engine) -> NvLinkCollector:
    return NvLinkCollector(engine, (some_gpu(0), some_gpu(1)))  # type: ignore[arg-type]


def test_links_that_exist_have_a_state() -> None:
    engine = Engine({0: (3, 2, 0, 1, 0), 1: (0, 0, 3, 0, 0), 7: (3,)})
    states = collector_of(engine).collect(readings_of())
    assert {(0, 0): 3, (0, 1): 2, (0, 3): 1, (1, 2): 3} == states


def test_links_of_a_lost_gpu_are_not_known() -> None:
    readings = readings_of()
    readings.lost_gpus = frozenset({0})
    assert {(1, 0): 3} == collector_of(Engine({0: (3,), 1: (3,)})).collect(readings)


def test_an_engine_that_does_not_tell_is_counted() -> None:
    readings = readings_of()
    assert {} == collector_of(Engine(None)).collect(readings)
    assert {Absence.FUNCTION_ABSENT: 1} == dict(readings.dropped)


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.6.0"])
def test_all_links_of_eight_gpus(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    states = started.read(started.session()).nvlink_states
    assert {(number, link): 3 for number in range(8) for link in range(18)} == states


def test_a_gpu_that_is_cut_has_no_links(bench: StartBench) -> None:
    started = bench("h100x8-mig")
    states = started.read(started.session()).nvlink_states
    assert set(range(2, 8)) == {number for number, _ in states}
