"""How long each sample has been the newest, by a clock that nobody sets and nothing stops.

An engine stamps samples by the wall clock. Where that is set back, what was sampled before
looks young until it is as late again, and an engine that goes by it may sample nothing new
meanwhile. A sample cannot be younger than the time for which it has been seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.entities import Entity


def boot_time() -> float:
    """Seconds since the machine started, with those that it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


@dataclass(slots=True)
class SampleAges:
    """Ages in seconds by ``clock``. They outlive connections to the engine."""

    clock: Callable[[], float] = boot_time
    _seen: dict[tuple[Entity, int], tuple[int, float]] = field(default_factory=dict)

    def at_least(self, key: tuple[Entity, int], timestamp: int, now: float) -> float:
        """Return how long the sample of ``timestamp`` has been the newest of an entity's field.

        ``now`` is the time by the clock.
        """
        known = self._seen.get(key)
        if known is None or known[0] != timestamp:
            self._seen[key] = (timestamp, now)
            return 0.0
        return now - known[1]
