"""Replace what tells one machine from another in a recording, the same everywhere by the same."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_UUID = re.compile(r"(?i)\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_BUS_ID = re.compile(r"(?i)\b([0-9a-f]{4,8}):[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\b")
# Members of structures that hold a serial number.
_SERIAL_MEMBERS = frozenset({"serial"})
# Serial numbers of boards, GPUs and chassis, and the GUID of a network card.
_SERIAL_FIELDS = frozenset({53, 571, 572})
# Numbers that are part of an address: of NvSwitches, of what their links lead to, of the host.
_ADDRESS_FIELDS = frozenset({575, *range(866, 870), *range(872, 876)})
# The command line of a process.
_PROCESS_NAME = 3

_FIELD, _TYPE, _STATUS, _VALUE = 2, 3, 4, 6


@dataclass(slots=True)
class Identifiers:
    """The substitutes given so far, numbered in the order in which identifiers were met."""

    host_name: str
    _given: dict[tuple[str, str], str] = field(default_factory=dict)

    def replaced(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return a recording without the identifiers of its machine."""
        return {name: self._part(name, part) for name, part in content.items()}

    def _part(self, name: str, part: Any) -> Any:
        if isinstance(part, dict):
            return {key: self._part(key, inner) for key, inner in part.items()}
        if name == "values":
            return [self._row(row) for row in part]
        if isinstance(part, list):
            return [self._part(name, inner) for inner in part]
        if isinstance(part, str):
            return self._serial(part) if name in _SERIAL_MEMBERS else self._text(part)
        return part

    def _row(self, row: list[Any]) -> list[Any]:
        """Return one value; sentinels and what has a status say nothing of the machine."""
        number, value = row[_FIELD], row[_VALUE]
        if row[_STATUS]:
            return row
        if number in _ADDRESS_FIELDS and row[_TYPE] == "i":
            return [*row[:_VALUE], 0] if value < 0x7FFFFFF0 else row
        if not isinstance(value, str):
            return row
        if number == _PROCESS_NAME and not _is_sentinel(value):
            return [*row[:_VALUE], "process"]
        return [*row[:_VALUE], (self._serial if number in _SERIAL_FIELDS else self._text)(value)]

    def _text(self, text: str) -> str:
        text = _UUID.sub(self._substitute("uuid", "00000000-0000-4000-8000-{:012d}"), text)
        text = _BUS_ID.sub(self._substitute("bus", "{domain}:{:02X}:00.0"), text)
        if not self.host_name:
            return text
        # A host may be called vm, which must not be found in NVML's name or in that of vm-data.
        return re.sub(rf"(?<![\w-]){re.escape(self.host_name)}(?![\w-])", "host", text)

    def _serial(self, text: str) -> str:
        if _is_sentinel(text):
            return text
        return self._given.setdefault(("serial", text), f"{self._count('serial'):013d}")

    def _substitute(self, kind: str, form: str) -> Callable[[re.Match[str]], str]:
        def substitute(found: re.Match[str]) -> str:
            domain = "0" * len(found[1]) if found.lastindex else ""
            own = form.format(self._count(kind), domain=domain)
            return self._given.setdefault((kind, found[0].lower()), own)

        return substitute

    def _count(self, kind: str) -> int:
        return sum(1 for given, _ in self._given if given == kind) + 1


def _is_sentinel(text: str) -> bool:
    return not text or text.startswith("<<<")
