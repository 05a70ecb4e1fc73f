"""Numbers DCGM gives to statuses, entities and blanks (dcgm_structs.h, dcgm_fields.h)."""

from __future__ import annotations

from enum import IntEnum


class Status(IntEnum):
    """Return codes, DCGM_ST_*."""

    OK = 0
    BADPARAM = -1
    GENERIC_ERROR = -3
    NOT_SUPPORTED = -6
    UNINITIALIZED = -10
    TIMEOUT = -11
    VER_MISMATCH = -12
    UNKNOWN_FIELD = -13
    NO_DATA = -14
    NOT_WATCHED = -16
    NO_PERMISSION = -17
    GPU_IS_LOST = -18
    FUNCTION_NOT_FOUND = -20
    CONNECTION_NOT_VALID = -21
    GPU_NOT_SUPPORTED = -22
    MAX_LIMIT = -24
    DUPLICATE_KEY = -26
    NOT_CONFIGURED = -5
    REQUIRES_ROOT = -29
    INSUFFICIENT_SIZE = -31
    FIELD_UNSUPPORTED_BY_API = -32
    MODULE_NOT_LOADED = -33
    PROFILING_NOT_SUPPORTED = -36
    NVML_NOT_LOADED = -56


class EntityGroup(IntEnum):
    """Kinds of entities, DCGM_FE_*."""

    NONE = 0
    GPU = 1
    VGPU = 2
    SWITCH = 3
    GPU_I = 4
    GPU_CI = 5
    LINK = 6
    CPU = 7
    CPU_CORE = 8
    CONNECTX = 9


class Sentinel(IntEnum):
    """Sentinels that say why there is no value, by their distance from blank."""

    BLANK = 0
    NOT_FOUND = 1
    NOT_SUPPORTED = 2
    NO_PERMISSION = 3


INT64_BLANK = 0x7FFFFFFFFFFFFFF0
FP64_BLANK = 2.0**47
STRINGS = {
    Sentinel.BLANK: "<<<NULL>>>",
    Sentinel.NOT_FOUND: "<<<NOT_FOUND>>>",
    Sentinel.NOT_SUPPORTED: "<<<NOT_SUPPORTED>>>",
    Sentinel.NO_PERMISSION: "<<<NOT_PERM>>>",
}

Value = int | float | str


class StatusError(Exception):
    """Raised if a whole call fails; carries the status that the caller gets."""

    def __init__(self, status: int) -> None:
        super().__init__(f"DCGM status {status}")
        self.status = status


def sentinel(kind: str, which: Sentinel = Sentinel.BLANK) -> Value:
    """Return the blank of a field type ('i', 'd', 's', 'b', 't'), or its neighbour."""
    if kind == "d":
        return FP64_BLANK + which
    return STRINGS[which] if kind in "sb" else INT64_BLANK + which


def is_sentinel(value: Value) -> bool:
    """Return whether a value is a sentinel."""
    if isinstance(value, str):
        return value.startswith("<<<") and ">>>" in value
    return value >= (FP64_BLANK if isinstance(value, float) else INT64_BLANK)
