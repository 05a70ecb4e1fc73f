"""What the engine answered for one field of one entity, and what it is worth.

A raw value becomes a number, a text, or a named reason for there being nothing.
Sentinels are those of dcgm_structs.h; that an NVML failure arrives as status 0
with a sentinel and a fresh timestamp was observed on DCGM 3.3.9, 4.2.3 and 4.5.3.
"""

from __future__ import annotations

import ctypes
import math
import struct
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import ReturnCode

# Size and value offset of dcgmFieldValue_v2, the same in every release from 3.1 to 4.6.
FIELD_VALUE_SIZE = 4128
FIELD_VALUE_OFFSET = 32

# version, entityGroupId, entityId, fieldId, fieldType, status, unused, ts, value.i64
_VALUE = struct.Struct("=IIIHhiIqq")
_DOUBLE = struct.Struct("=d")
_TEXT = struct.Struct("256s")

# fieldType holds the ASCII code of one of these (dcgm_fields.h, DCGM_FT_*).
_INTEGER_TYPES = (ord("i"), ord("t"))
_DOUBLE_TYPE, _STRING_TYPE = ord("d"), ord("s")

_KINDS = {int(kind): kind for kind in EntityKind}


class RawValue(NamedTuple):
    """One value as the engine gave it.

    ``payload`` is an int, float or str by the field's type, None for a blob.
    ``timestamp`` is in microseconds since 1970 by the engine's clock.
    """

    entity: Entity
    field_id: int
    status: int
    timestamp: int
    payload: int | float | str | None


class Absence(Enum):
    """Why there is no value; the text is the ``reason`` label of the exporter's count."""

    BLANK = "blank"
    NOT_FOUND = "not_found"
    NOT_SUPPORTED = "not_supported"
    NOT_PERMITTED = "not_permitted"
    NO_DATA = "no_data"
    NOT_WATCHED = "not_watched"
    UNKNOWN_FIELD = "unknown_field"
    MODULE_NOT_LOADED = "module_not_loaded"
    STALE = "stale"
    GPU_LOST = "gpu_lost"
    NOT_OFFERED = "profiling_not_offered"
    POISONED = "poisoned"
    NOT_A_NUMBER = "not_a_number"
    ENTITIES_ABSENT = "entities_absent"
    FUNCTION_ABSENT = "function_absent"
    DUPLICATE = "duplicate"
    ENGINE_ERROR = "engine_error"


Reading = int | float | str | Absence

_OK = int(ReturnCode.OK)
_BY_STATUS: dict[int, Absence] = {
    ReturnCode.NO_DATA: Absence.NO_DATA,
    ReturnCode.NOT_WATCHED: Absence.NOT_WATCHED,
    ReturnCode.UNKNOWN_FIELD: Absence.UNKNOWN_FIELD,
    ReturnCode.NOT_SUPPORTED: Absence.NOT_SUPPORTED,
    ReturnCode.NO_PERMISSION: Absence.NOT_PERMITTED,
    ReturnCode.GPU_IS_LOST: Absence.GPU_LOST,
    ReturnCode.STALE_DATA: Absence.STALE,
    ReturnCode.MODULE_NOT_LOADED: Absence.MODULE_NOT_LOADED,
}

# The order in which DCGM numbers its sentinels upwards from the blank one.
_SENTINEL_MEANINGS = (
    Absence.BLANK,
    Absence.NOT_FOUND,
    Absence.NOT_SUPPORTED,
    Absence.NOT_PERMITTED,
)
_INTEGER_SENTINELS = {
    first + step: meaning
    for first in (0x7FFFFFF0, 0x7FFFFFFFFFFFFFF0)
    for step, meaning in enumerate(_SENTINEL_MEANINGS)
}
_DOUBLE_BLANK = float(2**47)
_DOUBLE_SENTINELS = {
    _DOUBLE_BLANK + step: meaning for step, meaning in enumerate(_SENTINEL_MEANINGS)
}
_TEXT_SENTINELS = {
    "<<<NULL>>>": Absence.BLANK,
    "<<<NOT_FOUND>>>": Absence.NOT_FOUND,
    "<<<NOT_SUPPORTED>>>": Absence.NOT_SUPPORTED,
    "<<<NOT_PERM>>>": Absence.NOT_PERMITTED,
}


def decode_values(answer: ctypes.Array[Any], count: int) -> Iterator[RawValue]:
    """Yield the ``count`` values of a ctypes array of ``c_dcgmFieldValue_v2``.

    The buffer is read directly: walking the structures attribute by attribute costs
    several times as much, and NVIDIA's classes decode text strictly on every access.
    """
    for offset in range(0, count * FIELD_VALUE_SIZE, FIELD_VALUE_SIZE):
        _, kind, entity_id, field_id, field_type, status, _, timestamp, integer = (
            _VALUE.unpack_from(answer, offset)
        )
        entity = _entity(kind, entity_id)
        if entity is None or field_id == 0:
            continue  # a slot the engine left empty
        payload = (
            integer
            if field_type in _INTEGER_TYPES
            else _other_payload(answer, offset + FIELD_VALUE_OFFSET, field_type)
        )
        yield RawValue(entity, field_id, status, timestamp, payload)


@lru_cache(maxsize=4096)
def _entity(kind: int, entity_id: int) -> Entity | None:
    """Return the entity, None if its kind is never asked for; cached for its many fields."""
    return Entity(_KINDS[kind], entity_id) if kind in _KINDS else None


def _other_payload(answer: ctypes.Array[Any], offset: int, field_type: int) -> float | str | None:
    if field_type == _DOUBLE_TYPE:
        double: float = _DOUBLE.unpack_from(answer, offset)[0]
        return double
    if field_type == _STRING_TYPE:
        text: bytes = _TEXT.unpack_from(answer, offset)[0]
        return text.split(b"\0", 1)[0].decode("utf-8", "replace")
    return None


def absence_of(status: int) -> Absence | None:
    """Return why one field of one entity has no value, None if the status is about more."""
    return _BY_STATUS.get(status)


def read_value(raw: RawValue) -> Reading:
    """Return the payload of ``raw``, or why there is no value. Its age is not judged."""
    if raw.status != _OK:
        return _BY_STATUS.get(raw.status, Absence.ENGINE_ERROR)
    sentinel = _sentinel(raw.payload)
    if sentinel is not None:
        return sentinel
    assert raw.payload is not None, "_sentinel names a blob's reason"
    return raw.payload


def _sentinel(payload: int | float | str | None) -> Absence | None:
    if isinstance(payload, int):
        return _INTEGER_SENTINELS.get(payload)
    if isinstance(payload, float):
        if -_DOUBLE_BLANK < payload < _DOUBLE_BLANK:
            return None
        return _double_sentinel(payload)
    if isinstance(payload, str):
        return _text_sentinel(payload)
    return Absence.NOT_A_NUMBER


def _double_sentinel(payload: float) -> Absence | None:
    if math.isnan(payload) or math.isinf(payload):
        return Absence.NOT_A_NUMBER
    if payload >= _DOUBLE_BLANK:
        # Sums and averages of sentinels land above the four exact ones.
        return _DOUBLE_SENTINELS.get(payload, Absence.BLANK)
    return None


def _text_sentinel(payload: str) -> Absence | None:
    if not payload:
        return Absence.BLANK
    if payload.startswith("<<<") and payload.endswith(">>>"):
        return _TEXT_SENTINELS.get(payload, Absence.BLANK)
    return None
