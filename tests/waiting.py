"""Wait for conditions, so that no test sleeps and hopes.

How soon something happens is asserted in virtual time (tests/simulation): on a busy machine, a
timed assertion would fail for no reason, or pass despite a bug.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")

# Far longer than anything here takes, since the machine may be busy.
PATIENCE = 180.0
# Half as long as a hung call takes: whatever waits for one takes longer than this to stop.
STOP_LIMIT = 30.0
_PAUSE = 0.02


def wait_until(condition: Callable[[], Answer], what: str, at_most: float = PATIENCE) -> Answer:
    """Return the first true answer of ``condition``; fail, naming ``what``, if there is none."""
    deadline = time.monotonic() + at_most
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {at_most:g} s: {what}"
        time.sleep(_PAUSE)
    return answer
