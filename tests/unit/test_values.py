"""What an answer of the engine is worth: every type, sentinel, status and age."""

from __future__ import annotations

import ctypes
import math
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.builders import MICROSECONDS, NOW, gpu, raw

from do_dcgm_exporter.collect.sample_text import number_text
from do_dcgm_exporter.dcgm.bindings import FIELD_VALUE_OFFSET, FIELD_VALUE_SIZE
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue, Reading, decode_values, read_value
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import ReturnCode

INT32, INT64, DOUBLE = 0x7FFFFFF0, 0x7FFFFFFFFFFFFFF0, 140737488355328.0


def value_of(payload: float | str | None, *, status: int = 0) -> Reading:
    return read_value(raw(gpu(0), 150, payload, status=status))


@pytest.mark.parametrize("payload", [0, -1, 42, 2**40, 0.0, 0.25, 1e9, "535.216.01", "a<<<b>>>"])
def test_a_value_is_worth_its_payload(payload: float | str) -> None:
    assert payload == value_of(payload)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (INT32, Absence.BLANK),
        (INT32 + 1, Absence.NOT_FOUND),
        (INT32 + 2, Absence.NOT_SUPPORTED),
        (INT32 + 3, Absence.NOT_PERMITTED),
        (INT64, Absence.BLANK),
        (INT64 + 1, Absence.NOT_FOUND),
        (INT64 + 2, Absence.NOT_SUPPORTED),
        (INT64 + 3, Absence.NOT_PERMITTED),
        (DOUBLE, Absence.BLANK),
        (DOUBLE + 1, Absence.NOT_FOUND),
        (DOUBLE + 2, Absence.NOT_SUPPORTED),
        (DOUBLE + 3, Absence.NOT_PERMITTED),
        ("<<<NULL>>>", Absence.BLANK),
        ("<<<NOT_FOUND>>>", Absence.NOT_FOUND),
        ("<<<NOT_SUPPORTED>>>", Absence.NOT_SUPPORTED),
        ("<<<NOT_PERM>>>", Absence.NOT_PERMITTED),
        ("<<<SOMETHING NEW>>>", Absence.BLANK),
        ("", Absence.BLANK),
        (2 * DOUBLE, Absence.BLANK),  # a sum of two blanks
        (1.5 * DOUBLE, Absence.BLANK),  # an average with one
        (math.nan, Absence.NOT_A_NUMBER),
        (math.inf, Absence.NOT_A_NUMBER),
        (-math.inf, Absence.NOT_A_NUMBER),
        (None, Absence.NOT_A_NUMBER),  # a blob
    ],
)
def test_a_sentinel_is_named(payload: float | str | None, reason: Absence) -> None:
    assert reason is value_of(payload)


@pytest.mark.parametrize("payload", [INT32 - 1, INT32 + 4, INT64 - 1, INT64 + 4, DOUBLE - 1.0])
def test_a_number_beside_the_sentinels_is_a_number(payload: float) -> None:
    assert payload == value_of(payload)


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (ReturnCode.NO_DATA, Absence.NO_DATA),
        (ReturnCode.NOT_WATCHED, Absence.NOT_WATCHED),
        (ReturnCode.UNKNOWN_FIELD, Absence.UNKNOWN_FIELD),
        (ReturnCode.NOT_SUPPORTED, Absence.NOT_SUPPORTED),
        (ReturnCode.NO_PERMISSION, Absence.NOT_PERMITTED),
        (ReturnCode.GPU_IS_LOST, Absence.GPU_LOST),
        (ReturnCode.STALE_DATA, Absence.STALE),
        (ReturnCode.MODULE_NOT_LOADED, Absence.MODULE_NOT_LOADED),
        (ReturnCode.GENERIC_ERROR, Absence.ENGINE_ERROR),
        (-1000, Absence.ENGINE_ERROR),
    ],
)
@pytest.mark.parametrize("payload", [0, INT64, 42])
def test_a_status_comes_before_the_value(status: int, reason: Absence, payload: int) -> None:
    assert reason is value_of(payload, status=status)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-1, "-1"),
        (2**63 - 1, "9223372036854775807"),
        (0.0, "0.000000"),
        (123.456, "123.456000"),
        (6.5e10, "65000000000.000000"),
        (0.37, "0.370000"),
        (-1.5, "-1.500000"),
    ],
)
def test_numbers_are_printed_as_by_nvidias_exporters(number: float, text: str) -> None:
    assert text == number_text(number)


@pytest.mark.parametrize(
    ("number", "text"),
    [(1.5e-12, "1.5e-12"), (0.0000004, "4e-07"), (86400.123456789, "86400.123456789")],
)
def test_six_decimals_are_not_all_that_a_number_may_have(number: float, text: str) -> None:
    assert text == number_text(number)


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(-(2.0**47), 2.0**47)))
def test_no_number_loses_anything_by_being_printed(number: float) -> None:
    assert number == type(number)(number_text(number))


# Decoding.


def slot(
    kind: int, entity: int, field: int, letter: str, value: bytes, status: int = 0, ts: int = 0
) -> bytes:
    head = struct.pack("=IIIHhiIq", 0, kind, entity, field, ord(letter), status, 0, ts)
    assert FIELD_VALUE_OFFSET == len(head)
    return (head + value).ljust(FIELD_VALUE_SIZE, b"\0")


def decoded(*slots: bytes) -> list[RawValue]:
    data = b"".join(slots)
    answer = (ctypes.c_char * len(data)).from_buffer_copy(data)
    return list(decode_values(answer, len(slots)))


@pytest.mark.parametrize(
    ("letter", "value", "payload"),
    [
        ("i", struct.pack("=q", -5), -5),
        ("t", struct.pack("=q", 7), 7),
        ("d", struct.pack("=d", 0.5), 0.5),
        ("s", b"NVIDIA H100\0rubbish of an earlier answer", "NVIDIA H100"),
        ("s", b"\xff\xfe", "\ufffd\ufffd"),
        ("s", b"x" * 300, "x" * 256),
        ("s", b"", ""),
        ("b", b"\1\2\3", None),
    ],
)
def test_a_value_is_decoded_by_its_type(letter: str, value: bytes, payload: object) -> None:
    found = decoded(slot(1, 3, 150, letter, value, status=-14, ts=99))
    assert [RawValue(Entity(EntityKind.GPU, 3), 150, -14, 99, payload)] == found


def test_slots_that_the_engine_left_empty_are_skipped() -> None:
    empty = b"\0" * FIELD_VALUE_SIZE
    one = slot(1, 0, 150, "i", b"")
    of_an_unknown_kind = slot(77, 0, 150, "i", b"")
    without_a_field = slot(1, 0, 0, "i", b"")
    found = decoded(empty, of_an_unknown_kind, without_a_field, one)
    assert [(gpu(0), 150)] == [(value.entity, value.field_id) for value in found]


@given(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**62))
def test_any_integer_is_decoded_as_it_is(number: int, microseconds: int) -> None:
    (found,) = decoded(slot(4, 7, 150, "i", struct.pack("=q", number), ts=microseconds))
    assert (number, microseconds) == (found.payload, found.timestamp)


@given(st.text().filter(lambda text: "\0" not in text and len(text.encode(errors="replace")) < 256))
def test_any_text_is_decoded_as_it_is(text: str) -> None:
    encoded = text.encode(errors="replace")
    (found,) = decoded(slot(1, 0, 50, "s", encoded))
    assert encoded.decode() == found.payload


def test_timestamps_are_microseconds() -> None:
    assert NOW * MICROSECONDS == raw(gpu(0), 150, 1).timestamp
