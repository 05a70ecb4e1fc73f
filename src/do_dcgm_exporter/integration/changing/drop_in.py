"""The drop-in that makes an exporter a client: its text, and whose the one on the disk is."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from do_dcgm_exporter.integration.changing.files import remove_file, remove_unfinished, write_file
from do_dcgm_exporter.integration.deciding.exporter_command import ExporterCommand, Form
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import (
    COMMAND,
    DROP_IN_NAME,
    ENGINE_SERVICE,
    UNIT_DIRECTORY,
    Host,
)
from do_dcgm_exporter.integration.looking.quoting import command_line, quoted
from do_dcgm_exporter.integration.looking.systemd import ExecCommand, UnitView

_SEAL = re.compile(r"^# sha256 of all other lines: ([0-9a-f]{64})\n", re.MULTILINE)

_PREFIX_OF_FLAG = {
    "ignore-failure": "-",
    "no-env-expand": ":",
    "privileged": "+",
    "no-setuid": "!",
    "ambient": "!!",
}


class Owner(Enum):
    """Whose the drop-in on the disk is."""

    NOBODY = "absent"
    OURS = "ours"
    ADMIN = "edited"
    DELETED = "deleted"
    FORBIDDEN = "forbidden"


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A file of ours: where, what hash it had, whether its directory was made for it."""

    path: str
    sha256: str
    made_directory: bool = False


def path_of(unit: str) -> str:
    """Return where the drop-in of a unit is."""
    return f"{UNIT_DIRECTORY}/{unit}.d/{DROP_IN_NAME}"


def text_for(view: UnitView, exporter: ExporterCommand, engine: str) -> str:
    """Return the drop-in that makes a unit's exporter a client of ``engine`` (HOST:PORT)."""
    lines = [
        f"# Made by {COMMAND}, which takes it away again (restore).",
        "# Edited, it is yours and stays. To forbid it:",
        f"# ln -sf /dev/null {path_of(view.name)}",
        "[Unit]",
        f"After={ENGINE_SERVICE}",
        "# A client exits when its engine is not there, or is restarted; it is tried again.",
        "StartLimitIntervalSec=0",
        "",
        "[Service]",
        # systemd.service(5): a oneshot must not always be restarted.
        "Restart=" + ("on-failure" if view.type == "oneshot" else "always"),
        "RestartSec=5",
    ]
    if exporter.form is Form.CONTAINER:
        lines.append("ExecStart=")
        for position, command in enumerate(view.commands):
            more = ("-r", engine) if position == exporter.position else ()
            lines.append(f"ExecStart={_exec_start(command, more)}")
    else:
        lines.append("Environment=" + quoted(f"{REMOTE_VARIABLE}={engine}"))
    return _sealed("\n".join(lines) + "\n")


def _sealed(text: str) -> str:
    """Add the hash of a text to it, by which it is known again should its record be lost."""
    return text.replace("[Unit]\n", f"# sha256 of all other lines: {sha256(text)}\n[Unit]\n", 1)


def is_as_written(unit: str, text: str) -> bool:
    """Whether a text is a drop-in as it was written for a unit."""
    seal = _SEAL.search(text)
    if seal is None or path_of(unit) not in text:
        return False
    return sha256(text[: seal.start()] + text[seal.end() :]) == seal[1]


def units_with_one(host: Host) -> tuple[str, ...]:
    """Return the units that have a drop-in of our name, whosever it is now."""
    places = sorted(host.path(UNIT_DIRECTORY).glob(f"*.service.d/{DROP_IN_NAME}"))
    return tuple(place.parent.name.removesuffix(".d") for place in places)


def _exec_start(command: ExecCommand, more: Sequence[str]) -> str:
    prefix = "".join(_PREFIX_OF_FLAG.get(flag, "") for flag in command.flags)
    words = [*command.argv, *more]
    if command.argv[:1] != (command.path,):
        prefix, words = prefix + "@", [command.path, *words]
    return prefix + command_line(words)


def owner(host: Host, unit: str, written: WrittenFile | None) -> Owner:
    """Say whose the drop-in on the disk is."""
    place = host.path(path_of(unit))
    if not os.path.lexists(place):
        return Owner.NOBODY
    if is_forbidden(host, unit):
        return Owner.FORBIDDEN
    found = digest(place)
    return Owner.OURS if found and written and found == written.sha256 else Owner.ADMIN


def is_forbidden(host: Host, unit: str) -> bool:
    """Whether the admin has linked the drop-in of a unit to /dev/null."""
    place = host.path(path_of(unit))
    return place.is_symlink() and str(place.readlink()) == "/dev/null"


def write(host: Host, written: WrittenFile, text: str) -> None:
    """Write the drop-in that ``written`` announces."""
    write_file(host.path(written.path), text)


def announce(host: Host, unit: str, text: str) -> WrittenFile:
    """Say what would be written, without writing it."""
    path = path_of(unit)
    return WrittenFile(path, sha256(text), not host.path(path).parent.exists())


def remove(host: Host, written: WrittenFile) -> bool:
    """Remove a drop-in unless it has been edited; return whether it is not there any more."""
    place = host.path(written.path)
    remove_unfinished(place)
    if os.path.lexists(place):
        if digest(place) != written.sha256:
            return False
        remove_file(place)
    if written.made_directory:
        try:
            place.parent.rmdir()
        except OSError:
            pass  # somebody else has put a file there, or it is gone already
    return True


def digest(place: Path) -> str:
    """Return the hash of a file, nothing of what is no file."""
    if place.is_symlink() or not place.is_file():
        return ""
    return hashlib.sha256(place.read_bytes()).hexdigest()


def sha256(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
