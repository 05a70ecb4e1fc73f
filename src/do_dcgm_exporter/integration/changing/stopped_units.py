"""Disable a unit as ``systemctl disable`` does, and remember how it was."""

from __future__ import annotations

import os
from collections.abc import Iterable

from do_dcgm_exporter.integration.changing.drop_in_files import CannotChange
from do_dcgm_exporter.integration.changing.files import write_file
from do_dcgm_exporter.integration.deciding.record import Link, StoppedUnit, as_text
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.our_files import STOPPED


def disable(host: Host, unit: str, stopped: StoppedUnit) -> None:
    """Write the record, then remove the links. Raises CannotChange."""
    remember(host, unit, stopped)
    try:
        for path, _ in stopped.links:
            host.path(path).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot(unit, "disabled", error) from error


def remember(host: Host, unit: str, stopped: StoppedUnit) -> None:
    """Write the record. Raises CannotChange."""
    try:
        write_file(host.path(STOPPED / unit), as_text(stopped))
    except OSError as error:
        raise _cannot(unit, "remembered", error) from error


def enable(host: Host, unit: str, stopped: StoppedUnit) -> None:
    """Make the links as they were, where there is nothing now. Raises CannotChange."""
    try:
        if _leads_somewhere(host, stopped.links):
            for path, target in stopped.links:
                place = host.path(path)
                if not os.path.lexists(place):
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.symlink_to(target)
    except OSError as error:
        raise _cannot(unit, "enabled", error) from error


def forget(host: Host, unit: str) -> None:
    """Remove the record. Raises CannotChange."""
    try:
        host.path(STOPPED / unit).unlink(missing_ok=True)
    except OSError as error:
        raise _cannot(unit, "forgotten", error) from error


def _leads_somewhere(host: Host, links: Iterable[Link]) -> bool:
    """Whether the unit's file is there; links to one that was removed stay removed."""
    targets = (os.path.join(os.path.dirname(path), target) for path, target in links)
    return any(host.path(os.path.normpath(target)).exists() for target in targets)


def _cannot(unit: str, what: str, error: OSError) -> CannotChange:
    return CannotChange(f"{unit}: cannot be {what}: {error.filename}: {error.strerror}")
