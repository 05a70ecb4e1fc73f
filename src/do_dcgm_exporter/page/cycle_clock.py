"""Keep track of the current cycle: its number, its duration, whether it was abandoned."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass(slots=True)
class CycleClock:
    """The current cycle. A cycle that is no longer current must not publish anything."""

    clock: Callable[[], float] = time.monotonic
    is_abandoned: bool = False
    _number: int = 0
    _started_at: float | None = None
    _ended_at: float = field(init=False)

    def __post_init__(self) -> None:
        self._ended_at = self.clock()

    def begin(self) -> int:
        """Begin a cycle and return its number."""
        self._number += 1
        self._started_at = self.clock()
        self.is_abandoned = False
        return self._number

    def seconds(self, number: int) -> float | None:
        """Return how long cycle ``number`` has run, None if it is not current."""
        if number != self._number or self._started_at is None:
            return None
        return self.clock() - self._started_at

    def end(self) -> None:
        """End the current cycle."""
        self._started_at = None
        self._ended_at = self.clock()

    def idle_seconds(self) -> float:
        """Return how long ago the last cycle ended: 0 while one runs, or hangs abandoned."""
        if self._started_at is not None or self.is_abandoned:
            return 0.0
        return self.clock() - self._ended_at

    def abandon_after(self, limit: float) -> bool:
        """Give up a cycle that has run for ``limit`` seconds; return whether it did."""
        if self._started_at is None or self.clock() - self._started_at < limit:
            return False
        self.end()
        self.is_abandoned = True
        self._number += 1
        return True
