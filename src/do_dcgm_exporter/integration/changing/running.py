"""A run: what it needs, several units at once, alone on the machine, until it is interrupted."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum
from types import FrameType
from typing import TextIO

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.host import COMMAND, RUN_DIRECTORY, Host
from do_dcgm_exporter.integration.looking import commands
from do_dcgm_exporter.integration.looking.systemd import Systemd

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_POLICY_FORBIDS = 101  # README.policy-rc.d of init-system-helpers


class CannotChange(ExporterError):
    """Raised when a file cannot be written, renamed or removed."""


class Busy(ExporterError):
    """Raised when another run does not come to its end."""


class Interrupted(ExporterError):
    """Raised where work stops because somebody asks for it: by Ctrl-C, or by SIGTERM."""

    exit_status = 130

    def __init__(self) -> None:
        super().__init__(
            f"interrupted; '{COMMAND} apply' goes on, '{COMMAND} restore' undoes it all"
        )


class Level(Enum):
    """How important a message is."""

    INFO = "info"
    WARNING = "warning"


Tell = Callable[[Level, str], None]


@dataclass(frozen=True, slots=True)
class Means:
    """What work on units needs, all of it replaceable.

    ``proof_seconds`` is how long a unit may take to come back as a client, ``settle_seconds``
    when a unit that was started is looked at; ``failed`` is what is not as wished.
    """

    host: Host
    tell: Tell
    systemd: Systemd = field(default_factory=Systemd)
    may_restart: Callable[[str], bool] = lambda _: True
    proof_seconds: float = 120.0
    settle_seconds: float = 1.0
    failed: list[str] = field(default_factory=list)
    interruption: threading.Event = field(default_factory=threading.Event)
    reloading: threading.Lock = field(default_factory=threading.Lock)

    def sleep(self, seconds: float) -> None:
        """Wait. Raises Interrupted."""
        if self.interruption.wait(seconds):
            raise Interrupted

    def reload(self) -> None:
        """Have the manager read the unit files anew, once at a time."""
        with self.reloading:
            self.systemd.reload()

    def ask(self, job: Callable[[], None]) -> None:
        """Ask the manager for something. Raises CommandFailed, or Interrupted."""
        try:
            job()
        except commands.CommandFailed:
            self.sleep(0.0)  # it was ended together with us
            raise

    def attempt(self, unit: str, change: Callable[..., object], *arguments: object) -> bool:
        """Change a unit's files; return whether that worked, and say if not."""
        try:
            change(self.host, unit, *arguments)
        except CannotChange as error:
            return self.fail(str(error))
        return True

    def fail(self, what: str) -> bool:
        """Say what is not as wished, and return False."""
        self.failed.append(what)
        self.tell(Level.WARNING, what)
        return False


def in_parallel(jobs: Sequence[Callable[[], object]]) -> None:
    """Run jobs at once and wait until all have ended, interrupted or not.

    Raises the first error.
    """
    errors: list[Exception] = []

    def run(job: Callable[[], object]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except Interrupted:
        while any(thread.is_alive() for thread in threads):
            commands.end_all()  # what they have started just now, too
            time.sleep(0.1)
        raise
    if errors:
        raise errors[0]


@contextmanager
def interruptible(means: Means) -> Iterator[None]:
    """Raise Interrupted at the first Ctrl-C or SIGTERM, and ignore the others."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        means.interruption.set()
        commands.end_all()
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def alone(means: Means, seconds: float) -> Iterator[None]:
    """Be the only run that changes anything. Raises Busy after ``seconds``."""
    path = means.host.path(RUN_DIRECTORY / "lock")
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Root's alone: whoever may open a file may lock it.
    with open(path, "a", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        end = time.monotonic() + seconds
        if seconds and not _locks(file):
            means.tell(Level.INFO, "waiting for another run to end")
        while not _locks(file):
            if time.monotonic() >= end:
                raise Busy(f"another run has held {RUN_DIRECTORY}/lock for {seconds:g} s")
            means.sleep(0.2)
        yield


def _locks(file: TextIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def is_run_by_dpkg() -> bool:
    """Whether a maintainer script runs us: dpkg(1), internal environment."""
    return "DPKG_MAINTSCRIPT_PACKAGE" in os.environ


def may_restart(host: Host, unit: str) -> bool:
    """Ask policy-rc.d, if a maintainer script runs us; what an admin asks for is done."""
    program = host.path("/usr/sbin/policy-rc.d")
    if not is_run_by_dpkg() or not os.access(program, os.X_OK):
        return True
    command = [str(program), unit.removesuffix(".service"), "restart"]
    try:
        answer = subprocess.run(command, timeout=10, capture_output=True, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True  # no policy that could be understood
    return answer.returncode != _POLICY_FORBIDS
