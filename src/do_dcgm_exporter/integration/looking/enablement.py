"""The links under /etc/systemd/system that start a unit or give it another name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from do_dcgm_exporter.integration.host import UNIT_DIRECTORY, Host

Link = tuple[str, str]

# Directories of units that another one pulls in: systemd.unit(5).
_PULLING = frozenset({".wants", ".requires", ".upholds"})


def links_of(host: Host, unit: str) -> Iterator[Link]:
    """Yield path and target of every link that ``systemctl disable UNIT`` would remove.

    A link that is the unit's own file, or a mask, is none of them.
    """
    base = host.path(UNIT_DIRECTORY)
    entries = sorted(base.iterdir()) if base.is_dir() else []
    for entry in entries:
        if entry.suffix in _PULLING and (entry / unit).is_symlink():
            yield _link(host, entry / unit)
        is_alias = entry.is_symlink() and entry.name.endswith(".service") and entry.name != unit
        if is_alias and Path(entry.readlink()).name == unit:
            yield _link(host, entry)


def _link(host: Host, path: Path) -> Link:
    return "/" + str(path.relative_to(host.root)), str(path.readlink())
