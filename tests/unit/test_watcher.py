"""Watching: groups, field groups, unknown fields, limits, and what is left behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builders import Bench, gpu

from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.connection import FIELDS_PER_CALL, HostEngine
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable, ReturnCode
from do_dcgm_exporter.dcgm.fields import all_fields
from do_dcgm_exporter.dcgm.watcher import Retention, Watcher

StartBench = Callable[..., Bench]
GPUS = [gpu(number) for number in range(8)]
UNKNOWN = 65000


def watches_of(started: Bench) -> dict[tuple[str, int], int]:
    """Interval in seconds by entity and field."""
    watches = started.engine.control("status")["watches"]
    found = {(w["entity"], w["field"]): w["interval_us"] // 1_000_000 for w in watches}
    assert len(found) == len(watches)
    return found


@pytest.mark.parametrize("version", ["3.3.9", "4.6.0"])
def test_every_field_is_watched_on_every_entity(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    (watch,) = Watcher(started.connect()).watch(GPUS, [150, 155], 20.0)
    assert (tuple(GPUS), (150, 155)) == (watch.entities, watch.field_ids)
    expected = {(f"gpu:{number}", field): 20 for number in range(8) for field in (150, 155)}
    assert expected == watches_of(started)


def test_nothing_to_watch_makes_no_groups(bench: StartBench) -> None:
    started = bench()
    watcher = Watcher(started.connect())
    assert ([], []) == (watcher.watch([gpu(0)], [], 20.0), watcher.watch([], [150], 20.0))
    assert [] == started.engine.control("status")["groups"]


def test_entities_that_the_engine_does_not_take_are_not_watched(bench: StartBench) -> None:
    started = bench("h100x8")
    started.engine.control("lose-gpu", "0")
    started.pass_time(1)
    watcher = Watcher(started.connect())
    (watch,) = watcher.watch([gpu(0), gpu(1)], [150], 20.0)
    assert (gpu(1),) == watch.entities
    assert [] == watcher.watch([gpu(0)], [150], 20.0)


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.5.3", "4.6.0"])
def test_lost_gpus_take_no_watch_of_the_others_along(bench: StartBench, version: str) -> None:
    """Before 4.5 the engine takes them into a group and then refuses to watch all of it."""
    started = bench("h100x8", version)
    for lost in ("0", "5"):
        started.engine.control("lose-gpu", lost)
    started.pass_time(1)
    watcher = Watcher(started.connect())
    gpus = [gpu(number) for number in range(8)]
    watcher.watch(gpus, [57, 1], 20.0)
    assert {gpu(0), gpu(5)} == watcher.missed
    before = started.calls.calls
    (watch,) = watcher.watch(gpus, [150, 1001], 20.0)
    others = tuple(g for g in gpus if g.id not in (0, 5))
    assert others == watch.entities
    expected = {(f"gpu:{g.id}", f): 20 for g in others for f in (57, 150, 1001)}
    assert expected == {k: v for k, v in watches_of(started).items() if k[1] != 1}
    if version in ("3.3.9", "4.2.3"):
        assert 11 == started.calls.calls - before  # lost ones are not tried again
    status = started.engine.control("status")
    assert all(group["entities"] for group in status["groups"])
    assert len(status["groups"]) == len(status["field_groups"])


@pytest.mark.parametrize("version", ["3.3.9", "4.6.0"])
def test_unknown_fields_are_left_out_and_named(bench: StartBench, version: str) -> None:
    started = bench("h100x1", version)
    watcher = Watcher(started.connect())
    (watch,) = watcher.watch([gpu(0)], [150, UNKNOWN, 155, UNKNOWN + 1], 20.0)
    assert (150, 155) == watch.field_ids
    assert {UNKNOWN, UNKNOWN + 1} == watcher.unknown


def test_an_engine_is_asked_once_which_fields_it_knows(bench: StartBench) -> None:
    started = bench("h100x8")
    watcher = Watcher(started.connect())
    assert {UNKNOWN} == watcher.unknown_of([UNKNOWN, 150])
    before = started.calls.calls
    assert {UNKNOWN} == watcher.unknown_of([150, UNKNOWN])
    assert frozenset() == watcher.unknown_of([150])
    assert before == started.calls.calls
    watcher.watch([gpu(1)], [UNKNOWN, 150], 20.0)
    # group, entity, field group, watch
    assert 4 == started.calls.calls - before


def test_more_fields_than_a_group_takes_can_be_asked_about(bench: StartBench) -> None:
    watcher = Watcher(bench("h100x8").connect())
    known = [field.id for field in all_fields() if 400 <= field.id < 900]
    assert len(known) > FIELDS_PER_CALL
    assert {UNKNOWN} == watcher.unknown_of([*known, UNKNOWN])


def test_many_unknown_fields_leave_no_field_groups_behind(bench: StartBench) -> None:
    started = bench("h100x1")
    fields = [number for known in range(1, 64) for number in (150 + known, UNKNOWN + known)]
    Watcher(started.connect()).watch([gpu(0)], fields[:126], 20.0)
    assert 1 == len(started.engine.control("status")["field_groups"])


@pytest.mark.parametrize(
    ("version", "batches"), [("3.3.9", [(64, 127), (64, 1), (8, 127), (8, 1)])]
)
def test_watches_keep_within_the_limits_of_groups(
    bench: StartBench, version: str, batches: list[tuple[int, int]]
) -> None:
    started = bench("grace", version)
    connection = started.connect()
    cores = [entity for entity in _cores(connection) if entity.id < 72]
    numbers = [f.id for f in all_fields() if not f.is_profiling and f.id < 1000][:300]
    known = [number for number in numbers if _is_known(connection, number)][:128]
    watches = Watcher(connection).watch(cores, known, 20.0)
    assert batches == [(len(watch.entities), len(watch.field_ids)) for watch in watches]


def _cores(connection: HostEngine) -> list[Entity]:
    return [Entity(EntityKind.CPU_CORE, n) for n in connection.entity_ids(EntityKind.CPU_CORE)]


def _is_known(connection: HostEngine, number: int) -> bool:
    try:
        connection.destroy_field_group(connection.create_field_group([number]))
    except CallRefused:
        return False
    return True


def test_a_field_that_is_refused_does_not_keep_others_from_being_watched(
    bench: StartBench,
) -> None:
    started = bench("a100-no-prof", "4.2.3")
    watcher = Watcher(started.connect())
    watches = watcher.watch([gpu(0), gpu(1)], [150, 1001, 155], 20.0)
    assert [150, 155] == sorted(field for watch in watches for field in watch.field_ids)
    assert set() == watcher.unknown  # the engine knows it well
    assert len(watches) == len(started.engine.control("status")["field_groups"])


def test_an_engine_without_room_for_groups_says_who_leaks(bench: StartBench) -> None:
    started = bench("h100x1")
    leaking, connection = started.connect(), started.connect()
    with pytest.raises(EngineUnavailable) as caught:
        for _ in range(100):
            leaking.create_field_group([150])
    assert ReturnCode.MAX_LIMIT == caught.value.code
    with pytest.raises(EngineUnavailable, match="because a client leaks them"):
        Watcher(connection).watch([gpu(0)], [150], 20.0)


def test_retention_reaches_the_engine() -> None:
    engine = Refusing(set())
    Watcher(engine).watch([gpu(0)], [230], 20.0, Retention(600.0, 0))
    Watcher(engine).watch([gpu(0)], [150], 20.0)
    assert [((230,), 20.0, 600.0, 0), ((150,), 20.0, 0.0, 2)] == engine.watched


def test_what_a_failed_watch_made_is_given_back() -> None:
    engine = Refusing({1001, 1002})
    Watcher(engine).watch([gpu(0)], [150, 1001, 1002, 155], 20.0)
    assert [(150,), (155,)] == [field_ids for field_ids, *_ in engine.watched]
    assert 2 == len(engine.field_groups)


class Refusing:
    """An engine that knows every field and does not watch some."""

    entities_per_call = 64

    def __init__(self, refused: set[int]) -> None:
        self.refused = refused
        self.field_groups: dict[int, tuple[int, ...]] = {}
        self.watched: list[tuple[tuple[int, ...], float, float, int]] = []
        self._next = 0

    def create_group(self, entities: list[Entity]) -> tuple[int, tuple[Entity, ...]]:
        return 1, tuple(entities)

    def create_field_group(self, field_ids: list[int]) -> int:
        self._next += 1
        self.field_groups[self._next] = tuple(field_ids)
        return self._next

    def destroy_field_group(self, field_group: int) -> None:
        del self.field_groups[field_group]

    def watch(self, watch: Watch, interval: float, keep_seconds: float, keep_samples: int) -> None:
        if self.refused & set(watch.field_ids):
            raise CallRefused("module not loaded", ReturnCode.MODULE_NOT_LOADED)
        self.watched.append((watch.field_ids, interval, keep_seconds, keep_samples))
