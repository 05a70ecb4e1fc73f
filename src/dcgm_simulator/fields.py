"""The field table of each version: what engine and bindings know about each field."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgm_simulator.codes import EntityGroup
from dcgm_simulator.versions import ALL_VERSIONS, history_at

DATA = Path(__file__).resolve().parent / "data"

FIRST_PROFILING_FIELD = 1001
LAST_PROFILING_FIELD = 1099
XID = 230
EVENT_FIELDS = frozenset({XID})
"""Fields whose samples are events, never polled (DcgmCacheManager.cpp)."""
SXID_FIELDS = frozenset({782, 783, 856, 857})
"""Fields whose samples are stamped with the time of the last event (DcgmNscqManager.cpp)."""
INFOROM_FIELDS = frozenset({83, 84})
INFOROM_INTERVAL = 30_000_000
"""The shortest interval of these two, in µs (observed on all versions)."""


@dataclass(frozen=True)
class Field:
    """One field as one version defines it."""

    id: int
    name: str
    type: str
    """'i' int64, 'd' double, 's' string, 'b' binary."""
    scope: int
    """0 for the whole machine, 1 per entity."""
    level: EntityGroup
    tag: str
    short_name: str
    unit: str

    @property
    def is_global(self) -> bool:
        """Return whether every entity has the same value."""
        return self.scope == 0

    @property
    def is_profiling(self) -> bool:
        """Return whether the profiling module, or GPM, supplies the value."""
        per_link = self.id in (1532, 1533)
        return per_link or FIRST_PROFILING_FIELD <= self.id <= LAST_PROFILING_FIELD

    def interval(self, wanted: int) -> int:
        """Return the interval in µs at which the engine samples if asked for `wanted`."""
        return max(wanted, INFOROM_INTERVAL) if self.id in INFOROM_FIELDS else wanted


@functools.cache
def load(name: str) -> dict[str, Any]:
    """Return a data file of the simulator."""
    content: dict[str, Any] = json.loads((DATA / name).read_text(encoding="utf-8"))
    return content


@functools.cache
def field_table(version: str) -> dict[int, Field]:
    """Return the fields a version knows, by id."""
    index = ALL_VERSIONS.index(version)
    rows = ((int(key), history_at(rows, index)) for key, rows in load("fields.json").items())
    return {field: _field(field, row) for field, row in rows if row is not None}


def _field(field: int, row: Any) -> Field:
    name, kind, scope, level, tag, short_name, unit = row
    return Field(field, name, kind, scope, EntityGroup(level), tag, short_name, unit)


@functools.cache
def field_ids_by_name() -> dict[str, int]:
    """Return the id for each name that any version has given a field, in upper case."""
    return {
        row[0].upper(): int(key)
        for key, rows in load("fields.json").items()
        for _, row in rows
        if row
    }


@functools.cache
def base_units() -> dict[int, tuple[int, int, int]]:
    """Return, for each field of 4.7, the older one of the quantity, and the factor between them."""
    found = load("base-units.json").items()
    return {int(key): (older, times, divided_by) for key, (older, times, divided_by) in found}


def parse_field(text: str) -> int:
    """Return the id of a field given as a number or by any of its names.

    Raises ValueError for neither.
    """
    if text.isdigit():
        return int(text)
    try:
        return field_ids_by_name()[text.upper()]
    except KeyError:
        message = f"no DCGM version has a field {text!r}"
        raise ValueError(message) from None
