"""The links under /etc/systemd/system that start a unit or give it another name."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from do_dcgm_exporter.integration.host import UNIT_DIRECTORY, Host

Link = tuple[str, str]


def links_of(host: Host, unit: str) -> Iterator[Link]:
    """Yield path and target of every link that ``systemctl disable UNIT`` would remove.

    A link that is the unit's own file, or a mask, is none of them.
    """
    base = host.path(UNIT_DIRECTORY)
    pulling = [base.glob(f"*.{kind}/{unit}") for kind in ("wants", "requires", "upholds")]
    for link in sorted(path for found in pulling for path in found):
        if link.is_symlink():
            yield _link(host, link)
    for link in sorted(base.glob("*.service")):
        if link.is_symlink() and link.name != unit and Path(link.readlink()).name == unit:
            yield _link(host, link)


def remove(host: Host, links: Iterable[Link]) -> None:
    """Remove links; a directory that is empty then stays, as with systemctl."""
    for path, _ in links:
        host.path(path).unlink(missing_ok=True)


def put_back(host: Host, links: Iterable[Link]) -> None:
    """Make links as they were, where there is nothing now."""
    for path, target in links:
        place = host.path(path)
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)


def _link(host: Host, path: Path) -> Link:
    return "/" + str(path.relative_to(host.root)), str(path.readlink())
