"""The records of what was changed on this machine.

A drop-in contains its own record, a line of JSON in a comment, and a seal that shows whether
it has been edited. For a unit that was stopped there is a small file.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from do_dcgm_exporter.integration.deciding.exporter import ExporterCommand, Form
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE
from do_dcgm_exporter.integration.looking import our_files
from do_dcgm_exporter.integration.looking.systemd import ExecCommand, UnitView, command_line, quoted

_FORMAT = 1
_RECORD = re.compile(r"^# Record: (.*)\n", re.MULTILINE)
_SEAL = re.compile(r"^# sha256 of all other lines: ([0-9a-f]{64})\n", re.MULTILINE)
# Of version 0.1.0, whose drop-ins have a seal but no record.
_ENGINE = re.compile(r'^Environment="?DCGM_REMOTE_HOSTENGINE_INFO=([^"\n]*)', re.MULTILINE)

# A restarting engine is back within seconds. A client that has failed to start for five
# minutes is examined and then waits, until our drop-in of the engine's unit starts it again.
_SETTINGS = f"""\
[Unit]
After={ENGINE_SERVICE}
# A client exits when its engine is away or restarts, so systemd starts it again.
StartLimitIntervalSec=1h
StartLimitBurst=30
OnFailure={COMMAND}.service

[Service]
Restart=always
RestartSec=10
"""
_PREFIXES = {
    "ignore-failure": "-", "no-env-expand": ":", "privileged": "+", "no-setuid": "!",
    "ambient": "!!",
}  # fmt: skip


class NotUnderstood(ValueError):
    """Raised for a record that is damaged or was written by a newer version."""


@dataclass(frozen=True, slots=True)
class Record:
    """What it takes to judge and to undo a drop-in.

    ``source`` is the fingerprint of the unit's own files, ``invocation`` systemd's
    InvocationID of the unit when the drop-in was written, and ``proven`` whether the unit
    has served metrics as a client.
    """

    engine: str = ""
    source: str = ""
    invocation: str = ""
    was_active: bool = True
    made_folder: bool = True
    proven: bool = True


@dataclass(frozen=True, slots=True)
class DropIn:
    """A drop-in of ours. If ``withdrawn``, it is being undone, and systemd does not read it."""

    text: str
    record: Record
    withdrawn: bool = False


class Foreign(Enum):
    """Why a drop-in with our name is not ours to change; the path is yet to be filled in."""

    EDITED = "{} was edited: it is yours and stays"
    FORBIDDEN = "you forbid it by {} -> /dev/null"
    NEWER = "{} was written by a newer version of this package and stays"


@dataclass(frozen=True, slots=True)
class StoppedUnit:
    """A unit that we stopped and disabled: whether it ran, and the links that enabled it."""

    was_active: bool = True
    links: tuple[our_files.Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Records:
    """All records, by unit.

    ``refused`` says what was tried with units that refused to be clients, and why it failed.
    ``folders`` are units with a folder of drop-ins. ``complaints`` has a sentence for each
    record that cannot be read. ``is_old`` is whether there is a record of version 0.1.0, and
    ``by_hand`` names those of its changes that only a person can undo.
    """

    ours: Mapping[str, DropIn] = field(default_factory=dict)
    foreign: Mapping[str, Foreign] = field(default_factory=dict)
    stopped: Mapping[str, StoppedUnit] = field(default_factory=dict)
    refused: Mapping[str, list[str]] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    complaints: tuple[str, ...] = ()
    is_old: bool = False
    by_hand: str = ""

    @property
    def units(self) -> tuple[str, ...]:
        """The units that were changed."""
        return tuple(dict.fromkeys([*self.ours, *self.stopped]))

    def of(self, unit: str) -> tuple[DropIn | None, StoppedUnit | None]:
        """Return the records of a unit."""
        return self.ours.get(unit), self.stopped.get(unit)


def records_in(files: our_files.OurFiles) -> Records:
    """Parse the files."""
    complaints: list[str] = []
    stopped, by_hand = _of_old_state(files.old_state or '{"format": 1}', complaints)
    is_old = files.old_state is not None and not complaints
    found = {unit: drop_in(unit, text) for unit, text in files.drop_ins.items()}
    for unit, text in files.withdrawn.items():
        found.setdefault(unit, drop_in(unit, text, withdrawn=True))
    for unit, text in files.stopped.items():
        try:
            stopped[unit] = _stopped(_data(text))
        except (TypeError, ValueError) as error:
            complaints.append(f"{our_files.STOPPED}/{unit} cannot be understood ({error})")
    return Records(
        {unit: one for unit, one in found.items() if isinstance(one, DropIn)},
        {unit: one for unit, one in found.items() if isinstance(one, Foreign)},
        stopped,
        {unit: text.split("\n", 1) for unit, text in files.refused.items()},
        files.folders,
        tuple(complaints),
        is_old,
        by_hand,
    )


def drop_in(unit: str, text: str, *, withdrawn: bool = False) -> DropIn | Foreign:
    """Parse a drop-in; ``withdrawn`` is whether it is being undone."""
    if text == "-> /dev/null":
        return Foreign.FORBIDDEN
    # It contains its own path, so a copy in another unit's folder is not ours.
    if not is_sealed(text) or our_files.path_of(unit) not in text:
        return Foreign.EDITED
    try:
        return DropIn(text, record_of(text), withdrawn)
    except NotUnderstood:
        return Foreign.NEWER


# Drop-ins


def text_for(view: UnitView, command: ExporterCommand, record: Record) -> str:
    """Return the drop-in that makes a unit's exporter a client of ``record.engine``."""
    header = (
        f"# Written by {COMMAND}; '{COMMAND} restore' removes it.\n"
        "# Once you edit it, it is yours and stays. To forbid it:\n"
        f"# ln -sf /dev/null {our_files.path_of(view.name)}\n"
    )
    variable = f"{REMOTE_VARIABLE}={record.engine}"
    lines = [f"Environment={quoted(variable)}"]
    if command.form is Form.CONTAINER:
        (run,) = view.commands  # only a oneshot may have several: systemd.service(5)
        # -r cannot be appended: Go stops parsing flags at the first other word.
        place = run.argv.index("run") + 1
        words = (*run.argv[:place], "-e", variable, *run.argv[place:])
        lines = ["ExecStart=", f"ExecStart={_exec_start(run, words)}"]
    return sealed(header, record, _SETTINGS + "\n".join(lines) + "\n")


def _exec_start(command: ExecCommand, words: tuple[str, ...]) -> str:
    prefix = "".join(_PREFIXES.get(flag, "") for flag in command.flags)
    if command.argv[:1] != (command.path,):
        prefix, words = prefix + "@", (command.path, *words)
    return prefix + command_line(words)


def sealed(header: str, record: Record, settings: str) -> str:
    """Return the text of a drop-in: a comment, its record, its seal and its settings."""
    header += f"# Record: {json.dumps({'format': _FORMAT, **asdict(record)})}\n"
    return header + f"# sha256 of all other lines: {sha256(header + settings)}\n" + settings


def with_record(text: str, record: Record) -> str:
    """Return a sealed drop-in with another record."""
    header, _, settings = _SEAL.split(text, 1)
    return sealed(_RECORD.sub("", header), record, settings)


def is_sealed(text: str) -> bool:
    """Return whether a drop-in is as it was written."""
    seal = _SEAL.search(text)
    return seal is not None and sha256(text[: seal.start()] + text[seal.end() :]) == seal[1]


def record_of(text: str) -> Record:
    """Return the record of a sealed drop-in. Raises NotUnderstood."""
    if line := _RECORD.search(text):
        data = _data(line[1])
        return Record(**{name: data[name] for name in Record.__dataclass_fields__ if name in data})
    engine = _ENGINE.search(text)
    return Record(engine[1] if engine else "", proven=False)


def settings_of(text: str) -> str:
    """Return the part of a drop-in that systemd reads."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def sha256(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


# JSON files


def text_of(stopped: StoppedUnit) -> str:
    """Return the record of a stopped unit as text."""
    return json.dumps({"format": _FORMAT, **asdict(stopped)}, indent=1) + "\n"


def _stopped(data: Mapping[str, Any]) -> StoppedUnit:
    links = tuple((path, target) for path, target in data.get("links", ()))
    return StoppedUnit(bool(data.get("was_active", True)), links)


def _data(text: str) -> Mapping[str, Any]:
    try:
        data: Mapping[str, Any] = json.loads(text)
        number = data["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotUnderstood(f"{type(error).__name__}: {error}") from error
    if number != _FORMAT:
        raise NotUnderstood("a newer version of this package wrote it")
    return data


def _of_old_state(text: str, complaints: list[str]) -> tuple[dict[str, StoppedUnit], str]:
    """Return the units that version 0.1.0 stopped, and its changes that only a person can undo."""
    try:
        data = _data(text)
        units = data.get("units", ())
        stopped = {one["unit"]: _stopped(one) for one in units if one["change"] == "stopped"}
        others = [one["kept_as"] for one in data.get("containers", ())]
        others += ["the engine of the snap dcgm"] if data.get("snap") else []
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        complaints.append(f"{our_files.OLD_STATE} cannot be understood ({error})")
        return {}, ""
    return stopped, ", ".join(others)
