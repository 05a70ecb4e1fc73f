"""What was changed on this machine, so that it can be undone: one JSON file.

A record is saved before the change that it describes, and dropped after that change is
undone. A record that is not settled was interrupted: every step of it may be missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.changing.drop_in import WrittenFile
from do_dcgm_exporter.integration.changing.files import remove_file, write_file
from do_dcgm_exporter.integration.host import COMMAND, RUN_DIRECTORY, STATE_DIRECTORY, Host
from do_dcgm_exporter.integration.looking.enablement import Link

STATE_FILE = STATE_DIRECTORY / "integration.json"
SET_ASIDE = STATE_DIRECTORY / "integration.json.unreadable"
_LOCK_FILE = RUN_DIRECTORY / "lock"
_FORMAT = 1


class StateUnreadable(ExporterError):
    """Raised when the state file cannot be read: nothing can be changed safely."""

    exit_status = 2


class StateBroken(StateUnreadable):
    """Raised when the state file is not what was written."""

    def __init__(self, path: Path, why: object) -> None:
        self.what = f"{path} is not as it was written ({why})"
        super().__init__(
            f"{self.what}; '{COMMAND} restore' undoes what is known without it, and sets it aside"
        )


class Busy(ExporterError):
    """Raised when another run does not come to its end."""


class Change(Enum):
    """What was done to a unit."""

    REWRITTEN = "rewritten"
    STOPPED = "stopped"
    REFUSED = "refused"  # it did not come back as a client, and was put back


@dataclass(frozen=True, slots=True)
class UnitRecord:
    """One unit: how it was, and what is on the disk now.

    ``links`` were removed when it was stopped. ``source`` is the fingerprint of what the
    change was made from, our drop-in left out, and ``engine`` the address it was made for.
    """

    unit: str
    change: Change
    was_active: bool
    file_state: str = ""
    drop_in: WrittenFile | None = None
    links: tuple[Link, ...] = ()
    source: str = ""
    engine: str = ""
    reason: str = ""
    settled: bool = False


@dataclass(frozen=True, slots=True)
class ContainerRecord:
    """One container that was recreated; the old one is kept under another name."""

    engine: str  # docker or podman
    name: str
    old_id: str
    kept_as: str
    restart_policy: str
    was_running: bool
    settled: bool = False


@dataclass(frozen=True, slots=True)
class SnapRecord:
    """The snap's engine that was stood down, and its settings before."""

    port: str
    enabled: tuple[str, ...]
    active: tuple[str, ...]
    settled: bool = False


@dataclass(slots=True)
class State:
    """All records."""

    units: dict[str, UnitRecord] = field(default_factory=dict)
    containers: dict[str, ContainerRecord] = field(default_factory=dict)
    snap: SnapRecord | None = None

    @property
    def is_empty(self) -> bool:
        """Whether nothing of ours is on this machine."""
        return not (self.units or self.containers or self.snap)


def load(host: Host) -> State:
    """Read the state. Raises StateUnreadable, StateBroken if it is of no use any more."""
    path = host.path(STATE_FILE)
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return State()
    except PermissionError as error:
        raise StateUnreadable(f"{path}: permission denied; run it as root") from error
    except (OSError, ValueError) as error:
        raise StateBroken(path, getattr(error, "strerror", None) or error) from error
    try:
        return _state(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise StateBroken(path, f"{type(error).__name__}: {error}") from error


def set_aside(host: Host) -> None:
    """Keep a state that cannot be read under another name, for whoever can make sense of it."""
    host.path(STATE_FILE).replace(host.path(SET_ASIDE))


def is_set_aside(host: Host) -> bool:
    """Whether there is a state that could not be read."""
    return os.path.lexists(host.path(SET_ASIDE))


def save(host: Host, state: State) -> None:
    """Write the state so that it survives a power failure; an empty one is no file."""
    path = host.path(STATE_FILE)
    if state.is_empty:
        remove_file(path)
        return
    data = {
        "format": _FORMAT,
        "units": [_unit_data(record) for record in state.units.values()],
        "containers": [asdict(record) for record in state.containers.values()],
        "snap": asdict(state.snap) if state.snap else None,
    }
    # What was on this machine is nobody's business but root's.
    write_file(path, json.dumps(data, indent=1) + "\n", 0o600)


def _unit_data(record: UnitRecord) -> dict[str, Any]:
    return {**asdict(record), "change": record.change.value}


def _state(data: Mapping[str, Any]) -> State:
    if data["format"] != _FORMAT:
        raise ValueError(f"format {data['format']}")
    units = [_unit_record(entry) for entry in data["units"]]
    containers = [ContainerRecord(**entry) for entry in data["containers"]]
    snap = data["snap"]
    return State(
        {record.unit: record for record in units},
        {f"{record.engine}:{record.name}": record for record in containers},
        SnapRecord(**{**snap, **{key: tuple(snap[key]) for key in ("enabled", "active")}})
        if snap
        else None,
    )


def _unit_record(entry: Mapping[str, Any]) -> UnitRecord:
    drop_in = entry["drop_in"]
    return UnitRecord(
        **{
            **entry,
            "change": Change(entry["change"]),
            "drop_in": WrittenFile(**drop_in) if drop_in else None,
            "links": tuple((path, target) for path, target in entry["links"]),
        }
    )


@contextmanager
def locked(
    host: Host,
    seconds: float,
    *,
    on_wait: Callable[[], None] = lambda: None,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[None]:
    """Be the only run that changes anything. Raises Busy after ``seconds``."""
    path = host.path(_LOCK_FILE)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with path.open("a") as file:
        end = time.monotonic() + seconds
        waiting = False
        while not _lock(file.fileno()):
            if time.monotonic() >= end:
                raise Busy(f"another run holds {path} since more than {seconds:g} s")
            if not waiting:
                on_wait()
                waiting = True
            sleep(0.2)
        yield


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
