"""Profiling fields: offered per GPU, hastened until values come, bridged, asked for again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

import pytest
from tests.builders import NOW, Bench, Clock, gpu, gpu_instance, raw, readings_of, some_gpu

from do_dcgm_exporter.collect.profiling import RETRY_AFTER, ProfilingWatch
from do_dcgm_exporter.collect.profiling_pace import WARM_UP_INTERVAL
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_ages import SampleAges
from do_dcgm_exporter.collect.sampling import Sampling
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.topology import ComputeInstance, GpuInstance, Topology
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.dcgm.watcher import Watcher

StartBench = Callable[..., Bench]
BLANK = 140737488355328.0
UNWATCHED = 0.0


class Engine:
    """An engine with GPUs that offer what they are told to; notes what is watched."""

    entities_per_call = 64

    def __init__(self, offered: Mapping[int, Sequence[int]], version: str = "4.6.0") -> None:
        self.versions = Versions(version, version)
        self.offered = dict(offered)
        self.groups = 0
        self.field_groups = 0
        self.updates = 0
        self.watched: list[tuple[tuple[Entity, ...], tuple[int, ...], float]] = []
        self.kept: set[tuple[float, int]] = set()
        self.grouped: dict[object, tuple[Entity, ...]] = {}
        self.unwatched_from: list[tuple[Entity, ...]] = []

    def profiling_field_ids(self, gpu_id: int) -> frozenset[int]:
        if gpu_id not in self.offered:
            raise CallRefused("the module is not loaded", ReturnCode.MODULE_NOT_LOADED)
        return frozenset(self.offered[gpu_id])

    def create_group(self, entities: Sequence[Entity]) -> tuple[int, tuple[Entity, ...]]:
        self.groups += 1
        self.grouped[self.groups] = tuple(entities)
        return self.groups, tuple(entities)

    def create_field_group(self, _field_ids: Sequence[int]) -> int:
        self.field_groups += 1
        return self.field_groups

    def destroy_field_group(self, _field_group: int) -> None:
        self.field_groups -= 1

    def destroy_group(self, _group: int) -> None:
        self.groups -= 1

    def watch(self, watch: Watch, interval: float, seconds: float, samples: int) -> None:
        self.watched.append((watch.entities, watch.field_ids, interval))
        self.kept.add((seconds, samples))

    def update(self) -> None:
        self.updates += 1

    def unwatch(self, watch: Watch) -> None:
        self.watched.append((watch.entities, watch.field_ids, UNWATCHED))
        self.unwatched_from.append(self.grouped[watch.group])

    @property
    def intervals(self) -> list[float]:
        return [interval for *_, interval in self.watched]


TOPOLOGY = Topology(
    gpus=(some_gpu(0), some_gpu(1)),
    gpu_instances=(GpuInstance(7, 1, 9, "1g.10gb"),),
    compute_instances=(ComputeInstance(7, 7, 0),),
)


def profiling_of(
    engine: Engine,
    wanted: Mapping[Entity, Sequence[int]],
    *,
    interval: float = 20.0,
    clock: Clock | None = None,
    topology: Topology = TOPOLOGY,
    sampling: Sampling | None = None,
) -> ProfilingWatch:
    profiling = ProfilingWatch(
        engine,
        Watcher(engine),
        topology,
        interval,
        wanted,
        clock or Clock(),
        sampling or Sampling(),
    )
    profiling.start()
    return profiling


BOTH = {gpu(0): (1001, 1002), gpu(1): (1001, 1002)}


def settled(
    engine: Engine, *, interval: float = 20.0, clock: Clock | None = None
) -> ProfilingWatch:
    """Profiling of field 1001 on both GPUs that has values, and has settled."""
    wanted = {gpu(0): (1001,), gpu(1): (1001,)}
    profiling = profiling_of(engine, wanted, interval=interval, clock=clock)
    profiling.follow(reading(0.5, 0.5))
    engine.watched.clear()
    return profiling


def reading(*values: float) -> Readings:
    """What field 1001 reads on GPU 0 and those that follow."""
    return readings_of(*(raw(gpu(n), 1001, value) for n, value in enumerate(values)))


# How often they are sampled.


def test_fields_are_watched_at_the_interval_and_long_enough_kept() -> None:
    engine = Engine({0: [1001, 1002], 1: [1001, 1002]})
    profiling = profiling_of(engine, BOTH)
    assert [((gpu(0), gpu(1)), (1001, 1002), 20.0)] == engine.watched
    assert {(80.0, 0)} == engine.kept
    assert "" == profiling.reason


def test_values_of_an_earlier_watch_are_taken_as_they_are() -> None:
    engine = Engine({0: [1001], 1: [1001]})
    profiling = profiling_of(engine, {gpu(0): (1001,)})
    profiling.follow(reading(0.25))
    assert not profiling.warming_up
    assert [20.0] == engine.intervals


def test_blank_fields_are_sampled_every_second_until_values_come() -> None:
    engine = Engine({0: [1001], 1: [1001]})
    profiling = profiling_of(engine, {gpu(0): (1001,)})
    for _ in range(2):
        profiling.follow(reading(BLANK))
        assert profiling.warming_up
        assert ([20.0, UNWATCHED, WARM_UP_INTERVAL], 1) == (engine.intervals, engine.updates)
    for value in (0.25, BLANK, 0.25):
        profiling.follow(reading(value))
        assert not profiling.warming_up
        assert [20.0, UNWATCHED, WARM_UP_INTERVAL, UNWATCHED, 20.0] == engine.intervals
    assert 1 == engine.field_groups


def test_only_entities_without_values_are_sampled_every_second() -> None:
    engine = Engine({0: [1001], 1: [1001]})
    profiling = profiling_of(engine, {gpu(0): (1001,), gpu(1): (1001,)})
    groups = engine.groups, engine.field_groups
    profiling.follow(reading(0.5, BLANK))
    assert ((gpu(1),), (1001,), WARM_UP_INTERVAL) == engine.watched[-1]
    profiling.follow(reading(0.5, 0.5))
    assert [
        ((gpu(1),), (1001,), UNWATCHED),
        ((gpu(1),), (1001,), 20.0),
    ] == engine.watched[-2:]
    assert groups == (engine.groups, engine.field_groups)


def test_values_that_never_come_are_not_waited_for() -> None:
    engine, clock = Engine({0: [1001]}), Clock()
    profiling = profiling_of(engine, {gpu(0): (1001,)}, clock=clock)
    profiling.follow(reading(BLANK))
    clock.now = 10.0
    profiling.follow(reading(BLANK))
    assert profiling.warming_up
    clock.now = 10.1
    profiling.follow(reading(BLANK))
    assert not profiling.warming_up
    assert [UNWATCHED, 20.0] == engine.intervals[-2:]
    profiling.follow(reading(BLANK))
    assert not profiling.warming_up


@pytest.mark.parametrize("interval", [0.1, 1.0])
def test_a_short_interval_is_fast_enough(interval: float) -> None:
    engine = Engine({0: [1001]})
    profiling = profiling_of(engine, {gpu(0): (1001,)}, interval=interval)
    profiling.follow(reading(BLANK))
    assert profiling.warming_up  # whoever reads once only has to wait all the same
    profiling.follow(reading(0.25))
    assert not profiling.warming_up
    assert [interval] == engine.intervals


@pytest.mark.parametrize(("version", "expected"), [("4.3.1", [20.0]), ("4.4.1", [])])
def test_old_engines_are_told_again_how_long_to_keep_samples(
    version: str, expected: list[float]
) -> None:
    """They forget it when another client's watch ends, or that of the session before."""
    engine = Engine({0: [1001], 1: [1001]}, version)
    profiling = settled(engine)
    profiling.follow(reading(0.5, BLANK))
    assert expected == engine.intervals
    profiling.take_over()
    assert 2 * expected == engine.intervals


def test_a_refused_interval_is_told_and_tried_again_on_a_new_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Busy(Engine):
        def watch(self, watch: Watch, interval: float, seconds: float, samples: int) -> None:
            if interval == WARM_UP_INTERVAL:
                raise CallRefused("a profiler has the hardware")
            super().watch(watch, interval, seconds, samples)

    clock = Clock()
    profiling = profiling_of(Busy({0: [1001]}), {gpu(0): (1001,)}, clock=clock)
    for _ in range(3):
        clock.now += 20
        profiling.follow(reading(BLANK))
    assert 1 == caplog.text.count("not watched every 1 s: a profiler has the hardware")
    assert "no profiling metrics on GPU 0: " in profiling.reason
    clock.now = RETRY_AFTER + 1
    assert profiling.wants_new_connection()


def test_a_refused_unwatch_leaves_the_watch_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    class Stubborn(Engine):
        def unwatch(self, watch: Watch) -> None:
            raise CallRefused(f"cannot unwatch {watch.field_ids}")

    engine = Stubborn({0: [1001]})
    profiling = profiling_of(engine, {gpu(0): (1001,)})
    profiling.follow(reading(BLANK))
    profiling.follow(reading(0.25))
    assert [20.0] == engine.intervals
    assert "profiling fields keep their interval: cannot unwatch (1001,)" in caplog.text


# What stands where a sample is blank.


def test_the_last_value_stands_for_a_blank_one_while_it_is_fresh() -> None:
    profiling = settled(Engine({0: [1001], 1: [1001]}))
    for seconds, expected in ((40, 0.5), (60, 0.5), (61, Absence.BLANK)):
        later = raw(gpu(0), 1001, BLANK, timestamp=NOW + seconds)
        readings = readings_of(later, now=NOW + seconds)
        profiling.follow(readings)
        assert expected == readings.get(gpu(0), 1001)


def test_a_value_does_not_become_younger_when_the_clock_is_set_back() -> None:
    profiling = profiling_of(Engine({0: [1001]}), {gpu(0): (1001,)})
    clock = Clock()
    ages = SampleAges(clock)
    for seconds, payload, expected in (
        (0, 0.5, 0.5),
        (60, BLANK, 0.5),
        (61, BLANK, Absence.BLANK),
    ):
        clock.now = seconds
        readings = Readings(NOW, 60.0, ages)
        readings.add([raw(gpu(0), 1001, payload)])
        profiling.follow(readings)
        assert expected == readings.get(gpu(0), 1001)


@pytest.mark.parametrize("status", [ReturnCode.NOT_WATCHED, ReturnCode.NO_PERMISSION])
def test_no_value_stands_for_one_that_is_refused(status: ReturnCode) -> None:
    profiling = settled(Engine({0: [1001], 1: [1001]}))
    readings = readings_of(raw(gpu(0), 1001, 0.0, status=status))
    profiling.follow(readings)
    assert isinstance(readings.get(gpu(0), 1001), Absence)


def test_no_value_stands_on_a_lost_gpu_and_it_is_not_sampled_faster() -> None:
    engine = Engine({0: [1001], 1: [1001]})
    profiling = settled(engine)
    readings = reading(0.5, BLANK)
    readings.lost_gpus = frozenset({1})
    profiling.follow(readings)
    assert Absence.BLANK is readings.get(gpu(1), 1001)
    assert ([], "") == (engine.watched, profiling.reason)


def test_no_value_from_before_a_loss_stands_after_it() -> None:
    profiling = settled(Engine({0: [1001], 1: [1001]}))
    lost = reading(0.5, BLANK)
    lost.lost_gpus = frozenset({1})
    profiling.follow(lost)
    back = reading(0.5, BLANK)
    profiling.follow(back)
    assert Absence.BLANK is back.get(gpu(1), 1001)


# Counters that stand at 0.


def busy(active: float, utilization: int) -> Readings:
    """A cycle in which GPU 1 idles, and GPU 0 is as busy as both kinds of fields say."""
    return readings_of(
        raw(gpu(0), 1001, active),
        raw(gpu(0), 203, utilization),
        raw(gpu(1), 1001, 0.0),
        raw(gpu(1), 203, 0),
    )


def test_a_busy_gpu_whose_profiling_stands_at_0_is_told_of_until_it_does_not() -> None:
    profiling = settled(Engine({0: [1001], 1: [1001]}))
    for _ in range(2):
        profiling.follow(busy(0.0, 97))
    assert "" == profiling.reason
    profiling.follow(busy(0.0, 97))
    assert profiling.reason.startswith(
        "profiling metrics of GPU 0 stand at 0 although DCGM_FI_DEV_GPU_UTIL is high"
    )
    profiling.follow(busy(0.4, 97))
    assert "" == profiling.reason


@pytest.mark.parametrize(("active", "utilization"), [(0.0, 10), (0.01, 97), (BLANK, 97)])
def test_a_gpu_that_does_little_or_whose_counters_move_is_not(
    active: float, utilization: int
) -> None:
    profiling = settled(Engine({0: [1001], 1: [1001]}))
    for _ in range(5):
        profiling.follow(busy(active, utilization))
    assert "stand at 0" not in profiling.reason


# What GPUs offer.


def test_each_gpu_is_asked_what_it_offers() -> None:
    engine = Engine({0: [1001], 1: [1001, 1002]})
    profiling = profiling_of(engine, {**BOTH, gpu_instance(7): (1001, 1002)})
    assert [
        ((gpu(0),), (1001,), 20.0),
        ((gpu(1), gpu_instance(7)), (1001, 1002), 20.0),
    ] == engine.watched
    assert frozenset({(gpu(0), 1002)}) == profiling.unoffered
    assert ("", {0: True, 1: True}) == (profiling.reason, profiling.up)


def test_a_gpu_without_profiling_is_named_and_the_others_have_theirs(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine = Engine({1: [1001, 1002]})
    profiling = profiling_of(engine, BOTH)
    assert [(gpu(1),)] == [watched[0] for watched in engine.watched]
    assert frozenset({(gpu(0), 1001), (gpu(0), 1002)}) == profiling.unoffered
    assert "no profiling metrics on GPU 0: the module is not loaded" == profiling.reason
    assert [profiling.reason] == caplog.messages
    assert {1: True} == profiling.up


def test_no_gpu_is_asked_when_nobody_wants_profiling() -> None:
    engine = Engine({})
    profiling = profiling_of(engine, {})
    profiling.follow(readings_of())
    assert ("", False, [], {}) == (
        profiling.reason,
        profiling.warming_up,
        engine.watched,
        profiling.up,
    )


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
    assert [((gpu(0), gpu(1)), (1001, 1002), 20.0)] == engine.watched
    assert ("", frozenset()) == (profiling.reason, profiling.unoffered)
    assert "profiling metrics are available now" == caplog.messages[-1]


def test_nobody_is_asked_again_while_fields_are_sampled_every_second() -> None:
    """Watching them again at the interval without an unwatch would lose their values for good."""
    engine, clock = Engine({0: [1001]}), Clock()
    profiling = profiling_of(engine, {gpu(0): (1001,), gpu(1): (1001,)}, clock=clock)
    engine.offered[1] = [1001]
    clock.now = RETRY_AFTER + 1
    profiling.follow(reading(BLANK))
    assert (1.0, True) == (engine.intervals[-1], profiling.warming_up)
    profiling.follow(reading(0.5))
    assert [UNWATCHED, 20.0, 20.0] == engine.intervals[-3:]
    assert not profiling.unoffered


def test_watching_again_leaves_lost_gpus_at_rest() -> None:
    engine = Engine({0: [1001], 1: [1001]}, "4.3.1")
    profiling = settled(engine)
    profiling.watcher.rest([gpu(1)], profiling.pace.watches)
    engine.watched.clear()
    groups = engine.groups
    profiling.take_over()
    last = engine.unwatched_from[-1]
    assert [20.0, UNWATCHED] == engine.intervals
    assert (groups, (gpu(1),)) == (engine.groups, last)


class Refusing(Engine):
    """An engine whose profiling module goes between saying what it offers and watching it."""

    def watch(self, watch: Watch, _interval: float, _seconds: float, _samples: int) -> None:
        raise CallRefused(f"no module for {watch}", ReturnCode.MODULE_NOT_LOADED)


def test_what_is_offered_and_not_watched_is_told_and_wants_a_new_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, clock = Refusing({0: [1001], 1: []}), Clock()
    profiling = profiling_of(engine, BOTH, clock=clock)
    told = "no profiling metrics on GPU 0: the engine offers them but refuses to watch them"
    assert told == profiling.reason
    assert {0: False} == profiling.up
    groups = engine.groups
    for seconds, is_wanted in ((RETRY_AFTER, False), (RETRY_AFTER + 1, True)):
        clock.now = seconds
        profiling.follow(readings_of())
        assert is_wanted == profiling.wants_new_connection()
    assert (groups, 0) == (engine.groups, engine.field_groups)
    assert [told] == caplog.messages


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


# Values that stay away.


def test_three_blank_readings_are_told_and_so_is_their_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    profiling = settled(Engine({0: [1001], 1: [1001]}))
    for up in (True, True, False, False):
        profiling.follow(reading(0.5, BLANK))
        assert {0: True, 1: up} == profiling.up
    assert "profiling metrics of GPU 1 stay blank" == profiling.reason
    profiling.follow(reading(0.5, 0.5))
    assert ("", {0: True, 1: True}) == (profiling.reason, profiling.up)
    assert [
        "profiling metrics of GPU 1 stay blank",
        "profiling metrics of GPU 1 are back",
    ] == caplog.messages


def test_a_summarised_field_that_a_gpu_has_no_value_of_is_no_trouble() -> None:
    """It is watched by itself, but a GPU without NvLinks stays well."""
    engine, clock = Engine({0: [1001, 1011]}), Clock()
    sampling = Sampling(1.0, 20.0, frozenset({1011}))
    profiling = profiling_of(engine, {gpu(0): (1001, 1011)}, clock=clock, sampling=sampling)
    assert [1.0, 20.0] == engine.intervals
    for clock.now in range(0, 1000, 20):
        profiling.follow(readings_of(raw(gpu(0), 1001, 0.5), raw(gpu(0), 1011, BLANK)))
    assert ("", {0: True}) == (profiling.reason, profiling.up)
    assert not profiling.wants_new_connection()
    assert not profiling.warming_up


def test_what_stays_blank_for_minutes_wants_a_new_connection() -> None:
    clock = Clock()
    profiling = settled(Engine({0: [1001], 1: [1001]}), clock=clock)
    for _ in range(3):
        profiling.follow(reading(0.5, BLANK))
    clock.now = RETRY_AFTER
    assert not profiling.wants_new_connection()
    clock.now = RETRY_AFTER + 1
    assert profiling.wants_new_connection()
    profiling.follow(reading(0.5, 0.5))
    assert not profiling.wants_new_connection()


def test_an_instance_without_compute_instances_has_nothing_to_measure() -> None:
    """The engine takes no samples of it and has blanks (DcgmGpmManager.cpp)."""
    topology = Topology(gpus=TOPOLOGY.gpus, gpu_instances=TOPOLOGY.gpu_instances)
    clock = Clock()
    wanted = {gpu_instance(7): (1001,)}
    profiling = profiling_of(Engine({1: [1001]}), wanted, clock=clock, topology=topology)
    for _ in range(10):
        clock.now += 20
        profiling.follow(readings_of(raw(gpu_instance(7), 1001, BLANK)))
    assert ("", {1: True}) == (profiling.reason, profiling.up)


@pytest.mark.parametrize("version", ["4.2.3", "4.6.0"])
def test_a_machine_without_profiling_has_all_the_rest(bench: StartBench, version: str) -> None:
    started = bench("a100-no-prof", version)
    session = started.session("DCGM_FI_PROF_SM_ACTIVE, gauge, x", "DCGM_FI_DEV_GPU_TEMP, gauge, x")
    result = started.read(session)
    assert ["DCGM_FI_DEV_GPU_TEMP"] == [family.name for family in result.snapshot.families]
    assert not result.warming_up
    assert "no profiling metrics on GPU 0, 1: " in result.profiling_reason
