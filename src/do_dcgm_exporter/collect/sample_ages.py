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


@dataclass(slots=True)
class _Newest:
    """The newest sample of a field: its timestamp (µs), when it was taken and last read.

    ``wall_offset`` is how far the wall clock was ahead of the clock of ages at that reading.
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
        """Return the age in seconds of the sample of ``key`` stamped ``timestamp`` (µs).

        It was read at ``wall_now`` (Unix seconds), which is ``now`` by ``clock``.
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
        # The machine may have slept during the reading, before the sample was taken.
        age = max(age, now - self.clock())
        self._newest[key] = _Newest(timestamp, now - age, now, wall_offset)
        return age
