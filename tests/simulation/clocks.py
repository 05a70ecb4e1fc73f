"""The clocks of a simulated machine, and the true time that none of its programs sees."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

STARTED_AT = 1_800_000_000.0
_GRID = 30.0  # longer than any interval
_ROUNDING = 1e-5


@dataclass
class Clocks:
    """``monotonic`` stands still while the machine sleeps; ``wall`` can be set at will.

    ``true`` is physical time, by which values age whatever the clocks say.
    """

    slept: float = 0.0
    _monotonic: float = 100.0
    _settings: list[tuple[float, float]] = field(
        default_factory=lambda: [(0.0, STARTED_AT)]
    )  # since when (true time) wall is true time plus what

    @property
    def set_at(self) -> float:
        """When (true time) the wall clock was last set."""
        return self._settings[-1][0]

    @property
    def was_set_back(self) -> bool:
        """Whether the wall clock was ever set back."""
        offsets = [offset for _, offset in self._settings]
        return any(later < earlier for earlier, later in itertools.pairwise(offsets))

    def monotonic(self) -> float:
        """Seconds since the machine started, without those it slept."""
        return self._monotonic

    def true(self) -> float:
        """Seconds since the machine started."""
        return self._monotonic + self.slept

    def wall(self) -> float:
        """Unix time in seconds, as the machine believes."""
        return self.true() + self._settings[-1][1]

    def wall_microseconds(self) -> int:
        """The same in the unit of DCGM."""
        return round(self.wall() * 1e6)

    def advance_to(self, monotonic: float) -> None:
        """Let time pass."""
        self._monotonic = max(self._monotonic, monotonic)

    def step(self, seconds: float) -> None:
        """Set the wall clock, as NTP does."""
        self._settings.append((self.true(), self._settings[-1][1] + seconds))

    def sleep(self, seconds: float) -> None:
        """Suspend the machine, and wake it up."""
        self.slept += seconds

    def true_time_of(self, microseconds: int) -> float:
        """Return when it was last that wall time, or when that time was skipped.

        A time that is yet to come is from before the clock was set back, or nonsense: now.
        """
        unix = microseconds / 1e6
        end = now = self.true()
        for since, offset in reversed(self._settings):
            true = unix - offset
            if end == now and since - _GRID <= true < since:
                return since  # the engine continues as if it had always been that late
            if since <= true <= end + _ROUNDING:
                return min(true, end)
            if true > end and end < now:
                return end
            end = since
        return min(now, unix - self._settings[0][1])
