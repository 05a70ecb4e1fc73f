"""XID errors: the only field whose samples are events of their own time."""

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
"""Found in the kernel log, this one makes the engine stop asking the driver."""


class Xids:
    """The event thread of the engine: handles one XID a second and stamps it then (observed)."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache
        self._busy_until = 0

    def reset(self) -> None:
        """Forget the XIDs that wait to be handled."""
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
