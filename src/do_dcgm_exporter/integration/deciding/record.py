"""What is remembered of a change, in the words in which it is kept on the disk.

A drop-in carries its own record: one line of JSON among its comments, and a seal by which a
drop-in that somebody has edited is known. Units that were stopped, and units that would not
be clients, have a small JSON file each.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

FORMAT = 1

_RECORD = re.compile(r"^# Record: (.*)$", re.MULTILINE)
_SEAL = re.compile(r"^# sha256 of all other lines: ([0-9a-f]{64})\n", re.MULTILINE)
# Of version 0.1.0, whose drop-ins have a seal and no record.
_ENGINE = re.compile(r'^Environment="?DCGM_REMOTE_HOSTENGINE_INFO=([^"\n]*)', re.MULTILINE)

Link = tuple[str, str]


class NotUnderstood(ValueError):
    """Raised for a record that is damaged, or that a newer version has written."""


@dataclass(frozen=True, slots=True)
class Record:
    """What undoing a drop-in needs, and what judging it needs.

    ``source`` is the fingerprint of the unit's own files, ``invocation`` the run of the unit
    that the drop-in found (systemd's InvocationID), and ``proven`` is whether the unit has
    been seen to serve metrics as a client.
    """

    engine: str = ""
    source: str = ""
    invocation: str = ""
    was_active: bool = True
    made_folder: bool = True
    proven: bool = True


@dataclass(frozen=True, slots=True)
class StoppedUnit:
    """A unit that was stopped and disabled: whether it ran, and the links that enabled it."""

    was_active: bool
    links: tuple[Link, ...] = ()


@dataclass(frozen=True, slots=True)
class Refusal:
    """A unit that did not come back as a client of ``engine``, and why."""

    source: str
    engine: str
    reason: str


def sealed(header: str, record: Record, settings: str) -> str:
    """Return the text of a drop-in: a comment, its record, its seal and its settings."""
    line = f"# Record: {json.dumps({'format': FORMAT, **asdict(record)})}\n"
    seal = f"# sha256 of all other lines: {sha256(header + line + settings)}\n"
    return header + line + seal + settings


def proven(text: str) -> str:
    """Return a drop-in with the record that its unit has been seen as a client."""
    return with_record(text, replace(record_of(text), proven=True))


def with_record(text: str, record: Record) -> str:
    """Return a sealed drop-in with another record."""
    before, _, settings = _SEAL.split(text, 1)
    header = [line for line in before.splitlines(keepends=True) if not _RECORD.match(line)]
    return sealed("".join(header), record, settings)


def is_sealed(text: str) -> bool:
    """Whether a drop-in is as it was written."""
    seal = _SEAL.search(text)
    return seal is not None and sha256(text[: seal.start()] + text[seal.end() :]) == seal[1]


def has_record(text: str) -> bool:
    """Whether a drop-in has a record of its own."""
    return _RECORD.search(text) is not None


def record_of(text: str) -> Record:
    """Return the record of a sealed drop-in. Raises NotUnderstood."""
    line = _RECORD.search(text)
    if line is None:
        engine = _ENGINE.search(text)
        return Record(engine[1] if engine else "")
    return Record(**_known(line[1], Record))


def settings_of(text: str) -> str:
    """Return what systemd reads of a drop-in."""
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def stopped_unit_of(text: str) -> StoppedUnit:
    """Return the record of a stopped unit. Raises NotUnderstood."""
    values = _known(text, StoppedUnit)
    try:
        links = tuple((path, target) for path, target in values.get("links", ()))
    except (TypeError, ValueError) as error:
        raise NotUnderstood(f"its links are {values['links']!r}") from error
    return StoppedUnit(values.get("was_active", True), links)


def refusal_of(text: str) -> Refusal:
    """Return the record of a unit that would not be a client. Raises NotUnderstood."""
    try:
        return Refusal(**_known(text, Refusal))
    except TypeError as error:
        raise NotUnderstood("something is missing in it") from error


def as_text(record: StoppedUnit | Refusal) -> str:
    """Return a record as it is written to a file of its own."""
    return json.dumps({"format": FORMAT, **asdict(record)}, indent=1) + "\n"


def _known(text: str, kind: type[Any]) -> Mapping[str, Any]:
    """Return the values of a record whose names are known."""
    try:
        data = json.loads(text)
        number = data["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise NotUnderstood(f"{type(error).__name__}: {error}") from error
    if number != FORMAT:
        raise NotUnderstood("a newer version of this package wrote it")
    names = kind.__dataclass_fields__
    return {name: value for name, value in data.items() if name in names}


def sha256(text: str) -> str:
    """Return the hash of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()
