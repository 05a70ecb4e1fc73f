"""Measure, and print the table: ``python -m tests.bench --help``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from tests.bench import cycles, serving
from tests.bench.cases import REPOSITORY, Case, all_cases
from tests.bench.figures import Figures, Row, cell, table
from tests.bench.load import loader
from tests.bench.program import Program, checkout, programs, revision
from tests.bench.yardsticks import KINDS

_PARTS = ("cycles", "starts", "scrapes", "ways", "lasting", "idle")
_MAIN = "8 GPUs, default"

_ROWS = (
    *cycles.ROWS,
    *serving.START_ROWS,
    *(row for way in serving.EVERY_WAY for row in serving.rows_of(way)),
    serving.AFTER_SCRAPES,
    serving.AFTER_SCRAPES_FORWARDING,
    *cycles.LASTING_ROWS,
    serving.IDLE,
    serving.IDLE_FORWARDING,
)


def main() -> int:
    """Run the command."""
    options = _options()
    started = time.monotonic()
    figures = Figures()
    with tempfile.TemporaryDirectory() as directory, programs(options.base) as compared:
        cases = [c for c in all_cases(Path(directory)) if re.search(options.columns, c.name)]
        for part in options.parts:
            _MEASURES[part](figures, compared, cases, options)
    names = [program.name for program in compared]
    told = _about(options, time.monotonic() - started)
    print(*told, *_lines(figures, names, cases), sep="\n")
    _save(options.save, told, figures)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--base", metavar="REVISION", help="measure this git revision in turns")
    parser.add_argument("--full", action="store_true", help="everything in every column")
    parser.add_argument("--parts", type=_parts, default=_PARTS, help=f"of {','.join(_PARTS)}")
    parser.add_argument("--columns", default="", metavar="PATTERN", help="only these columns")
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each figure")
    parser.add_argument("--save", type=Path, default=REPOSITORY / "build" / "bench.json")
    return parser.parse_args()


def _parts(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(","))
    if unknown := set(chosen) - set(_PARTS):
        raise argparse.ArgumentTypeError(f"there is no {', '.join(sorted(unknown))}")
    return chosen


# What is measured


def _cycles(
    figures: Figures, compared: Sequence[Program], cases: Sequence[Case], o: argparse.Namespace
) -> None:
    for case in cases:
        _say(f"cycles of {case.name}")
        cycles.measure(figures, compared, case, o.rounds, seconds=2.0 if o.full else 0.6)


def _starts(
    figures: Figures, compared: Sequence[Program], cases: Sequence[Case], o: argparse.Namespace
) -> None:
    for case in cases:
        if o.full or case.name == _MAIN:
            _say(f"starts of {case.name}")
            serving.measure_starts(figures, compared, case, o.rounds)


def _scrapes(
    figures: Figures, compared: Sequence[Program], cases: Sequence[Case], o: argparse.Namespace
) -> None:
    for case in cases:
        _say(f"scrapes of {case.name}")
        thorough = o.full or case.name == _MAIN
        rounds, kinds = (2 * o.rounds, KINDS) if thorough else (2, KINDS[:1])
        serving.measure_scrapes(figures, compared, case, [serving.COMPARED], rounds, kinds)


def _ways(
    figures: Figures, compared: Sequence[Program], cases: Sequence[Case], o: argparse.Namespace
) -> None:
    ways = [way for way in serving.EVERY_WAY if way != serving.COMPARED]
    for case in cases:
        if o.full or case.name == _MAIN:
            _say(f"other ways of scraping {case.name}")
            rounds = o.rounds if o.full else 2
            serving.measure_scrapes(figures, compared, case, ways, rounds, KINDS[:1])


def _lasting(
    figures: Figures, compared: Sequence[Program], cases: Sequence[Case], o: argparse.Namespace
) -> None:
    for case in cases:
        if o.full or case.name == _MAIN:
            _say(f"memory of {case.name}")
            serving.measure_memory(figures, compared, case, forwarding=False)
            serving.measure_memory(figures, compared, case, forwarding=True)
            cycles.measure_lasting(figures, compared, case)


def _idle(
    figures: Figures, compared: Sequence[Program], cases: Sequence[Case], o: argparse.Namespace
) -> None:
    _say("idling")
    forwarding = cases if o.full else [case for case in cases if case.name == _MAIN]
    serving.measure_idling(figures, compared, cases, forwarding, minutes=3 if o.full else 1)


_MEASURES: dict[
    str, Callable[[Figures, Sequence[Program], Sequence[Case], argparse.Namespace], None]
] = dict(zip(_PARTS, (_cycles, _starts, _scrapes, _ways, _lasting, _idle)))


# The report


def _about(options: argparse.Namespace, seconds: float) -> list[str]:
    compared = f", compared with base = {revision(options.base)}" if options.base else ""
    measured = (
        f"do-dcgm-exporter {checkout()}{compared}; measured for {seconds / 60:.1f} minutes on"
        f" {os.cpu_count()} cores of {_processor()} with Python {platform.python_version()}"
        f" and {loader()} for load"
    )
    return [measured, "medians of several rounds, ± half the range between least and most"]


def _processor() -> str:
    match = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return match.group(1) if match else platform.machine()


def _lines(figures: Figures, names: Sequence[str], cases: Sequence[Case]) -> Iterable[str]:
    yield ""
    if len(names) == 1:
        yield from table(_ROWS, {case.heading: _column(figures, "this", case) for case in cases})
    else:
        yield from table(_ROWS, dict(_compared_columns(figures, cases)))
    yield from _yardstick_lines(figures, cases)


def _column(figures: Figures, name: str, case: Case) -> Callable[[Row], str]:
    return lambda row: cell(figures.of(row.name, (name, case.name)), row.number_format)


def _compared_columns(
    figures: Figures, cases: Sequence[Case]
) -> Iterable[tuple[tuple[str, ...], Callable[[Row], str]]]:
    for case in cases:
        for name in ("base", "this"):
            yield (*case.heading, name), _column(figures, name, case)
        yield (*case.heading, "this/base"), _ratio(figures, "this", "base", case)


def _ratio(figures: Figures, one: str, other: str, case: Case) -> Callable[[Row], str]:
    return lambda row: cell(
        figures.ratios(row.name, (one, case.name), (other, case.name)), "{:.3f}"
    )


def _yardstick_lines(figures: Figures, cases: Sequence[Case]) -> Iterable[str]:
    """The same scrapes of the yardsticks, and this program relative to the bare protocol."""
    rows = [row for way in serving.EVERY_WAY for row in serving.rows_of(way)]
    for case in cases:
        kinds = [k for k in KINDS if any(figures.of(row.name, (k, case.name)) for row in rows)]
        if kinds:
            columns = {(name,): _column(figures, name, case) for name in ("this", *kinds)}
            columns["this/bare",] = _ratio(figures, "this", "bare", case)
            yield from ("", f"{case.name}, beside the yardsticks", *table(rows, columns))


def _save(path: Path, about: Sequence[str], figures: Figures) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    measured = {
        row: {" | ".join(column): values for column, values in columns.items()}
        for row, columns in figures.measured.items()
    }
    path.write_text(json.dumps({"about": about, "measured": measured}, indent=1))


def _say(what: str) -> None:
    print(f"measuring {what} …", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
