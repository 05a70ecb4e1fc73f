"""Draw the recent utilization of a device as inline SVG: 15 minutes, or as many as there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.page.history import SPAN, UNKNOWN, Column, History, column_of

# Seconds. Columns further apart than this have an outage between them.
_GAP = 90.0
# The first axis, and by how much it grows: both, and SPAN, show round times at each third.
_FIRST_AXIS, _AXIS_STEP = 60, 180
# The y of every percentage, and above and below them room for the width of the line.
_Y = tuple(str(100 - percent) for percent in range(101))
_MARGIN = 3

# The picture is stretched to fit, but its lines are not.
_UNSCALED = 'vector-effect="non-scaling-stroke"'


class Point(NamedTuple):
    """A place from the left, and the percentages there: at the moment, and since the last."""

    x: str
    percent: int
    lowest: int
    highest: int


@dataclass(slots=True)
class _Run:
    """Columns of the same devices without a gap between them; ``places`` of each in a column."""

    places: dict[Entity, int]
    xs: list[str] = field(default_factory=list)
    columns: list[Column] = field(default_factory=list)


def axis_seconds(history: History, now: float) -> int:
    """Return how far back the pictures reach at ``now``: not much further than ``history``."""
    first = next((column.at for column in history if column.at >= now - SPAN), now)
    if now - first <= _FIRST_AXIS:
        return _FIRST_AXIS
    return min(_AXIS_STEP * math.ceil((now - first) / _AXIS_STEP), round(SPAN))


def up_to_date(history: History, machine: MachineState) -> History:
    """Return ``history`` with what ``machine`` says now, so that a line ends where it should."""
    if not machine.roster.devices or (history and machine.read_at <= history[-1].at):
        return history
    return (*history, column_of(machine))


class Sparklines:
    """Draws every device of one history up to ``now`` (Unix seconds)."""

    def __init__(self, history: History, now: float, interval: float) -> None:
        self.seconds = axis_seconds(history, now)
        gap = max(_GAP, 2.5 * interval)
        self._runs: list[_Run] = []
        before: Column | None = None
        for column in history:
            if column.at < now - self.seconds:
                continue
            if before is None or before.devices != column.devices or column.at - before.at > gap:
                places = {device: place for place, device in enumerate(column.devices)}
                self._runs.append(_Run(places))
            self._runs[-1].xs.append(str(round(self.seconds - (now - column.at))))
            self._runs[-1].columns.append(column)
            before = column

    def of(self, device: Entity, name: str) -> str:
        """Return the picture of ``device``, labelled for those who cannot see it."""
        lines = list(self._lines(device))
        if not lines:
            return ""
        label = f"Utilization of {name} over {self.minutes}: {_summary(lines)}"
        drawn = "".join(_drawn(line) for line in lines)
        return (
            f'<svg class="spark" viewBox="0 {-_MARGIN} {self.seconds} {100 + 2 * _MARGIN}"'
            f' preserveAspectRatio="none" role="img" aria-label="{label}">{drawn}</svg>'
        )

    def summary(self, device: Entity) -> str:
        """Return the range and the average of ``device``, empty if nothing is known."""
        lines = list(self._lines(device))
        return _summary(lines) if lines else ""

    @property
    def minutes(self) -> str:
        """How far back the pictures reach, in words."""
        minutes = self.seconds // 60
        return "1 minute" if minutes == 1 else f"{minutes} minutes"

    def _lines(self, device: Entity) -> Iterator[list[Point]]:
        """Yield lines of points without a gap between them."""
        for run in self._runs:
            place = run.places.get(device)
            if place is not None:
                points = [_point(x, column, place) for x, column in zip(run.xs, run.columns)]
                for is_known, line in groupby(points, key=_is_known):
                    if is_known:
                        yield list(line)


def axis(lines: Sparklines) -> str:
    """Return the times below or above a picture. The style sheet writes them, for eyes only."""
    unit, size = ("min", 60) if lines.seconds > _FIRST_AXIS else ("s", 1)
    far, middle, near = (lines.seconds * third // 3 // size for third in (3, 2, 1))
    ats = (f"−{far}", f"−{middle}", f"−{near} {unit}", "now")
    marks = "".join(f'<i data-at="{at}"></i>' for at in ats)
    return f'<span class="axis" aria-hidden="true">{marks}</span>'


def _is_known(point: Point) -> bool:
    return point.percent != UNKNOWN


def _point(x: str, column: Column, place: int) -> Point:
    percent = column.percentages[place]
    if not column.lowest:
        return Point(x, percent, percent, percent)
    return Point(x, percent, column.lowest[place], column.highest[place])


def _range(line: list[Point]) -> str:
    """Draw what was between the lowest and the highest, if peaks tell."""
    if all(point.lowest == point.highest for point in line):
        return ""
    upper = [f"{point.x},{_Y[point.highest]}" for point in line]
    lower = [f"{point.x},{_Y[point.lowest]}" for point in reversed(line)]
    return f'<polygon class="range" points="{" ".join([*upper, *lower])}"/>'


def _summary(lines: list[list[Point]]) -> str:
    points = [point for line in lines for point in line]
    lowest, highest = min(point.lowest for point in points), max(point.highest for point in points)
    average = sum(point.percent for point in points) / len(points)
    return f"{lowest} to {highest} %, {average:.0f} % on average"


def _drawn(line: list[Point]) -> str:
    if len(line) == 1:
        line = line * 2  # a line to itself, drawn as a dot
    points = " ".join([f"{point.x},{_Y[point.percent]}" for point in line])
    first, last = line[0].x, line[-1].x
    return (
        f"{_range(line)}"
        f'<polygon points="{first},100 {points} {last},100"/>'
        f'<polyline {_UNSCALED} points="{points}"/>'
    )
