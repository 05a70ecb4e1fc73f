"""What we have left on this machine: drop-ins of units, and the small files beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from do_dcgm_exporter.integration.host import (
    DROP_IN_NAME,
    STATE_DIRECTORY,
    UNIT_DIRECTORY,
    Host,
    read_bytes,
)

# The name of a drop-in while it is being undone; systemd reads none of this name.
WITHDRAWN_NAME = DROP_IN_NAME + ".withdrawn"
STOPPED = STATE_DIRECTORY / "stopped"
REFUSED = STATE_DIRECTORY / "refused"
# Everything that version 0.1.0 remembered.
OLD_STATE = STATE_DIRECTORY / "integration.json"
_LARGEST = 1 << 20


class Kind(Enum):
    """What is in the place of a drop-in."""

    FILE = "a file"
    FORBIDDEN = "a link to /dev/null"
    OTHER = "neither"


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a drop-in, and the text of what is there."""

    kind: Kind
    text: str = ""


@dataclass(frozen=True, slots=True)
class OurFiles:
    """What is on the disk, by unit; ``folders`` are units that have a folder of drop-ins."""

    drop_ins: Mapping[str, Place] = field(default_factory=dict)
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    stopped: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    old_state: str | None = None


def folder_of(unit: str) -> Path:
    """Return the folder of a unit's drop-ins."""
    return UNIT_DIRECTORY / f"{unit}.d"


def path_of(unit: str) -> str:
    """Return where the drop-in of a unit is."""
    return str(folder_of(unit) / DROP_IN_NAME)


def look_at_our_files(host: Host) -> OurFiles:
    """Read all of them."""
    old_state = host.path(OLD_STATE)
    folders = {
        folder.name[: -len(".d")]: folder
        for folder in sorted(host.path(UNIT_DIRECTORY).glob("*.service.d"))
        if not folder.name.startswith(".")
    }
    return OurFiles(
        {unit: _place(path) for unit, path in _having(folders, DROP_IN_NAME)},
        {unit: _text(path) for unit, path in _having(folders, WITHDRAWN_NAME)},
        _texts(host.path(STOPPED)),
        _texts(host.path(REFUSED)),
        frozenset(folders),
        _text(old_state) if os.path.lexists(old_state) else None,
    )


def _having(folders: Mapping[str, Path], name: str) -> list[tuple[str, Path]]:
    paths = ((unit, folder / name) for unit, folder in folders.items())
    return [(unit, path) for unit, path in paths if os.path.lexists(path)]


def _place(path: Path) -> Place:
    if path.is_symlink():
        forbidden = str(path.readlink()) == "/dev/null"
        return Place(Kind.FORBIDDEN if forbidden else Kind.OTHER)
    return Place(Kind.FILE, _text(path)) if path.is_file() else Place(Kind.OTHER)


def _texts(directory: Path) -> dict[str, str]:
    if not directory.is_dir():
        return {}
    return {path.name: _text(path) for path in sorted(directory.glob("*.service"))}


def _text(path: Path) -> str:
    return read_bytes(str(path), _LARGEST).decode("utf-8", "surrogateescape")
