"""Wait for conditions, so that no test sleeps and hopes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

# Far beyond what anything here takes, for a machine may be busy with other things.
PATIENCE = 30.0
# What systemd gives the service to stop (TimeoutStopSec=), and far from the 60 s of a hung call.
STOP_LIMIT = 10.0
_PAUSE = 0.02


def wait_until(condition: Callable[[], Answer], what: str, at_most: float = PATIENCE) -> Answer:
    """Return what ``condition`` answers as soon as that is true; fail with ``what`` else."""
    deadline = time.monotonic() + at_most
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {at_most:g} s: {what}"
        time.sleep(_PAUSE)
    return answer


def seconds_until(condition: Callable[[], object], what: str, at_most: float = PATIENCE) -> float:
    """Return how long it takes until ``condition`` is true."""
    started = time.monotonic()
    wait_until(condition, what, at_most)
    return time.monotonic() - started
