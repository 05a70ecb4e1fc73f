"""Draw how cost grows: ``python -m tests.bench.plot build/bench.json docs/performance.svg``."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from tests.bench.figures import Line, fit
from tests.bench.load import Way
from tests.bench.serving import rows_of

_WIDTH, _HEIGHT, _MARGIN = 320, 260, 52
_COLOURS = ("#1f5fa8", "#c2571a")

Point = tuple[float, float]
Measured = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Series:
    """Points of one kind, and the straight line through them."""

    name: str
    points: Sequence[Point]
    line: Line


@dataclass(frozen=True)
class Panel:
    """One diagram."""

    title: str
    x_name: str
    series: Sequence[Series]


def panels(measured: Measured) -> list[Panel]:
    """Cycles and memory by samples, scrapes by the bytes of a page."""
    cpu_per_scrape = rows_of(Way())[3].name
    cycle = _points(measured, "samples", "cycle CPU, ms")
    memory = _points(measured, "samples", "RSS after start, MB")
    ours = _points(measured, "page, kB", cpu_per_scrape)
    bare = _points(measured, "page, kB", cpu_per_scrape, of="bare")
    per_sample, per_thousand = 1000 * fit(cycle).slope, 1000 * fit(memory).slope
    per_kilobyte = fit(ours).slope
    return [
        Panel(
            "CPU of a cycle, ms",
            "samples on the page",
            [_series(f"{per_sample:.1f} µs per sample", cycle)],
        ),
        Panel(
            "CPU of a scrape, µs",
            "kB of the page",
            [
                _series(f"this exporter, {per_kilobyte:.2f} µs per kB", ours),
                _series("bare asyncio.Protocol", bare),
            ],
        ),
        Panel(
            "RSS after start, MB",
            "samples on the page",
            [_series(f"{per_thousand:.1f} MB per 1,000 samples", memory)],
        ),
    ]


def _points(measured: Measured, across: str, up: str, of: str = "this") -> list[Point]:
    """One point per case that has both figures; pages are this program's."""
    cases = [column.split(" | ", 1)[1] for column in measured[across]]
    return sorted(
        (
            statistics.median(measured[across][f"this | {case}"]),
            statistics.median(measured[up][f"{of} | {case}"]),
        )
        for case in cases
        if f"this | {case}" in measured[across] and f"{of} | {case}" in measured[up]
    )


def _series(name: str, points: Sequence[Point]) -> Series:
    return Series(name, points, fit(points))


def svg(drawn: Sequence[Panel], caption: str) -> str:
    """All panels side by side."""
    width, height = _WIDTH * len(drawn), _HEIGHT + 24
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}">',
        '<g font-family="sans-serif">',
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
    ]
    for index, panel in enumerate(drawn):
        lines += [f'<g transform="translate({index * _WIDTH} 0)">', *_panel(panel), "</g>"]
    lines += [_text(8, height - 8, caption, size=9), "</g>", "</svg>", ""]
    return "\n".join(lines)


def _panel(panel: Panel) -> Iterator[str]:
    points = [point for series in panel.series for point in series.points]
    right, top = (_ceiling(max(values)) for values in zip(*points))
    left, bottom = _MARGIN, _HEIGHT - _MARGIN
    across, up = _WIDTH - left - 24, bottom - 40

    def at(x: float, y: float) -> Point:
        return left + across * x / right, bottom - up * y / top

    yield _text(left, 20, panel.title, size=13)
    for step in range(5):
        x, y = at(right * step / 4, top * step / 4)
        yield f'<path d="M{left} {y:.1f}h{across}" stroke="#ddd"/>'
        yield _text(left - 6, y + 4, f"{top * step / 4:g}", anchor="end")
        yield _text(x, bottom + 16, f"{right * step / 4:g}", anchor="middle")
    yield _text(left + across / 2, bottom + 34, panel.x_name, anchor="middle")
    for index, (series, colour) in enumerate(zip(panel.series, _COLOURS)):
        last = max(x for x, _ in series.points)
        (x1, y1), (x2, y2) = (at(x, _at(series.line, x)) for x in (0.0, last))
        yield f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="{colour}" opacity="0.5"/>'
        for x, y in (at(*point) for point in series.points):
            yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>'
        yield _text(left + 8, 38 + 14 * index, series.name, colour=colour)


def _at(line: Line, x: float) -> float:
    return line.at_zero + line.slope * x


def _ceiling(value: float) -> float:
    """The round number at which an axis up to ``value`` ends; a quarter of it is round, too."""
    unit: float = 1.0
    while unit * 10 <= value:
        unit *= 10
    return next(unit * factor for factor in (1.2, 2, 4, 6, 8, 12) if unit * factor >= value)


def _text(
    x: float, y: float, text: str, *, size: int = 11, anchor: str = "start", colour: str = "#333"
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}"'
        f' fill="{colour}">{escape(text)}</text>'
    )


def main(source: str, target: str) -> None:
    """Draw what ``make bench`` saved."""
    saved: dict[str, Any] = json.loads(Path(source).read_text())
    Path(target).write_text(svg(panels(saved["measured"]), saved["about"][0]))


if __name__ == "__main__":
    main(*sys.argv[1:])
