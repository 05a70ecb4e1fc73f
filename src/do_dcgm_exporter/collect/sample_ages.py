"""How old samples are, by a clock that nobody sets and nothing stops.

An engine stamps samples by the wall clock. Where that is set back, what was sampled before
looks young until it is as late again, and an engine that goes by it may sample nothing new
meanwhile. Where it is set ahead, what was sampled a moment before looks old. Two facts bound
the age: a sample is at least as old as the time for which it has been seen, and a sample that
was not there at the reading before is no older than that reading.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.entities import Entity


def boot_time() -> float:
    """Return the seconds since the machine started, those that it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class _Newest:
    """The newest sample of a field, by its timestamp (µs), and what bounds its age."""

    timestamp: int
    seen_at: float
    taken_after: float
    read_at: float


@dataclass(slots=True)
class SampleAges:
    """Ages in seconds by ``clock``. They outlive connections to the engine."""

    clock: Callable[[], float] = boot_time
    _newest: dict[tuple[Entity, int], _Newest] = field(default_factory=dict)

    def age(
        self, key: tuple[Entity, int], timestamp: int, by_wall_clock: float, now: float
    ) -> float:
        """Return how old the sample of ``timestamp`` (µs) is that was read of an entity's field.

        ``by_wall_clock`` is its age as timestamp and wall clock have it, ``now`` the time by
        the clock.
        """
        known = self._newest.get(key)
        if known is None:
            known = self._newest[key] = _Newest(timestamp, now, -math.inf, now)
        elif known.timestamp != timestamp:
            known.timestamp, known.seen_at, known.taken_after = timestamp, now, known.read_at
        known.read_at = now
        return min(max(by_wall_clock, now - known.seen_at), now - known.taken_after)
