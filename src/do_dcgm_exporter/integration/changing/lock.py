"""One run at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.changing.means import Pace
from do_dcgm_exporter.integration.host import RUN_DIRECTORY, Host

LOCK_FILE = RUN_DIRECTORY / "lock"


class Busy(ExporterError):
    """Raised when another run does not come to its end."""


@contextmanager
def locked(host: Host, seconds: float, pace: Pace, on_wait: Callable[[], None]) -> Iterator[None]:
    """Be the only run that changes anything. Raises Busy after ``seconds``."""
    descriptor = _open(host)
    try:
        end = time.monotonic() + seconds
        waiting = False
        while not _lock(descriptor):
            if time.monotonic() >= end:
                raise Busy(f"another run has held {LOCK_FILE} for {seconds:g} s")
            if not waiting:
                on_wait()
                waiting = True
            pace.sleep(0.2)
        yield
    finally:
        os.close(descriptor)


def is_locked(host: Host) -> bool:
    """Whether a run is at work."""
    descriptor = _open(host)
    try:
        return not _lock(descriptor)
    finally:
        os.close(descriptor)


def _open(host: Host) -> int:
    path = host.path(LOCK_FILE)
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # Root's alone: whoever may open a file may lock it.
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
