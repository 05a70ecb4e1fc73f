"""What is written to the disk: each file as before or complete, whenever the power fails.

A drop-in gets into its folder by one rename, and out of it by another. On its way it lies
beside, where every run sweeps; its record says whether the folder, if it is empty, is ours.
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
    """Write a file and its directory, and return once both would survive a power failure."""
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
            folder.chmod(0o755)  # whatever the umask
        scratch.replace(folder / DROP_IN_NAME)
        (folder / our_files.WITHDRAWN_NAME).unlink(missing_ok=True)
    finally:
        _clear(scratch)


def is_there(host: Host, unit: str, text: str) -> bool:
    """Return whether a drop-in is as we know it."""
    return our_files.text_at(host.path(our_files.path_of(unit))) == text


def withdraw(host: Host, unit: str, text: str) -> None:
    """Hide a drop-in from systemd, its record still there. Raises CannotChange or OSError."""
    place = host.path(our_files.path_of(unit))
    if not os.path.lexists(place):
        return  # an earlier run has got as far
    if not is_there(host, unit, text):
        raise CannotChange(
            f"{unit}: {our_files.path_of(unit)} has just been edited: it is yours and stays"
        )
    try:
        place.replace(place.with_name(our_files.WITHDRAWN_NAME))
    except OSError:
        place.unlink()  # which a full disk takes anyhow


def remove(host: Host, unit: str, with_folder: bool) -> None:
    """Remove a withdrawn drop-in, with its folder if that is empty then. Raises OSError."""
    folder, scratch = host.path(our_files.folder_of(unit)), _scratch(host, unit)
    withdrawn = folder / our_files.WITHDRAWN_NAME
    try:
        withdrawn.replace(scratch)  # the record, until the folder is gone
    except OSError:  # for want of space, or it is gone
        withdrawn.unlink(missing_ok=True)
    if with_folder:
        _remove_if_empty(folder)
    scratch.unlink(missing_ok=True)


def sweep(host: Host) -> None:
    """Remove what interrupted runs have left on its way. Raises OSError."""
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


# Units that are stopped, and units that would not be clients


def disable(host: Host, unit: str, stopped: StoppedUnit) -> None:
    """Write down how a unit is, then remove its links. Raises OSError."""
    write_file(host.path(our_files.STOPPED / unit), text_of(stopped))
    for path, _ in stopped.links:
        host.path(path).unlink(missing_ok=True)


def enable(host: Host, unit: str, stopped: StoppedUnit) -> None:
    """Make links as they were, where nothing is now. Raises OSError.

    Those to a unit that was removed stay removed.
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
    """Write down that a unit would not be a client, if the disk takes it."""
    with suppress(OSError):  # it costs the unit one more attempt
        write_file(host.path(our_files.REFUSED / unit), f"{tried}\n{reason}")


def forget_refusals(host: Host) -> None:
    """Have all units that would not be clients tried again. Raises OSError."""
    with suppress(FileNotFoundError):
        shutil.rmtree(host.path(our_files.REFUSED))


def forget(host: Host, unit: str) -> None:
    """Remove what was written down of a unit. Raises OSError."""
    host.path(our_files.STOPPED / unit).unlink(missing_ok=True)
    host.path(our_files.REFUSED / unit).unlink(missing_ok=True)
