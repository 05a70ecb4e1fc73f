"""The last 15 minutes of a device as inline SVG."""

from __future__ import annotations

from collections.abc import Iterator

from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.utilization_history import SPAN, UNKNOWN, History

# A unit is 5 s wide and 5 % high.
_WIDTH, _HEIGHT = 180, 20
# Two columns that are further apart than some intervals have an outage between them.
_GAP = 90.0
# y of every percentage; 0 and 100 keep the width of the line within the picture.
_Y = tuple(f"{_HEIGHT - 0.5 - percent * (_HEIGHT - 1) / 100:.4g}" for percent in range(101))

# The picture is stretched to its place, its lines are not.
_UNSCALED = 'vector-effect="non-scaling-stroke"'

Point = tuple[str, int]


class Sparklines:
    """Draws every device of one history up to ``now`` (Unix seconds)."""

    def __init__(self, history: History, now: float, interval: float) -> None:
        self._history = tuple(column for column in history if column.at >= now - SPAN)
        self._xs = [f"{_WIDTH * (1 - (now - c.at) / SPAN):.4g}" for c in self._history]
        self._gap = max(_GAP, 2.5 * interval)
        self._places: dict[int, dict[Entity, int]] = {}
        for column in self._history:
            if id(column.devices) not in self._places:
                self._places[id(column.devices)] = {e: i for i, e in enumerate(column.devices)}

    def of(self, device: Entity, name: str) -> str:
        """The picture of ``device`` with its meaning for those who do not see it."""
        lines = list(self._lines(device))
        values = [percent for line in lines for _, percent in line]
        if not values:
            return ""
        label = (
            f"Utilization of {name} in 15 minutes: {min(values)} to {max(values)} %,"
            f" {sum(values) / len(values):.0f} % on average"
        )
        drawn = "".join(_drawn(line) for line in lines)
        return (
            f'<svg class="spark" viewBox="0 0 {_WIDTH} {_HEIGHT}" preserveAspectRatio="none"'
            f' role="img" aria-label="{label}"><line {_UNSCALED} y1="{_HEIGHT}" x2="{_WIDTH}"'
            f' y2="{_HEIGHT}"/>{drawn}</svg>'
        )

    def _lines(self, device: Entity) -> Iterator[list[Point]]:
        """Runs of points without a gap between them."""
        line: list[Point] = []
        before = 0.0
        for column, x in zip(self._history, self._xs):
            place = self._places[id(column.devices)].get(device)
            percent = UNKNOWN if place is None else column.percentages[place]
            if line and (percent == UNKNOWN or column.at - before > self._gap):
                yield line
                line = []
            if percent != UNKNOWN:
                line.append((x, percent))
            before = column.at
        if line:
            yield line


def _drawn(line: list[Point]) -> str:
    points = " ".join([f"{x},{_Y[percent]}" for x, percent in line])
    first, last = line[0][0], line[-1][0]
    return (
        f'<polygon points="{first},{_HEIGHT} {points} {last},{_HEIGHT}"/>'
        f'<polyline {_UNSCALED} points="{points}"/>'
    )
