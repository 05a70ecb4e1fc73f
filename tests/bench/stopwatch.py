"""Split the time of a call into sections, without a line in the measured program.

Sections nest and are exclusive: while an inner one runs, the outer one's clock stands.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Clock = Callable[[], float]


@dataclass
class Stopwatch:
    """Seconds by section, of elapsed and of CPU time."""

    wall_clock: Clock = time.perf_counter
    cpu_clock: Clock = time.process_time
    wall: dict[str, float] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    _running: list[str] = field(default_factory=list)
    _since: tuple[float, float] = (0.0, 0.0)

    def timed(self, section: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` with its time counted as ``section``'s."""

        @functools.wraps(function)
        def wrapper(*arguments: Any, **options: Any) -> Any:
            self._turn_to(section)
            try:
                return function(*arguments, **options)
            finally:
                self._turn_back()

        return wrapper

    def time_attribute(self, section: str, owner: Any, name: str) -> None:
        """Count the time of ``owner.name``, if it exists, from now on."""
        function = getattr(owner, name, None)
        if callable(function):
            setattr(owner, name, self.timed(section, function))

    def reset(self) -> None:
        """Start counting from zero."""
        self.wall.clear()
        self.cpu.clear()

    def _turn_to(self, section: str) -> None:
        self._stop_running()
        self._running.append(section)

    def _turn_back(self) -> None:
        self._stop_running()
        self._running.pop()

    def _stop_running(self) -> None:
        now = self.wall_clock(), self.cpu_clock()
        if self._running:
            section = self._running[-1]
            self.wall[section] = self.wall.get(section, 0.0) + now[0] - self._since[0]
            self.cpu[section] = self.cpu.get(section, 0.0) + now[1] - self._since[1]
        self._since = now
