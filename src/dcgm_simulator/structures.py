"""What all structures of the bindings have in common.

They read their text fields as `str`, as those of NVIDIA's bindings do, and so raise
UnicodeDecodeError for bytes that are none.
"""

from __future__ import annotations

import ctypes
from typing import Any


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
