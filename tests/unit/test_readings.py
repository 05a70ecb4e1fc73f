"""The readings of one cycle: how old a value may be, and what was left out."""

from __future__ import annotations

import pytest
from tests.builders import NOW, gpu, raw, readings_of

from do_dcgm_exporter.dcgm.decoding import Absence


def test_a_value_is_found_by_entity_and_field() -> None:
    readings = readings_of(raw(gpu(0), 150, 41), raw(gpu(1), 150, 42), raw(gpu(0), 155, 70.5))
    assert (41, 42, 70.5) == (
        readings.get(gpu(0), 150),
        readings.get(gpu(1), 150),
        readings.get(gpu(0), 155),
    )


def test_what_was_not_read_is_not_watched() -> None:
    assert Absence.NOT_WATCHED is readings_of().get(gpu(0), 150)


def test_a_field_that_was_left_out_says_why() -> None:
    readings = readings_of()
    readings.left_out = {3: Absence.POISONED}
    assert Absence.POISONED is readings.get(gpu(0), 3)


@pytest.mark.parametrize(
    ("field_id", "age", "stale"),
    [
        (150, 59.0, False),
        (150, 61.0, True),
        *((field_id, 1e9, False) for field_id in (6, 230, 782, 783, 856, 857)),  # events
        (450, 61.0, True),
        (83, 89.0, False),  # InfoROM fields come every 30 s
        (84, 89.0, False),
        (83, 91.0, True),
        (84, 91.0, True),
    ],
)
def test_how_old_a_value_may_be(field_id: int, age: float, stale: bool) -> None:
    readings = readings_of(raw(gpu(0), field_id, 1, timestamp=NOW - age), stale_after=60.0)
    assert (Absence.STALE if stale else 1) == readings.get(gpu(0), field_id)


@pytest.mark.parametrize(
    ("field_id", "value", "taken"),
    [
        (203, 100, True),
        (203, 101, False),
        (204, 4294967295, False),
        (206, -1, False),
        (207, 0, True),
        (191, 120, True),  # a fan may be faster than its nominal speed
    ],
)
def test_a_utilization_is_a_percentage(field_id: int, value: int, taken: bool) -> None:
    expected = value if taken else Absence.NOT_A_NUMBER
    assert expected == readings_of(raw(gpu(0), field_id, value)).get(gpu(0), field_id)


def test_a_long_limit_holds_for_inforom_fields_too() -> None:
    readings = readings_of(raw(gpu(0), 83, 1, timestamp=NOW - 299.0), stale_after=300.0)
    assert 1 == readings.get(gpu(0), 83)


def test_reasons_are_counted() -> None:
    readings = readings_of()
    for reason in (Absence.BLANK, Absence.STALE, Absence.BLANK):
        readings.drop(reason)
    assert {Absence.BLANK: 2, Absence.STALE: 1} == dict(readings.dropped)
