"""Put a drop-in into its folder and take it out again, each by one rename.

A folder that we make appears with the drop-in in it, and goes with it, so that nobody ever
sees one that is empty. What is on its way lies in a folder beside, which every run sweeps.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.changing.files import write_synced
from do_dcgm_exporter.integration.host import DROP_IN_NAME, UNIT_DIRECTORY, Host
from do_dcgm_exporter.integration.looking.our_files import WITHDRAWN_NAME, folder_of, path_of

_OUR_NAMES = (DROP_IN_NAME, WITHDRAWN_NAME)
_SCRATCH = ".do-dcgm-exporter"


class CannotChange(ExporterError):
    """Raised when a file cannot be written, renamed or removed."""


def install(host: Host, unit: str, text: str) -> None:
    """Put a drop-in into the folder of a unit. Raises CannotChange, with nothing changed."""
    folder, scratch = host.path(folder_of(unit)), _scratch(host, unit)
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        raise CannotChange(f"{unit}: {folder_of(unit)} is not a folder, so it gets no drop-in")
    try:
        _empty(scratch, folder)
        scratch.mkdir()
        scratch.chmod(0o755)
        write_synced(scratch / DROP_IN_NAME, text)
        if folder.is_dir():
            (scratch / DROP_IN_NAME).replace(folder / DROP_IN_NAME)
            (folder / WITHDRAWN_NAME).unlink(missing_ok=True)
            scratch.rmdir()
        else:
            scratch.rename(folder)
    except OSError as error:
        _discard(scratch, folder)
        raise _cannot(unit, error) from error


def is_there(host: Host, unit: str, text: str) -> bool:
    """Whether a drop-in is as we know it."""
    return host.text(path_of(unit)).encode("utf-8", "surrogateescape") == text.encode(
        "utf-8", "surrogateescape"
    )


def withdraw(host: Host, unit: str, text: str) -> None:
    """Hide a drop-in from systemd, its record still there. Raises CannotChange."""
    folder = host.path(folder_of(unit))
    if (folder / DROP_IN_NAME).exists() and not is_there(host, unit, text):
        raise CannotChange(f"{unit}: {path_of(unit)} has just been edited: it is yours and stays")
    try:
        (folder / DROP_IN_NAME).replace(folder / WITHDRAWN_NAME)
    except FileNotFoundError:
        pass  # an earlier run has got as far
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise _cannot(unit, error) from error
        (folder / DROP_IN_NAME).unlink()  # which a full disk takes anyhow


def remove(host: Host, unit: str, *, with_folder: bool) -> None:
    """Remove a withdrawn drop-in, with its folder if that is empty then. Raises CannotChange."""
    folder, scratch = host.path(folder_of(unit)), _scratch(host, unit)
    try:
        goes = with_folder and folder.is_dir() and set(os.listdir(folder)) <= {WITHDRAWN_NAME}
        if goes and _is_renamed(folder, scratch):
            _empty(scratch, folder)
            return
        (folder / WITHDRAWN_NAME).unlink(missing_ok=True)
        if goes:
            folder.rmdir()
    except OSError as error:
        raise _cannot(unit, error) from error


def _is_renamed(folder: Path, scratch: Path) -> bool:
    try:
        folder.rename(scratch)
    except OSError:
        return False  # for want of space: it goes in two steps
    return True


def sweep(host: Host) -> None:
    """Remove what interrupted runs have left on its way."""
    for scratch in host.path(UNIT_DIRECTORY).glob(f".*.service.d{_SCRATCH}"):
        unit = scratch.name[1 : -len(f".d{_SCRATCH}")]
        try:
            _empty(scratch, host.path(folder_of(unit)))
        except OSError as error:
            raise _cannot(unit, error) from error


def _scratch(host: Host, unit: str) -> Path:
    return host.path(UNIT_DIRECTORY / f".{unit}.d{_SCRATCH}")


def _empty(scratch: Path, folder: Path) -> None:
    """Remove a scratch folder; what somebody has put there meanwhile goes back."""
    if not scratch.is_dir():
        return
    for name in _OUR_NAMES:
        (scratch / name).unlink(missing_ok=True)
    if not os.listdir(scratch):
        scratch.rmdir()
    elif not folder.exists():
        scratch.rename(folder)


def _discard(scratch: Path, folder: Path) -> None:
    try:
        _empty(scratch, folder)
    except OSError:
        pass  # the next run sweeps it


def _cannot(unit: str, error: OSError) -> CannotChange:
    where = f"{folder_of(unit)}: {error.strerror}"
    return CannotChange(f"{unit}: its drop-in cannot be changed: {where}")
