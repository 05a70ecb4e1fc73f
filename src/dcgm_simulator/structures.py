"""The C structures of the bindings (dcgm_structs.h), made from data/structures.json.

Like those of NVIDIA's bindings, they return text fields as `str`, and raise
UnicodeDecodeError for bytes that are not UTF-8.
"""

from __future__ import annotations

import ctypes
from typing import Any

from dcgm_simulator.fields import load
from dcgm_simulator.versions import ALL_VERSIONS, history_at


class Converting:
    """Turns bytes into text on reading, text into bytes on writing."""

    def __getattribute__(self, key: str) -> Any:
        """Return a field, decoded if it is text."""
        value = super().__getattribute__(key)
        return value.decode("utf-8") if isinstance(value, bytes) else value

    def __setattr__(self, key: str, value: Any) -> None:
        """Set a field, encoding text."""
        super().__setattr__(key, value.encode("utf-8") if isinstance(value, str) else value)


class DcgmStructure(Converting, ctypes.Structure):
    """Base of all structures (_DcgmStructure in the bindings)."""


class DcgmUnion(Converting, ctypes.Union):
    """Base of all unions."""


class PrintableStructure(DcgmStructure):
    """A structure that prints its fields (_PrintableStructure in the bindings)."""

    def __str__(self) -> str:
        """Return the name and all fields."""
        shown = ", ".join(f"{name}: {getattr(self, name)}" for name, *_ in self._fields_)
        return f"{type(self).__name__}({shown})"


class EntityPair(PrintableStructure):
    """The only structure that can be compared."""

    def __eq__(self, other: Any) -> bool:
        """Return whether both are the same entity."""
        return bool(self.entityGroupId == other.entityGroupId and self.entityId == other.entityId)

    __hash__ = None  # type: ignore[assignment]


BASES: dict[str, type[Any]] = {
    "_SummaryValue": DcgmUnion,
    "c_dcgmFieldValue_v1_value": DcgmUnion,
    "c_dcgmGroupEntityPair_t": EntityPair,
}
"""Structures that are not based on PrintableStructure."""


def structures(version: str) -> dict[str, Any]:
    """Return the structures and their bases in dcgm_structs of a version, by name."""
    made: dict[str, Any] = {
        "_DcgmStructure": DcgmStructure,
        "_PrintableStructure": PrintableStructure,
        "DcgmUnion": DcgmUnion,
    }
    for name, history in load("structures.json").items():
        members: Any = history_at(history, ALL_VERSIONS.index(version))
        if members is not None:
            fields = [(member, _type(text, made)) for member, text in members.items()]
            contents = {"_fields_": fields, "__module__": "dcgm_structs"}
            made[name] = type(name, (BASES.get(name, PrintableStructure),), contents)
    return made


def _type(text: str, structures: dict[str, Any]) -> Any:
    """Return the type meant by text like uint32, char[256] or c_dcgmClockSet_v1[256]."""
    name, bracket, count = text.rstrip("]").partition("[")
    element = structures.get(name) or getattr(ctypes, f"c_{name}")
    return element * int(count) if bracket else element
