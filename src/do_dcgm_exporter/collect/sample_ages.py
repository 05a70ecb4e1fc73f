"""How old samples are, by a clock that nobody sets and nothing stops.

An engine stamps samples by the wall clock. Where that is set back, what was sampled before
looks young until it is as late again, and an engine that goes by it may sample nothing new
meanwhile. Where it is set ahead, what was sampled a moment before looks old. So a sample is
dated once, when it is first read, and by how much the clock was set since the reading before.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.entities import Entity


def boot_time() -> float:
    """Return the seconds since the machine started, those that it slept included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# What is sampled while it is read is younger than the time that the reading began.
_READING = 1.0


@dataclass(slots=True)
class _Newest:
    """The newest sample of a field by its timestamp (µs), when it was taken, and its last reading.

    ``wall_offset`` is by how much the wall clock was ahead of the clock of ages then.
    """

    timestamp: int
    taken_at: float
    read_at: float
    wall_offset: float


@dataclass(slots=True)
class SampleAges:
    """Ages in seconds by ``clock``. They outlive connections to the engine."""

    clock: Callable[[], float] = boot_time
    _newest: dict[tuple[Entity, int], _Newest] = field(default_factory=dict)

    def age(self, key: tuple[Entity, int], timestamp: int, wall_now: float, now: float) -> float:
        """Return how old the sample of ``timestamp`` (µs) is that was read of an entity's field.

        It was read at ``wall_now`` (Unix seconds), which is ``now`` by the clock.
        """
        known, wall_offset = self._newest.get(key), wall_now - now
        if known is not None and known.timestamp == timestamp:
            known.read_at, known.wall_offset = now, wall_offset
            return now - known.taken_at
        age = wall_now - timestamp / 1e6
        if known is not None:
            step, elapsed = wall_offset - known.wall_offset, now - known.read_at
            if not -_READING <= age <= elapsed and 0 <= age - step <= elapsed:
                age -= step  # it was stamped before the clock was set
        age = max(age, 0.0)
        self._newest[key] = _Newest(timestamp, now - age, now, wall_offset)
        return age
