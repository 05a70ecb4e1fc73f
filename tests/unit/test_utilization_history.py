"""The quarter of an hour that is remembered of every device's use."""

from __future__ import annotations

from tests.builders import NOW, gpu, gpu_instance, raw, readings_of, some_gpu, some_instance

from do_dcgm_exporter.collect.machine import MachineState, Roster, machine_state
from do_dcgm_exporter.collect.selection import Selection
from do_dcgm_exporter.dcgm.decoding import RawValue
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.page.history import (
    SPAN,
    UNKNOWN,
    Column,
    History,
    column_of,
    extended,
    is_due,
    widened,
)

TOPOLOGY = Topology(gpus=(some_gpu(0), some_gpu(1)), gpu_instances=(some_instance(7, 1, 9),))


def state(*raws: RawValue, now: float = NOW, lost: frozenset[int] = frozenset()) -> MachineState:
    entities: tuple[Entity, ...] = (gpu(0), gpu_instance(7))
    roster = Roster.of(TOPOLOGY, Selection(entities, TOPOLOGY.gpus, ()), keep=True)
    readings = readings_of(*raws, now=now)
    readings.lost_gpus = lost
    return machine_state(roster, readings, ())


def test_a_gpu_is_as_busy_as_the_driver_says_and_an_instance_as_its_engines_are() -> None:
    told = state(
        raw(gpu(0), 203, 64), raw(gpu(0), 1001, 0.1),
        raw(gpu_instance(7), 203, 80), raw(gpu_instance(7), 1001, 0.254),
    )  # fmt: skip
    assert (64, 25) == tuple(column_of(told).percentages)


def test_either_value_stands_in_for_the_other() -> None:
    told = state(raw(gpu(0), 1001, 0.5), raw(gpu_instance(7), 203, 80))
    assert (50, 80) == tuple(column_of(told).percentages)


def test_what_is_not_known_is_not_zero() -> None:
    lost = state(raw(gpu(0), 203, 64), lost=frozenset({0}))
    assert (UNKNOWN, UNKNOWN) == tuple(column_of(lost).percentages)


def test_an_outlier_stays_within_a_byte() -> None:
    assert 100 == column_of(state(raw(gpu(0), 1001, 47.11))).percentages[0]


def test_a_column_is_due_about_every_15_seconds() -> None:
    history = extended((), Column(NOW))
    assert is_due((), NOW)
    assert not is_due(history, NOW + 5)
    assert is_due(history, NOW + 14.9)
    assert is_due(history, NOW - 3600), "the clock was set back"


def test_what_is_older_than_the_span_is_forgotten() -> None:
    history: History = ()
    for second in range(0, 3600, 15):
        history = extended(history, Column(NOW + second))
    assert SPAN == history[-1].at - history[0].at
    assert 61 == len(history)


def test_a_clock_set_back_leaves_no_future_behind() -> None:
    history = extended(extended((), Column(NOW)), Column(NOW - 60))
    assert (NOW - 60,) == tuple(column.at for column in history)


def test_nothing_is_remembered_where_nothing_is_kept() -> None:
    selection = Selection((gpu(0),), TOPOLOGY.gpus, ())
    roster = Roster.of(TOPOLOGY, selection, keep=False)
    told = machine_state(roster, readings_of(raw(gpu(0), 203, 64)), ())
    assert ({}, ()) == (told.values, told.roster.devices)


def with_range(lowest: float, highest: float, now: float = NOW) -> Column:
    entities: tuple[Entity, ...] = (gpu(0), gpu_instance(7))
    roster = Roster.of(TOPOLOGY, Selection(entities, TOPOLOGY.gpus, ()), keep=True)
    readings = readings_of(raw(gpu(0), 203, 64), now=now)
    readings.ranges = {(gpu(0), 203): (lowest, highest), (gpu_instance(7), 1001): (0.1, 0.2)}
    return column_of(machine_state(roster, readings, ()))


def test_peaks_tell_what_was_in_between() -> None:
    column = with_range(3, 98)
    assert ((3, UNKNOWN), (98, UNKNOWN)) == (tuple(column.lowest), tuple(column.highest))
    assert b"" == column_of(state(raw(gpu(0), 203, 64))).lowest


def test_what_comes_before_the_next_column_widens_the_last() -> None:
    first = extended((), column_of(state(raw(gpu(0), 203, 64))))
    (column,) = widened(widened(first, with_range(60, 70, NOW + 1)), with_range(5, 65, NOW + 2))
    assert (NOW, 64, 5, 70) == (
        column.at, column.percentages[0], column.lowest[0], column.highest[0]
    )  # fmt: skip
    assert (UNKNOWN, UNKNOWN) == (column.lowest[1], column.highest[1])
    other = Column(NOW + 1, (gpu(5),), bytes((9,)), bytes((9,)), bytes((9,)))
    assert first == widened(first, other)
