"""Write files so that each is unchanged or complete, even if the power fails.

One rename moves a drop-in into its folder, another moves it out. On the way it lies beside the
folder, where every run cleans up; its record says whether we created the folder.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from do_dcgm_exporter import durable_files
from do_dcgm_exporter.integration.changing.running import CannotChange
from do_dcgm_exporter.integration.deciding.records import DropIn, StoppedUnit, drop_in, text_of
from do_dcgm_exporter.integration.host import DROP_IN_NAME, UNIT_DIRECTORY, Host
from do_dcgm_exporter.integration.looking import our_files

_SCRATCH = ".do-dcgm-exporter"


def write_file(path: Path, text: str) -> None:
    """Write a file, and return once it and its directory entry would survive a power failure."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    durable_files.replace(path, text.encode("utf-8", "surrogateescape"))


# Drop-ins


def install(host: Host, unit: str, text: str) -> None:
    """Put a drop-in into its folder. Raises CannotChange or OSError, with nothing changed."""
    folder, scratch = host.path(our_files.folder_of(unit)), _scratch(host, unit)
    if os.path.lexists(folder) and (folder.is_symlink() or not folder.is_dir()):
        raise CannotChange(
            f"{unit}: {our_files.folder_of(unit)} is not a folder, so it gets no drop-in"
        )
    try:
        durable_files.write(scratch, text.encode("utf-8", "surrogateescape"))
        if not folder.is_dir():
            folder.mkdir()
            folder.chmod(0o755)  # regardless of the umask
        scratch.replace(folder / DROP_IN_NAME)
        (folder / our_files.WITHDRAWN_NAME).unlink(missing_ok=True)
    finally:
        _clear(scratch)


def is_there(host: Host, unit: str, text: str) -> bool:
    """Return whether a drop-in is still as we have read it."""
    return our_files.text_at(host.path(our_files.path_of(unit))) == text


def withdraw(host: Host, unit: str, text: str) -> None:
    """Hide a drop-in from systemd, but keep its record. Raises CannotChange or OSError."""
    place = host.path(our_files.path_of(unit))
    if not os.path.lexists(place):
        return  # an earlier run got this far
    if not is_there(host, unit, text):
        raise CannotChange(
            f"{unit}: {our_files.path_of(unit)} has just been edited: it is yours and stays"
        )
    try:
        place.replace(place.with_name(our_files.WITHDRAWN_NAME))
    except OSError:
        place.unlink()  # which needs no space on the disk


def remove(host: Host, unit: str, with_folder: bool) -> None:
    """Remove a withdrawn drop-in, and its folder if that is then empty. Raises OSError."""
    folder, scratch = host.path(our_files.folder_of(unit)), _scratch(host, unit)
    withdrawn = folder / our_files.WITHDRAWN_NAME
    try:
        withdrawn.replace(scratch)  # keeps the record until the folder is gone
    except OSError:  # the disk is full, or the file is gone
        withdrawn.unlink(missing_ok=True)
    if with_folder:
        _remove_if_empty(folder)
    scratch.unlink(missing_ok=True)


def sweep(host: Host) -> None:
    """Remove what interrupted runs have left behind. Raises OSError."""
    for scratch in host.path(UNIT_DIRECTORY).glob(f".*{_SCRATCH}"):
        _clear(scratch)
    for unfinished in host.path(our_files.STOPPED).glob("*.new"):
        unfinished.unlink()


def _scratch(host: Host, unit: str) -> Path:
    return host.path(UNIT_DIRECTORY / f".{unit}.d{_SCRATCH}")


def _clear(scratch: Path) -> None:
    folder = scratch.with_name(scratch.name[1 : -len(_SCRATCH)])
    found = drop_in(folder.name.removesuffix(".d"), our_files.text_at(scratch))
    if isinstance(found, DropIn) and found.record.made_folder:
        _remove_if_empty(folder)
    scratch.unlink(missing_ok=True)


def _remove_if_empty(folder: Path) -> None:
    if folder.is_dir() and not os.listdir(folder):
        folder.rmdir()


# Units that were stopped, and units that refused to be clients


def disable(host: Host, unit: str, stopped: StoppedUnit) -> None:
    """Record the state of a unit, then remove its links. Raises OSError."""
    write_file(host.path(our_files.STOPPED / unit), text_of(stopped))
    for path, _ in stopped.links:
        host.path(path).unlink(missing_ok=True)


def enable(host: Host, unit: str, stopped: StoppedUnit) -> None:
    """Restore links where there is nothing now. Raises OSError.

    Links to a unit that has been removed stay removed.
    """
    targets = (os.path.join(os.path.dirname(path), target) for path, target in stopped.links)
    if not any(host.path(os.path.normpath(target)).exists() for target in targets):
        return
    for path, target in stopped.links:
        place = host.path(path)
        if not os.path.lexists(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(target)


def remember_refusal(host: Host, unit: str, tried: str, reason: str) -> None:
    """Record that a unit refused to be a client, unless the disk is full."""
    with suppress(OSError):  # all this costs is another attempt
        write_file(host.path(our_files.REFUSED / unit), f"{tried}\n{reason}")


def forget_refusals(host: Host) -> None:
    """Forget which units refused to be clients, so that they are tried again. Raises OSError."""
    with suppress(FileNotFoundError):
        shutil.rmtree(host.path(our_files.REFUSED))


def forget(host: Host, unit: str) -> None:
    """Remove all records of a unit. Raises OSError."""
    host.path(our_files.STOPPED / unit).unlink(missing_ok=True)
    host.path(our_files.REFUSED / unit).unlink(missing_ok=True)
