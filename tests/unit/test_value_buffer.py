"""Room for the values of one call."""

from __future__ import annotations

import ctypes

from do_dcgm_exporter.dcgm.bindings import FIELD_VALUE_SIZE
from do_dcgm_exporter.dcgm.value_buffer import ValueBuffer


def test_the_same_room_is_given_again_and_again() -> None:
    values = ValueBuffer()
    first = ctypes.addressof(values.cleared(8))
    assert [first, first] == [ctypes.addressof(values.cleared(count)) for count in (3, 8)]


def test_more_values_get_more_room() -> None:
    values = ValueBuffer()
    values.cleared(1)
    assert 1000 * FIELD_VALUE_SIZE == len(values.cleared(1000))


def test_nothing_of_the_values_before_is_left_in_it() -> None:
    values = ValueBuffer()
    buffer = values.cleared(2)
    ctypes.memset(buffer, 0x55, len(buffer))
    assert bytes(2 * FIELD_VALUE_SIZE) == bytes(values.cleared(2))
