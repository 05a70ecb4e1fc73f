"""A day's cycles at the shortest interval: does anything grow?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.soak.promises import Promise
from tests.soak.scraper import Found
from tests.soak.stage import Stage, Usage

CYCLES_OF_A_DAY = 4320  # at the default interval of 20 s
LARGEST_SLOPE = 1.0  # MB a day
# By this share of a run, everything that is allocated only once has been.
_WARM_UP = 0.2


@dataclass
class Day:
    """Memory by cycles, and what the exporter held before and after."""

    stage: Stage
    memory: list[tuple[int, float]] = field(default_factory=list)
    values: int = 0
    before: Usage | None = None
    after: Usage | None = None

    def run(self, cycles: int, say: Callable[[str], None]) -> None:
        """Let ``cycles`` pass, with an XID now and then."""
        first = self.stage.cycles()
        self._pass(first + int(cycles * _WARM_UP), say)
        self.before = self.stage.usage()
        self.memory.clear()
        self._pass(first + cycles, say)
        self.after = self.stage.usage()
        page = self.stage.exporter.page()
        samples = sum(len(page.samples(name)) for name in page.dcgm)
        self.values = samples * (self.stage.cycles() - first)

    def _pass(self, until: int, say: Callable[[str], None]) -> None:
        told = 0
        while (cycles := self.stage.cycles()) < until:
            self.memory.append((cycles, self.stage.resident()))
            self.stage.engine.control("xid", "--gpu", str(cycles % 8), "31")
            if cycles - told > 1000:
                told = cycles
                say(f"{until - cycles} cycles to go")
            time.sleep(1.0)

    def promises(self, found: Found) -> list[Promise]:
        """What was promised for a day, and what was measured."""
        grown = slope(self.memory) * CYCLES_OF_A_DAY
        first, last = self.memory[0], self.memory[-1]
        return [
            Promise(
                f"memory over {last[0] - first[0]} cycles ({self.values / 1e6:.1f} million values)",
                f"< {LARGEST_SLOPE:g} MB a day of {CYCLES_OF_A_DAY} cycles",
                f"{grown:+.2f} MB a day; {first[1]:.1f} MB, {last[1]:.1f} MB at the end",
                grown < LARGEST_SLOPE,
                is_timed=True,
            ),
            Promise(
                "pages that are not valid",
                "none",
                f"{len(found.complaints)} of {len(found.scrapes)} scrapes",
                not found.complaints,
            ),
            Promise(
                "what the exporter holds after them",
                str(self.before),
                str(self.after),
                self.before == self.after,
            ),
        ]


def slope(points: Sequence[tuple[int, float]]) -> float:
    """How much the second number grows with the first, by least squares."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread if spread else 0.0
