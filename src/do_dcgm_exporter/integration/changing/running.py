"""What every run needs: settings, messages, the lock, and a clean end when interrupted."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.host import COMMAND, RUN_DIRECTORY, Host
from do_dcgm_exporter.integration.looking import commands, systemd


class CannotChange(ExporterError):
    """Raised if a file that is not ours is in the way."""


class Level(Enum):
    """The priority of a message in the journal: sd-daemon(3)."""

    INFO = "<6>"
    WARNING = "<4>"


@dataclass(frozen=True, slots=True)
class Means:
    """What work on units needs; tests replace it.

    ``proof_seconds`` is how long a unit may take to come back as a client, ``settle_seconds``
    how long after its start a unit is looked at; ``failed`` are the messages of failures.
    """

    host: Host
    tell: Callable[[Level, str], None]
    sleep: Callable[[float], object] = time.sleep
    proof_seconds: float = 120.0
    settle_seconds: float = 1.0
    failed: list[str] = field(default_factory=list)
    reloading: threading.Lock = field(default_factory=threading.Lock)

    def reload(self) -> None:
        """Make the manager read the unit files again, one reload at a time."""
        with self.reloading:
            systemd.reload()

    def attempt(self, unit: str, change: Callable[..., object], *arguments: object) -> bool:
        """Change a unit's files; report a failure, and return whether it worked."""
        try:
            change(*arguments)
        except CannotChange as error:
            return self.fail(str(error))
        except OSError as error:
            where = f"{error.filename}: " if error.filename else ""
            return self.fail(f"{unit} cannot be changed: {where}{error.strerror}")
        return True

    def fail(self, what: str) -> bool:
        """Report a failure, and return False."""
        self.failed.append(what)
        self.tell(Level.WARNING, what)
        return False


def end_when_interrupted() -> None:
    """Make Ctrl-C and SIGTERM end the program at once, with a sentence and exit status 130.

    A run may be killed at any point, so nothing has to be completed. Workers end with the
    process, and only then is the lock free for another run.
    """

    def end(*_: object) -> None:
        what_next = f"'{COMMAND} apply' continues, '{COMMAND} restore' undoes everything"
        try:
            os.write(2, f"{COMMAND}: interrupted; {what_next}\n".encode())
        finally:
            commands.end_all()
            os._exit(130)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, end)


@contextmanager
def alone(means: Means, *, waits: bool = True) -> Iterator[bool]:
    """Lock out other runs; yield whether this one has the lock, as it has after waiting for it."""
    path = means.host.path(RUN_DIRECTORY / "lock")
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # For root alone: anyone who may open a file may lock it.
    with open(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if not waits:
                yield False
                return
            means.tell(Level.INFO, "waiting for another run to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield True
