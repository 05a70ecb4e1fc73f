"""Wait for conditions, so that no test sleeps and hopes.

How soon something happens is asserted in virtual time (tests/simulation): a machine that is busy
with other things would break such a promise, or pass what breaks it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

# Far beyond what anything here takes, for a machine may be busy with other things.
PATIENCE = 180.0
# Half of what a hung call takes: who waits for one stops later than this.
STOP_LIMIT = 30.0
_PAUSE = 0.02


def wait_until(condition: Callable[[], Answer], what: str, at_most: float = PATIENCE) -> Answer:
    """Return what ``condition`` answers as soon as that is true; fail with ``what`` else."""
    deadline = time.monotonic() + at_most
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {at_most:g} s: {what}"
        time.sleep(_PAUSE)
    return answer
