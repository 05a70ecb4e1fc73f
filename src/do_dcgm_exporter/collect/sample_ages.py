"""Tell how old samples are, by a clock that cannot be set or stopped.

The engine stamps samples by the wall clock. After the clock is set back, earlier samples look
young until it has caught up, and the engine may sample nothing new meanwhile. After it is set
ahead, a sample from a moment ago looks old. So a sample is dated only once, when it is first
read, allowing for how far the clock was set since the previous reading.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.entities import Entity


def boot_time() -> float:
    """Return the seconds since the machine started, including those it slept."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# A sample taken during a reading is later than the start of that reading, by up to this many
# seconds.
_READING = 1.0


@dataclass(frozen=True, slots=True)
class Moment:
    """A moment by the wall clock, which may be set, and by one that cannot (both in seconds)."""

    wall: float
    boot: float

    @property
    def offset(self) -> float:
        """How far the wall clock is ahead."""
        return self.wall - self.boot


def age_at(now: Moment, before: Moment | None, stamp: float) -> float:
    """Return how old at ``now`` is what was stamped ``stamp`` (Unix seconds) since ``before``."""
    age = now.wall - stamp
    if before is not None:
        step, elapsed = now.offset - before.offset, now.boot - before.boot
        if not -_READING <= age <= elapsed and 0 <= age - step <= elapsed:
            return age - step  # it was stamped before the clock was set
    return age


@dataclass(slots=True)
class _Newest:
    """The newest sample of a field: its timestamp (µs), when it was taken and last read."""

    timestamp: int
    taken_at: float
    read: Moment


@dataclass(slots=True)
class SampleAges:
    """Ages in seconds by ``clock``. They outlive connections to the engine."""

    clock: Callable[[], float] = boot_time
    wall_clock: Callable[[], float] = time.time
    _newest: dict[tuple[Entity, int], _Newest] = field(default_factory=dict)

    def wall_offset(self) -> float:
        """Return how far the wall clock is ahead of the clock of ages."""
        return self.wall_clock() - self.clock()

    def age(self, key: tuple[Entity, int], timestamp: int, now: Moment) -> float:
        """Return the age in seconds of the sample of ``key`` stamped ``timestamp`` (µs)."""
        known = self._newest.get(key)
        if known is not None and known.timestamp == timestamp:
            known.read = now
            return now.boot - known.taken_at
        age = age_at(now, known.read if known else None, timestamp / 1e6)
        # The machine may have slept during the reading, before the sample was taken.
        age = max(age, now.boot - self.clock())
        self._newest[key] = _Newest(timestamp, now.boot - age, now)
        return age
