"""Profiling fields: offered per GPU, warmed up quickly, settled, asked for again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import pytest
from tests.builders import Bench, Clock, gpu, gpu_instance, raw, readings_of, some_gpu

from do_dcgm_exporter.collect.profiling import RETRY_AFTER, WARM_UP_INTERVAL, ProfilingWatch
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused, Status
from do_dcgm_exporter.dcgm.topology import GpuInstance, Topology
from do_dcgm_exporter.dcgm.watcher import Watcher

StartBench = Callable[..., Bench]
BLANK = 140737488355328.0


class Engine:
    """An engine with GPUs that offer what they are told to; notes what is watched."""

    entities_per_call = 64

    def __init__(self, offered: Mapping[int, Sequence[int]]) -> None:
        self.offered = dict(offered)
        self.groups = 0
        self.field_groups = 0
        self.watched: list[tuple[tuple[Entity, ...], tuple[int, ...], float]] = []

    def profiling_field_ids(self, gpu_id: int) -> frozenset[int]:
        if gpu_id not in self.offered:
            raise CallRefused("the module is not loaded", Status.MODULE_NOT_LOADED)
        return frozenset(self.offered[gpu_id])

    def create_group(self, entities: Sequence[Entity]) -> tuple[int, tuple[Entity, ...]]:
        self.groups += 1
        return self.groups, tuple(entities)

    def create_field_group(self, _field_ids: Sequence[int]) -> int:
        self.field_groups += 1
        return self.field_groups

    def destroy_field_group(self, _field_group: int) -> None:
        self.field_groups -= 1

    def watch(self, watch: Watch, interval: float, _seconds: float, _samples: int) -> None:
        self.watched.append((watch.entities, watch.field_ids, interval))


TOPOLOGY = Topology(
    gpus=(some_gpu(0), some_gpu(1)), gpu_instances=(GpuInstance(7, 1, 9, "1g.10gb"),)
)


def profiling_of(
    engine: Engine,
    wanted: Mapping[Entity, Sequence[int]],
    *,
    interval: float = 20.0,
    clock: Clock | None = None,
) -> ProfilingWatch:
    profiling = ProfilingWatch(
        engine,  # type: ignore[arg-type]
        Watcher(engine),  # type: ignore[arg-type]
        TOPOLOGY,
        interval,
        wanted,
        clock or Clock(),
    )
    profiling.start()
    return profiling


BOTH = {gpu(0): (1001, 1002), gpu(1): (1001, 1002)}


def test_fields_are_watched_every_second_at_first() -> None:
    engine = Engine({0: [1001, 1002], 1: [1001, 1002]})
    profiling = profiling_of(engine, BOTH)
    assert [((gpu(0), gpu(1)), (1001, 1002), WARM_UP_INTERVAL)] == engine.watched
    assert profiling.warming_up
    assert "" == profiling.reason


def test_once_a_value_has_come_they_are_watched_at_the_interval() -> None:
    engine = Engine({0: [1001], 1: [1001]})
    profiling = profiling_of(engine, {gpu(0): (1001,)})
    profiling.follow(readings_of(raw(gpu(0), 1001, BLANK)))
    assert profiling.warming_up
    profiling.follow(readings_of(raw(gpu(0), 1001, 0.25)))
    assert not profiling.warming_up
    assert ((gpu(0),), (1001,), 20.0) == engine.watched[-1]
    assert 1 == engine.field_groups
    profiling.follow(readings_of(raw(gpu(0), 1001, 0.5)))
    assert 2 == len(engine.watched)


def test_values_that_never_come_are_not_waited_for() -> None:
    engine, clock = Engine({0: [1001]}), Clock()
    profiling = profiling_of(engine, {gpu(0): (1001,)}, clock=clock)
    clock.now = 10.0
    profiling.follow(readings_of())
    assert profiling.warming_up
    clock.now = 10.1
    profiling.follow(readings_of())
    assert not profiling.warming_up
    assert 20.0 == engine.watched[-1][-1]


@pytest.mark.parametrize("interval", [0.1, 1.0])
def test_a_short_interval_is_watched_from_the_start(interval: float) -> None:
    engine = Engine({0: [1001]})
    profiling = profiling_of(engine, {gpu(0): (1001,)}, interval=interval)
    profiling.follow(readings_of(raw(gpu(0), 1001, BLANK)))
    assert profiling.warming_up  # whoever reads once only has to wait all the same
    profiling.follow(readings_of(raw(gpu(0), 1001, 0.25)))
    assert not profiling.warming_up
    assert [interval] == [watched[-1] for watched in engine.watched]


def test_each_gpu_is_asked_what_it_offers() -> None:
    engine = Engine({0: [1001], 1: [1001, 1002]})
    profiling = profiling_of(engine, {**BOTH, gpu_instance(7): (1001, 1002)})
    assert [
        ((gpu(0),), (1001,), 1.0),
        ((gpu(1), gpu_instance(7)), (1001, 1002), 1.0),
    ] == engine.watched
    assert frozenset({(gpu(0), 1002)}) == profiling.unoffered
    assert "" == profiling.reason


def test_a_gpu_without_profiling_is_named_and_the_others_have_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Engine({1: [1001, 1002]})
    profiling = profiling_of(engine, BOTH)
    assert [(gpu(1),)] == [watched[0] for watched in engine.watched]
    assert frozenset({(gpu(0), 1001), (gpu(0), 1002)}) == profiling.unoffered
    assert "no profiling metrics on GPU 0: the module is not loaded" == profiling.reason
    assert [profiling.reason] == caplog.messages


def test_no_gpu_is_asked_when_nobody_wants_profiling() -> None:
    engine = Engine({})
    profiling = profiling_of(engine, {})
    assert ("", False, []) == (profiling.reason, profiling.warming_up, engine.watched)


def test_profiling_that_comes_later_is_found(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine, clock = Engine({}), Clock()
    profiling = profiling_of(engine, BOTH, clock=clock)
    engine.offered = {0: [1001, 1002], 1: [1001, 1002]}
    clock.now = RETRY_AFTER
    profiling.follow(readings_of())
    assert [] == engine.watched
    clock.now = RETRY_AFTER + 1
    profiling.follow(readings_of())
    assert [((gpu(0), gpu(1)), (1001, 1002), 1.0)] == engine.watched
    assert ("", frozenset(), True) == (
        profiling.reason,
        profiling.unoffered,
        profiling.warming_up,
    )
    assert "profiling metrics are available now" == caplog.messages[-1]


class Refusing(Engine):
    """An engine whose profiling module goes between saying what it offers and watching it."""

    def watch(self, watch: Watch, _interval: float, _seconds: float, _samples: int) -> None:
        raise CallRefused(f"no module for {watch}", Status.MODULE_NOT_LOADED)


def test_what_is_offered_and_not_watched_is_told_and_wants_a_new_connection() -> None:
    engine, clock = Refusing({0: [1001], 1: []}), Clock()
    profiling = profiling_of(engine, BOTH, clock=clock)
    assert "no profiling metrics on GPU 0: the engine offers and refuses them" == profiling.reason
    assert not profiling.warming_up
    groups = engine.groups
    for seconds, is_wanted in ((RETRY_AFTER, False), (RETRY_AFTER + 1, True)):
        clock.now = seconds
        profiling.follow(readings_of())
        assert is_wanted == profiling.wants_new_connection()
    assert (groups, 0) == (engine.groups, engine.field_groups)


def test_a_watched_engine_is_not_connected_anew() -> None:
    clock = Clock()
    profiling = profiling_of(Engine({0: [1001], 1: [1001]}), BOTH, clock=clock)
    clock.now = 2 * RETRY_AFTER
    assert not profiling.wants_new_connection()


def test_asking_again_in_vain_leaves_what_is_watched_and_makes_no_groups() -> None:
    engine, clock = Engine({1: [1001, 1002]}), Clock()
    profiling = profiling_of(engine, BOTH, clock=clock)
    profiling.follow(readings_of(raw(gpu(1), 1001, 0.5)))
    before = (engine.groups, engine.field_groups, len(engine.watched))
    for attempt in range(1, 100):
        clock.now = attempt * (RETRY_AFTER + 1)
        profiling.follow(readings_of(raw(gpu(1), 1001, 0.5)))
    assert before == (engine.groups, engine.field_groups, len(engine.watched))
    assert not profiling.warming_up


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.6.0"])
def test_values_are_there_within_seconds_and_never_gone(bench: StartBench, version: str) -> None:
    started = bench("h100x1", version)
    session = started.session("DCGM_FI_PROF_SM_ACTIVE, gauge, x")
    assert set() == started.names(session)
    assert started.read(session).warming_up
    started.pass_time(1.2)
    assert {"DCGM_FI_PROF_SM_ACTIVE"} == started.names(session)
    assert not started.read(session).warming_up
    intervals = {w["interval_us"] for w in started.engine.control("status")["watches"]}
    assert {20_000_000} == intervals
    for _ in range(3):
        started.pass_time(10)
        assert {"DCGM_FI_PROF_SM_ACTIVE"} == started.names(session)


@pytest.mark.parametrize("version", ["4.2.3", "4.6.0"])
def test_a_machine_without_profiling_has_all_the_rest(bench: StartBench, version: str) -> None:
    started = bench("a100-no-prof", version)
    session = started.session("DCGM_FI_PROF_SM_ACTIVE, gauge, x", "DCGM_FI_DEV_GPU_TEMP, gauge, x")
    result = started.read(session)
    assert ["DCGM_FI_DEV_GPU_TEMP"] == [family.name for family in result.snapshot.families]
    assert not result.warming_up
    assert "no profiling metrics on GPU 0, 1: " in result.profiling_reason


def test_a_refused_change_of_the_interval_costs_nothing_but_itself(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Busy(Engine):
        def watch(self, watch: Watch, interval: float, _seconds: float, _samples: int) -> None:
            if interval > WARM_UP_INTERVAL:
                raise CallRefused("a profiler has the hardware")
            super().watch(watch, interval, _seconds, _samples)

    profiling = profiling_of(Busy({0: [1001]}), {gpu(0): (1001,)})
    profiling.follow(readings_of(raw(gpu(0), 1001, 0.25)))

    assert not profiling.warming_up
    assert "a profiler has the hardware" in caplog.text
