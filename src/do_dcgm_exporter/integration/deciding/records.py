"""What was changed on this machine, from the files that we have left there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TypeVar

from do_dcgm_exporter.integration.deciding.old_state import OldState, old_state_of
from do_dcgm_exporter.integration.deciding.record import (
    NotUnderstood,
    Record,
    Refusal,
    StoppedUnit,
    has_record,
    is_sealed,
    record_of,
    refusal_of,
    stopped_unit_of,
)
from do_dcgm_exporter.integration.looking.our_files import (
    OLD_STATE,
    STOPPED,
    Kind,
    OurFiles,
    Place,
    path_of,
)

_Kept = TypeVar("_Kept")


class Owner(Enum):
    """Whose a drop-in of our name is."""

    OURS = "ours"
    ADMIN = "edited"
    FORBIDDEN = "forbidden"
    NEWER = "of a newer version"


@dataclass(frozen=True, slots=True)
class DropIn:
    """A drop-in of our name. One that is ``withdrawn`` is being undone: systemd reads it not."""

    owner: Owner
    record: Record = field(default_factory=Record)
    text: str = ""
    withdrawn: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether we may change it."""
        return self.owner is Owner.OURS

    @property
    def is_old(self) -> bool:
        """Whether version 0.1.0 wrote it, without a record of its own."""
        return self.is_ours and not has_record(self.text)


@dataclass(frozen=True, slots=True)
class Records:
    """All that is known.

    ``folders`` are the units that have a folder of drop-ins. ``complaints`` are records that
    cannot be read, a sentence each.
    """

    drop_ins: Mapping[str, DropIn] = field(default_factory=dict)
    stopped: Mapping[str, StoppedUnit] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    folders: frozenset[str] = frozenset()
    old: OldState | None = None
    complaints: tuple[str, ...] = ()

    @property
    def ours(self) -> Mapping[str, DropIn]:
        """The drop-ins that we may change."""
        return {unit: one for unit, one in self.drop_ins.items() if one.is_ours}

    @property
    def units(self) -> tuple[str, ...]:
        """The units that something was done to."""
        return tuple(dict.fromkeys([*self.ours, *self.stopped]))


def records_in(files: OurFiles) -> Records:
    """Understand the files."""
    complaints: list[str] = []
    old = _understood(files.old_state, old_state_of, str(OLD_STATE), complaints)
    known = old or OldState()
    drop_ins = {
        unit: _drop_in(unit, place, known.rewritten.get(unit))
        for unit, place in files.drop_ins.items()
    }
    for unit, text in files.withdrawn.items():
        if unit not in drop_ins and is_sealed(text):
            drop_ins[unit] = _drop_in(unit, Place(Kind.FILE, text), None, withdrawn=True)
    stopped = dict(known.stopped)
    for unit, text in files.stopped.items():
        found = _understood(text, stopped_unit_of, f"{STOPPED}/{unit}", complaints)
        stopped |= {unit: found} if found else {}
    refused = dict(known.refused)
    for unit, text in files.refused.items():
        # A memory that is lost costs one more attempt.
        forgotten: list[str] = []
        refusal = _understood(text, refusal_of, unit, forgotten)
        refused |= {unit: refusal} if refusal else {}
    return Records(drop_ins, stopped, refused, files.folders, old, tuple(complaints))


def _drop_in(unit: str, place: Place, old: Record | None, *, withdrawn: bool = False) -> DropIn:
    if place.kind is Kind.FORBIDDEN:
        return DropIn(Owner.FORBIDDEN)
    # Its path stands in it: a copy in another unit's folder is somebody else's.
    if not (is_sealed(place.text) and path_of(unit) in place.text):
        return DropIn(Owner.ADMIN)
    try:
        record = record_of(place.text)
    except NotUnderstood:
        return DropIn(Owner.NEWER)
    if old is not None and not has_record(place.text):
        record = old
    return DropIn(Owner.OURS, record, place.text, withdrawn)


def _understood(
    text: str | None, understand: Callable[[str], _Kept], path: str, complaints: list[str]
) -> _Kept | None:
    if text is None:
        return None
    try:
        return understand(text)
    except NotUnderstood as error:
        complaints.append(f"{path} cannot be understood ({error})")
        return None


def hands_off(unit: str, drop_in: DropIn) -> str:
    """Say why a drop-in that is not ours is left alone, nothing of one that is."""
    path = path_of(unit)
    return {
        Owner.OURS: "",
        Owner.ADMIN: f"{path} was edited: it is yours and stays",
        Owner.FORBIDDEN: f"you forbid it by {path} -> /dev/null",
        Owner.NEWER: f"{path} was written by a newer version of this package and stays",
    }[drop_in.owner]
