"""What the oldest supported systemd does not understand: 249, of Ubuntu 22.04.

The tests cannot boot Ubuntu, so they use a list of that release's directives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

_KNOWN = json.loads(
    (Path(__file__).parent / "data" / "systemd-249.json").read_text(encoding="utf-8")
)
_BOOLEANS = {"yes", "no", "true", "false", "on", "off", "1", "0"}


def not_understood(unit: str) -> list[str]:
    """Return the lines of a unit that systemd 249 warns about or interprets differently."""
    return [
        f"[{section}] {name}={value}"
        for section, name, value in settings_in(unit)
        if not _is_understood(section, name, value)
    ]


def settings_in(unit: str) -> Iterator[tuple[str, str, str]]:
    """Yield section, name and value of each line of a unit's text."""
    section = ""
    for line in unit.replace("\\\n", " ").splitlines():
        if line.startswith("["):
            section = line.strip("[]")
        elif line and not line.startswith(("#", ";")):
            name, _, value = line.partition("=")
            yield section, name.strip(), value.strip()


def _is_understood(section: str, name: str, value: str) -> bool:
    if name not in _KNOWN["directives"].get(section, ()):
        return False
    if name in _KNOWN["booleans"]:
        return value in _BOOLEANS
    if name == "SystemCallFilter":
        sets = {word for word in value.lstrip("~").split() if word.startswith("@")}
        return sets <= set(_KNOWN["system_call_sets"])
    return name not in _KNOWN["values"] or value in _KNOWN["values"][name]
