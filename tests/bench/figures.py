"""Figures measured round by round, and the table made from them: pure functions."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

_Item = TypeVar("_Item")

Column = tuple[str, str]
"""A program (``this`` or ``base``) and the case it was measured with."""


@dataclass(frozen=True)
class Row:
    """A figure's name and format."""

    name: str
    number_format: str = "{:.2f}"


@dataclass
class Figures:
    """What was measured, by row and column, in the order of the rounds."""

    measured: dict[str, dict[Column, list[float]]] = field(default_factory=dict)

    def add(self, row: str, column: Column, value: float) -> None:
        """Take one more value."""
        self.measured.setdefault(row, {}).setdefault(column, []).append(value)

    def of(self, row: str, column: Column) -> Sequence[float]:
        """The values of one row in one column."""
        return self.measured.get(row, {}).get(column, ())

    def median(self, row: str, column: Column) -> float | None:
        """The median of one row in one column, None where nothing was measured."""
        values = self.of(row, column)
        return statistics.median(values) if values else None

    def ratios(self, row: str, this: Column, other: Column) -> list[float]:
        """``this`` divided by ``other``, in each round that has both."""
        pairs = zip(self.of(row, this), self.of(row, other))
        return [mine / theirs for mine, theirs in pairs if theirs]


def cell(values: Sequence[float], number_format: str) -> str:
    """Median and half the range of ``values``, such as ``4.41 ±3%``."""
    if not values:
        return "-"
    middle = statistics.median(values)
    text = number_format.format(middle)
    half_range = (max(values) - min(values)) / 2
    percent = round(100 * half_range / abs(middle)) if middle else 0
    return f"{text} ±{percent}%" if percent else text


def table(
    rows: Iterable[Row], columns: Mapping[tuple[str, ...], Callable[[Row], str]]
) -> list[str]:
    """The lines of a table; a column has lines of heading and a function for its cells.

    Rows without any figure are left out.
    """
    filled = [(row.name, [fill(row) for fill in columns.values()]) for row in rows]
    filled = [(name, cells) for name, cells in filled if set(cells) != {"-"}]
    depth = max(len(heading) for heading in columns)
    headings = [[h[line] if line < len(h) else "" for h in columns] for line in range(depth)]
    lines = [("", heading) for heading in headings] + filled
    widths = [max(len(cells[i]) for _, cells in lines) for i in range(len(columns))]
    name_width = max(len(name) for name, _ in lines)
    return [
        "  ".join([name.ljust(name_width), *(c.rjust(w) for c, w in zip(cells, widths))]).rstrip()
        for name, cells in lines
    ]


@dataclass(frozen=True)
class Line:
    """A straight line."""

    at_zero: float
    slope: float


def fit(points: Sequence[tuple[float, float]]) -> Line:
    """The least-squares line through ``points``."""
    fitted = statistics.linear_regression(*zip(*points))
    return Line(fitted.intercept, fitted.slope)


def in_turns(compared: Iterable[_Item], rounds: int) -> Iterator[Sequence[_Item]]:
    """The subjects, once per round, in reverse every other round: being first costs time."""
    order = list(compared)
    for _ in range(rounds):
        yield tuple(order)
        order.reverse()


def percentile(ordered: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the ``ordered`` values lie."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
