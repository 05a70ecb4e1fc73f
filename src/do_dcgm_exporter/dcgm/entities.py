"""Define entities, which are what a DCGM value belongs to."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple


class EntityKind(IntEnum):
    """An entity group, numbered as in dcgm_fields.h (``dcgm_field_entity_group_t``)."""

    NONE = 0
    GPU = 1
    SWITCH = 3
    GPU_INSTANCE = 4
    COMPUTE_INSTANCE = 5
    LINK = 6
    CPU = 7
    CPU_CORE = 8
    CONNECTX = 9

    # Enum's own hash is written in Python, and every lookup of a value would call it.
    __hash__ = int.__hash__


class Entity(NamedTuple):
    """One entity. Sorts by kind, then by DCGM's id."""

    kind: EntityKind
    id: int


HOST = Entity(EntityKind.NONE, 0)
"""What a value of the whole machine belongs to."""
