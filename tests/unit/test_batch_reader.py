"""Reading in few calls, and keeping one field from taking the others down."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pytest
from tests.builders import Bench, Clock, gpu, raw

from do_dcgm_exporter.dcgm.batch_reader import RETRY_POISONED_AFTER, BatchReader
from do_dcgm_exporter.dcgm.decoding import RawValue
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable, ReturnCode
from do_dcgm_exporter.dcgm.watcher import Watcher

StartBench = Callable[..., Bench]
BANNER, SERIAL, TEMPERATURE, POWER = 3, 53, 150, 155


@dataclass
class Engine:
    """An engine whose calls fail as told; notes the size of each call."""

    entities_per_call: int = 64
    poison: set[int] = field(default_factory=set)
    room: int = 10**9
    failure: Exception | None = None
    calls: list[tuple[int, int]] = field(default_factory=list)

    def latest(self, entities: Sequence[Entity], field_ids: Sequence[int]) -> list[RawValue]:
        self.calls.append((len(entities), len(field_ids)))
        if self.failure:
            raise self.failure
        if len(entities) * len(field_ids) > self.room:
            raise CallRefused("the answer is too large", ReturnCode.INSUFFICIENT_SIZE)
        if self.poison & set(field_ids):
            raise CallRefused("generic error", ReturnCode.GENERIC_ERROR)
        return [raw(entity, field_id, 1) for entity in entities for field_id in field_ids]


def reader_of(engine: Engine, clock: Clock | None = None) -> BatchReader:
    return BatchReader(engine, clock or Clock())


def gpus(count: int) -> list[Entity]:
    return [gpu(number) for number in range(count)]


@pytest.mark.parametrize(
    ("limit", "entities", "fields", "calls"),
    [
        (64, 8, 49, [(8, 49)]),
        (64, 64, 127, [(64, 127)]),
        (64, 65, 127, [(64, 127), (1, 127)]),
        (64, 64, 128, [(64, 127), (64, 1)]),
        (1024, 256, 127, [(256, 127)]),
        (1024, 1025, 130, [(1024, 127), (1024, 3), (1, 127), (1, 3)]),
        (64, 0, 10, []),
        (64, 10, 0, []),
    ],
)
def test_calls_are_as_large_as_the_engine_allows(
    limit: int, entities: int, fields: int, calls: list[tuple[int, int]]
) -> None:
    engine = Engine(entities_per_call=limit)
    values = list(reader_of(engine).read(gpus(entities), range(1, fields + 1)))
    assert calls == engine.calls
    assert entities * fields == len({(value.entity, value.field_id) for value in values})


def test_an_answer_that_is_too_large_is_asked_for_in_halves() -> None:
    engine = Engine(room=40)
    values = list(reader_of(engine).read(gpus(8), range(1, 21)))
    assert 160 == len(values)
    assert [(8, 20), (4, 20), (2, 20), (2, 20), (4, 20), (2, 20), (2, 20)] == engine.calls


def test_fields_that_spoil_a_call_are_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    engine = Engine(poison={7, 99})
    reader = reader_of(engine)
    values = list(reader.read(gpus(8), range(1, 128)))
    assert set(range(1, 128)) - {7, 99} == {value.field_id for value in values}
    assert 8 * 125 == len(values)
    assert frozenset({7, 99}) == reader.poisoned
    assert [
        f"field {number} makes the engine fail and is left out for now" for number in (7, 99)
    ] == caplog.messages


def test_a_poisoned_field_costs_nothing_more() -> None:
    engine = Engine(poison={7})
    reader = reader_of(engine)
    list(reader.read(gpus(8), range(1, 128)))
    engine.calls.clear()
    list(reader.read(gpus(8), range(1, 128)))
    assert [(8, 126)] == engine.calls


def test_a_poisoned_field_is_tried_again_later(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    engine, clock = Engine(poison={7}), Clock()
    reader = reader_of(engine, clock)
    list(reader.read(gpus(1), [6, 7, 8]))
    engine.poison.clear()
    clock.now = RETRY_POISONED_AFTER - 1
    assert {6, 8} == {value.field_id for value in reader.read(gpus(1), [6, 7, 8])}
    clock.now = RETRY_POISONED_AFTER
    assert {6, 7, 8} == {value.field_id for value in reader.read(gpus(1), [6, 7, 8])}
    assert frozenset() == reader.poisoned


def test_a_field_that_is_still_poisoned_is_left_out_again() -> None:
    engine, clock = Engine(poison={7}), Clock()
    reader = reader_of(engine, clock)
    for clock.now in (0.0, RETRY_POISONED_AFTER):
        assert {6, 8} == {value.field_id for value in reader.read(gpus(1), [6, 7, 8])}
        assert frozenset({7}) == reader.poisoned


def test_an_engine_that_is_gone_poisons_nothing() -> None:
    engine = Engine(failure=EngineUnavailable("gone", ReturnCode.CONNECTION_NOT_VALID))
    reader = reader_of(engine)
    with pytest.raises(EngineUnavailable):
        list(reader.read(gpus(1), [1, 2]))
    assert frozenset() == reader.poisoned
    assert [(1, 2)] == engine.calls


def test_an_empty_text_of_dcgm_3_3_9_takes_nobody_along(bench: StartBench) -> None:
    started = bench("h100x8", "3.3.9")
    started.engine.control("set", "--entity", "gpu:5", str(SERIAL), "empty")
    connection = started.connect()
    fields = [SERIAL, TEMPERATURE, POWER]
    Watcher(connection).watch(gpus(8), fields, 20.0)
    clock = Clock()
    reader = BatchReader(connection, clock)
    values = list(reader.read(gpus(8), fields))
    assert {TEMPERATURE, POWER} == {value.field_id for value in values}
    assert 16 == len(values)
    assert frozenset({SERIAL}) == reader.poisoned
    started.engine.control("set", "--entity", "gpu:5", str(SERIAL), "unset")
    started.pass_time(20)
    clock.now = RETRY_POISONED_AFTER
    assert 24 == len(list(reader.read(gpus(8), fields)))


def test_an_empty_text_is_just_empty_on_later_releases(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    started.engine.control("set", "--entity", "gpu:5", str(SERIAL), "empty")
    connection = started.connect()
    Watcher(connection).watch(gpus(8), [SERIAL, TEMPERATURE], 20.0)
    reader = BatchReader(connection)
    assert 16 == len(list(reader.read(gpus(8), [SERIAL, TEMPERATURE])))
    assert frozenset() == reader.poisoned


def test_an_engine_that_fails_on_every_field_is_an_outage_and_poisons_nothing() -> None:
    engine = Engine(poison={TEMPERATURE, POWER})
    reader = reader_of(engine)

    with pytest.raises(EngineUnavailable, match="fails on every field"):
        list(reader.read(gpus(2), [TEMPERATURE, POWER]))
    engine.poison.clear()
    assert 4 == len(list(reader.read(gpus(2), [TEMPERATURE, POWER])))
