"""A quantity that DCGM has in two units is computed from whichever an engine knows."""

from __future__ import annotations

from collections.abc import Collection
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import gpu, raw, readings_of
from tests.unit.field_tables import rows_of

from do_dcgm_exporter.dcgm.conversions import conversion_to, stand_ins
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.fields import all_fields, field_by_id

PAIRS = [
    (int(row["id"]), int(row["legacy_id"]), Fraction(row["factor"]))
    for row in rows_of("fields-4.7.csv")
    if row["legacy_id"]
]
every_pair = pytest.mark.parametrize(("new", "old", "factor"), PAIRS)


def converted(field_id: int, value: float) -> float:
    conversion = conversion_to(field_id)
    assert conversion is not None
    return conversion.apply(value)


def test_every_base_unit_of_4_7_has_a_pair_and_nothing_else() -> None:
    assert {new for new, _, _ in PAIRS} == set(range(1600, 1651))
    paired = {field.id for field in all_fields() if conversion_to(field.id)}
    assert paired == {field_id for new, old, _ in PAIRS for field_id in (new, old)}


@every_pair
@given(value=st.integers(0, 2**40))
def test_the_new_value_is_the_old_times_the_factor_and_back(
    new: int, old: int, factor: Fraction, value: int
) -> None:
    computed = converted(new, value)
    exact = value * factor
    if exact.denominator == 1 and field_by_id(new).value_type.value == "i":
        assert (computed, type(computed)) == (exact, int)
    else:
        assert computed == float(exact)
    if factor >= 1:
        assert (converted(old, int(computed)), type(converted(old, int(computed)))) == (value, int)


@every_pair
def test_both_of_a_pair_belong_to_the_same_kind_of_entity(
    new: int, old: int, factor: Fraction
) -> None:
    both = [field_by_id(number) for number in (new, old)]
    assert len({field.level for field in both if field}) == 1
    assert factor > 0


def test_sentinels_are_no_numbers_to_be_multiplied() -> None:
    blank, not_supported = 2**63 - 16, 2**63 - 14
    readings = readings_of(raw(gpu(0), 252, blank), raw(gpu(1), 252, not_supported))
    assert readings.get(gpu(0), 1627) is Absence.BLANK
    assert readings.get(gpu(1), 1627) is Absence.NOT_SUPPORTED
    assert readings_of().get(gpu(0), 1627) is Absence.NOT_WATCHED


def test_what_was_read_itself_is_not_computed() -> None:
    readings = readings_of(raw(gpu(0), 252, 10), raw(gpu(0), 1627, 10 * 2**20 + 4096))
    assert readings.get(gpu(0), 1627) == 10 * 2**20 + 4096
    assert readings.get(gpu(0), 252) == 10


@pytest.mark.parametrize(
    ("read", "payload", "asked_for", "value"),
    [
        (203, 37, 1613, 0.37),
        (156, 1234567, 1611, 1234.567),
        (240, 86_400_123_456_789, 1617, 86400.123456789),
        (449, 25_000, 1648, 25_600_000_000),
        (1613, 0.29, 203, 29),
        (1627, 5 * 2**19, 252, 2.5),
        (1650, 1.5, 582, 1500),
    ],
)
def test_one_unit_is_told_from_the_other(
    read: int, payload: float, asked_for: int, value: float
) -> None:
    assert readings_of(raw(gpu(0), read, payload)).get(gpu(0), asked_for) == value


def an_engine_without(*missing: int) -> tuple[list[int], object]:
    asked: list[int] = []

    def unknown_of(field_ids: Collection[int]) -> set[int]:
        asked.extend(field_ids)
        return set(missing).intersection(field_ids)

    return asked, unknown_of


def test_the_other_id_stands_in_only_where_the_engine_lacks_one_and_has_the_other() -> None:
    asked, unknown_of = an_engine_without(1627, 1650, 582, 700)
    wanted = [150, 252, 1627, 1650, 700, 1603]
    assert stand_ins(wanted, unknown_of) == {1627: 252}
    assert sorted(asked) == sorted([*wanted, 252, 582])


def test_an_engine_that_drops_old_ids_is_asked_for_the_new() -> None:
    _, unknown_of = an_engine_without(252, 203)
    assert stand_ins([252, 203, 150], unknown_of) == {252: 1627, 203: 1613}
