"""The files we keep on this machine: drop-ins of units, and a few small records."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from do_dcgm_exporter.integration.host import DROP_IN_NAME, UNIT_DIRECTORY, Host, read_bytes

# The name of a drop-in while it is being undone; systemd ignores it.
WITHDRAWN_NAME = DROP_IN_NAME + ".withdrawn"
_STATE = Path("/var/lib/do-dcgm-exporter")
STOPPED, REFUSED = _STATE / "stopped", _STATE / "refused"
# All records of version 0.1.0.
OLD_STATE = _STATE / "integration.json"
Link = tuple[str, str]
# Directories of links to the units that another one pulls in: systemd.unit(5).
_PULLING = frozenset({".wants", ".requires", ".upholds"})
_LARGEST = 1 << 20


@dataclass(frozen=True, slots=True)
class OurFiles:
    """The texts of the files, by unit; ``-> TARGET`` for a link, empty for anything else.

    ``folders`` are units with a folder of drop-ins.
    """

    drop_ins: Mapping[str, str] = field(default_factory=dict)
    withdrawn: Mapping[str, str] = field(default_factory=dict)
    stopped: Mapping[str, str] = field(default_factory=dict)
    refused: Mapping[str, str] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    old_state: str | None = None


def folder_of(unit: str) -> Path:
    """Return the folder of a unit's drop-ins."""
    return UNIT_DIRECTORY / f"{unit}.d"


def path_of(unit: str) -> str:
    """Return the path of a unit's drop-in."""
    return str(folder_of(unit) / DROP_IN_NAME)


def look_at_our_files(host: Host) -> OurFiles:
    """Read all our files."""
    folders = [
        folder
        for folder in sorted(host.path(UNIT_DIRECTORY).glob("*.service.d"))
        if not folder.name.startswith(".")
    ]
    return OurFiles(
        {path.parent.name[:-2]: text_at(path) for path in _there(folders, DROP_IN_NAME)},
        {path.parent.name[:-2]: text_at(path) for path in _there(folders, WITHDRAWN_NAME)},
        {path.name: text_at(path) for path in host.path(STOPPED).glob("*.service")},
        {path.name: text_at(path) for path in host.path(REFUSED).glob("*.service")},
        frozenset(folder.name[:-2] for folder in folders),
        text_at(host.path(OLD_STATE)) if os.path.lexists(host.path(OLD_STATE)) else None,
    )


def _there(folders: list[Path], name: str) -> list[Path]:
    return [folder / name for folder in folders if os.path.lexists(folder / name)]


def text_at(path: Path) -> str:
    """Return the text of a file, or ``-> TARGET`` for a link."""
    if path.is_symlink():
        return f"-> {path.readlink()}"
    return read_bytes(str(path), _LARGEST).decode("utf-8", "surrogateescape")


def links_of(host: Host, unit: str) -> Iterator[Link]:
    """Yield path and target of every link that ``systemctl disable UNIT`` would remove.

    Links that are the unit's own file, or mask it, are left out.
    """
    base = host.path(UNIT_DIRECTORY)
    for entry in sorted(base.iterdir()) if base.is_dir() else ():
        alias = entry.is_symlink() and entry.name.endswith(".service") and entry.name != unit
        pulls = entry.suffix in _PULLING and (entry / unit).is_symlink()
        if pulls or (alias and Path(entry.readlink()).name == unit):
            link = entry / unit if pulls else entry
            yield "/" + str(link.relative_to(host.root)), str(link.readlink())
