"""XID errors, whose samples are events."""

from __future__ import annotations

from dcgm_simulator.cache import Cache
from dcgm_simulator.fields import XID
from dcgm_simulator.machine import Entity
from dcgm_simulator.sampler import Sample
from dcgm_simulator.series import SECOND

TWICE = frozenset({79, 119, 120})
"""Reported by an NVML event and again from the kernel log (observed)."""
LOG_DELAY = 750_000
"""Microseconds after which the kernel log repeats an XID."""
DRIVER_GONE = 119
"""Once this one is in the kernel log, the engine no longer asks the driver."""


class Xids:
    """The engine's event thread, which handles and stamps one XID per second (observed)."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._busy_until = 0

    def reset(self) -> None:
        """Forget pending XIDs."""
        self._busy_until = 0

    def report(self, entity: Entity, code: int, now: int) -> list[int]:
        """Record an XID for an entity and return the times, in µs, of its samples."""
        first = max(now, self._busy_until)
        self._busy_until = first + SECOND
        times = [first, first + LOG_DELAY] if code in TWICE else [first]
        field = self._cache.fields()[XID]
        for time in times:
            self._cache.events.expect(entity, field, Sample(time, code))
        return times
