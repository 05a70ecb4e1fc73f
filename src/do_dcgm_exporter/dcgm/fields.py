"""The field table: id, every spelling, value type and entity level of each DCGM field.

The engine is always asked by id, because ids never changed while names did
(DCGM 4.6 renamed 324 fields) and NVIDIA's Python constants are incomplete.
``fields.csv`` beside this module is made from the headers of DCGM 3.3.9, 4.5.3
and 4.6.0, with the constants only the Python bindings have, the lower-case names
of the first exporters, and units where the meaning of the field gives one. Names and
ids of 4.6.1 and 4.7 are those of NVIDIA's go-dcgm for these releases.

One name has meant two fields: ``DCGM_FI_DEV_GPU_UTIL_RATIO`` was field 203, a percentage,
in 4.6, and is field 1613, a ratio, since 4.7. Here it is the ratio that it says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cache
from pathlib import Path

GPU_UTILIZATION_RATIO = 1613

_TABLE = Path(__file__).with_name("fields.csv")


class ValueType(Enum):
    """What kind of value a field has, as DCGM's own letter."""

    INTEGER = "i"
    DOUBLE = "d"
    STRING = "s"
    BLOB = "b"
    TIMESTAMP = "t"


class EntityLevel(Enum):
    """The most detailed entity a field has a value for."""

    NONE = "NONE"
    GPU = "GPU"
    GPU_I = "GPU_I"
    GPU_CI = "GPU_CI"
    VGPU = "VGPU"
    SWITCH = "SWITCH"
    LINK = "LINK"
    CPU = "CPU"
    CPU_CORE = "CPU_CORE"
    CONNECTX = "CONNECTX"

    @property
    def word(self) -> str:
        """What people call what has the value; a GPU has what its instances have as well."""
        return _WORDS.get(self, "GPU")


_WORDS = {
    EntityLevel.NONE: "host",
    EntityLevel.VGPU: "vGPU",
    EntityLevel.SWITCH: "NvSwitch",
    EntityLevel.LINK: "NvSwitch link",
    EntityLevel.CPU: "CPU",
    EntityLevel.CPU_CORE: "CPU core",
    EntityLevel.CONNECTX: "ConnectX adapter",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One DCGM field.

    ``names`` holds every accepted spelling. ``name`` is the first of them: that of
    DCGM 3.x where it has one, else the oldest known. ``unit`` is empty where the
    value has none or it is not known. A field that ``is_global`` has one value for
    the whole host; one that is ``internal_only`` cannot be read from outside.
    """

    id: int
    name: str
    names: tuple[str, ...]
    value_type: ValueType
    level: EntityLevel
    unit: str
    is_global: bool
    internal_only: bool

    @property
    def is_profiling(self) -> bool:
        """Whether the profiling counters of the GPU (or its GPM) provide it."""
        return self.name.startswith("DCGM_FI_PROF_")

    @property
    def is_mean(self) -> bool:
        """Whether a sample is the mean since an earlier one, as it is of NVLink's traffic too."""
        return self.is_profiling or (self.is_rate and "_NVLINK_" in self.name)

    @property
    def is_rate(self) -> bool:
        """Whether the value is per second, rather than a count that only grows."""
        return self.unit.endswith("/s")


def field_by_id(number: int) -> Field | None:
    """Return the field with this id."""
    return _by_id().get(number)


def field_by_name(text: str) -> Field | None:
    """Return the field of any spelling ever used, in any case, or of a numeric id."""
    found = _by_spelling().get(text.upper())
    # Ids have at most four digits; the bound keeps absurd numbers from int().
    if found is None and text.isascii() and text.isdigit() and len(text) <= 5:
        found = field_by_id(int(text))
    return found


@cache
def all_fields() -> tuple[Field, ...]:
    """Return every field, in the order of their ids."""
    _, *rows = _TABLE.read_text(encoding="ascii").splitlines()
    types = {member.value: member for member in ValueType}
    levels = {member.value: member for member in EntityLevel}
    fields = []
    for row in rows:
        number, spellings, letter, level, unit, is_global, internal_only = row.split(",")
        names = tuple(spellings.split())
        fields.append(
            Field(
                id=int(number),
                name=names[0],
                names=names,
                value_type=types[letter],
                level=levels[level],
                unit=unit,
                is_global=is_global == "1",
                internal_only=internal_only == "1",
            )
        )
    return tuple(fields)


@cache
def _by_id() -> dict[int, Field]:
    return {field.id: field for field in all_fields()}


@cache
def _by_spelling() -> dict[str, Field]:
    return {name.upper(): field for field in all_fields() for name in field.names}
