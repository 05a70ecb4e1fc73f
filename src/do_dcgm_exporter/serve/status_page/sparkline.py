"""Draw the last 15 minutes of a device as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.page.history import SPAN, UNKNOWN, Column, History

# In units of 5 s and 5 %.
_WIDTH, _HEIGHT = 180, 20
# Seconds. Columns further apart than this have an outage between them.
_GAP = 90.0
# The y of every percentage; at 0 and 100 the whole width of the line stays in the picture.
_Y = tuple(f"{_HEIGHT - 0.5 - percent * (_HEIGHT - 1) / 100:.4g}" for percent in range(101))

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


class Sparklines:
    """Draws every device of one history up to ``now`` (Unix seconds)."""

    def __init__(self, history: History, now: float, interval: float) -> None:
        gap = max(_GAP, 2.5 * interval)
        self._runs: list[_Run] = []
        before: Column | None = None
        for column in history:
            if column.at < now - SPAN:
                continue
            if before is None or before.devices != column.devices or column.at - before.at > gap:
                places = {device: place for place, device in enumerate(column.devices)}
                self._runs.append(_Run(places))
            self._runs[-1].xs.append(f"{_WIDTH * (1 - (now - column.at) / SPAN):.4g}")
            self._runs[-1].columns.append(column)
            before = column

    def of(self, device: Entity, name: str) -> str:
        """Return the picture of ``device``, labelled for those who cannot see it."""
        lines = list(self._lines(device))
        values = [point.percent for line in lines for point in line]
        if not values:
            return ""
        lowest = min(point.lowest for line in lines for point in line)
        highest = max(point.highest for line in lines for point in line)
        label = (
            f"Utilization of {name} in 15 minutes: {lowest} to {highest} %,"
            f" {sum(values) / len(values):.0f} % on average"
        )
        drawn = "".join(_drawn(line) for line in lines)
        return (
            f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
            f' role="img" aria-label="{label}"><line {_UNSCALED} y1="{_HEIGHT}" x2="{_WIDTH}"'
            f' y2="{_HEIGHT}"/>{drawn}</svg>'
        )

    def _lines(self, device: Entity) -> Iterator[list[Point]]:
        """Yield lines of points without a gap between them."""
        for run in self._runs:
            place = run.places.get(device)
            if place is not None:
                points = [_point(x, column, place) for x, column in zip(run.xs, run.columns)]
                for is_known, line in groupby(points, key=_is_known):
                    if is_known:
                        yield list(line)


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


def _drawn(line: list[Point]) -> str:
    points = " ".join([f"{point.x},{_Y[point.percent]}" for point in line])
    first, last = line[0].x, line[-1].x
    return (
        f"{_range(line)}"
        f'<polygon points="{first},{_HEIGHT} {points} {last},{_HEIGHT}"/>'
        f'<polyline {_UNSCALED} points="{points}"/>'
    )
