"""Run the benchmark and print its table."""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.scraping import scrape
from tests.bench.subject import Case, Subject, running

from do_dcgm_exporter.counters import read_counter_set
from do_dcgm_exporter.fields import EntityLevel, ValueType, all_fields

_REPOSITORY = Path(__file__).resolve().parents[2]
_DEFAULT_COUNTERS = _REPOSITORY / "etc" / "do-dcgm-exporter" / "default-counters.csv"
_MANY_FIELDS = 168
_ROUNDS = 5
_ROUND_SECONDS = 2.0
_INTERVAL_MS = 100
_PORT = 19401

Row = tuple[str, str, Callable[[Subject], float]]


def main() -> int:
    """Measure every case and print a row per figure: median (least to most)."""
    with tempfile.TemporaryDirectory() as directory:
        many = Path(directory) / "many.csv"
        many.write_text(_many_counters())
        cases = (
            Case("8 GPUs, default set", "h100x8", _DEFAULT_COUNTERS),
            Case(f"hgx, {_MANY_FIELDS} fields", "hgx", many),
        )
        columns = {case.name: dict(_measure(case)) for case in cases}
    _print_table(columns)
    return 0


def _measure(case: Case) -> Iterator[tuple[str, str]]:
    print(f"measuring {case.name} …", file=sys.stderr)
    with running(case, _INTERVAL_MS, _PORT) as subject:
        for name, number_format, figure in _ROWS:
            values = [figure(subject) for _ in range(_ROUNDS)]
            low, middle, high = (
                number_format.format(value)
                for value in (min(values), statistics.median(values), max(values))
            )
            yield name, middle if low == high else f"{middle} ({low} to {high})"


def _print_table(columns: dict[str, dict[str, str]]) -> None:
    width = max(len(name) for name, _, _ in _ROWS)
    print(" " * width, *(f"{name:>28}" for name in columns))
    for name, _, _ in _ROWS:
        print(f"{name:{width}}", *(f"{column[name]:>28}" for column in columns.values()))


def _per_cycle(subject: Subject, used: Callable[[], float]) -> float:
    cycles, before = subject.cycles(), used()
    time.sleep(_ROUND_SECONDS)
    return (used() - before) / (subject.cycles() - cycles)


def _cpu_per_cycle(subject: Subject) -> float:
    return 1000 * _per_cycle(subject, subject.cpu_seconds)


def _calls_per_cycle(subject: Subject) -> float:
    name = "do_dcgm_exporter_engine_calls_total"
    return _per_cycle(subject, lambda: subject.metric(name))


def _samples(subject: Subject) -> float:
    return sum(1 for line in subject.page().splitlines() if not line.startswith("#"))


_ROWS: tuple[Row, ...] = (
    ("engine calls per cycle", "{:.0f}", _calls_per_cycle),
    ("CPU per cycle, ms", "{:.1f}", _cpu_per_cycle),
    ("samples on the page", "{:.0f}", _samples),
    ("page, kB", "{:.0f}", lambda subject: len(subject.page().encode()) / 1000),
    *(
        row
        for connections in (1, 4)
        for row in (
            (
                f"scrape p50, ms, {connections} conn.",
                "{:.2f}",
                lambda s, n=connections: 1000 * scrape(s.address, n, _ROUND_SECONDS).p50,
            ),
            (
                f"scrape p99, ms, {connections} conn.",
                "{:.2f}",
                lambda s, n=connections: 1000 * scrape(s.address, n, _ROUND_SECONDS).p99,
            ),
            (
                f"requests/s, {connections} conn.",
                "{:.0f}",
                lambda s, n=connections: scrape(s.address, n, _ROUND_SECONDS).per_second,
            ),
        )
    ),
    ("RSS, MB", "{:.1f}", Subject.resident_megabytes),
)


def _many_counters() -> str:
    """The default counters and enough further numeric fields to make up the number."""
    default = read_counter_set(_DEFAULT_COUNTERS, ())
    present = {counter.field.id for counter in default.counters if counter.field}
    further = [
        f"{field.id}, gauge, benchmark"
        for field in all_fields()
        if field.id not in present
        and field.value_type in (ValueType.INTEGER, ValueType.DOUBLE)
        and field.level in (EntityLevel.GPU, EntityLevel.SWITCH, EntityLevel.LINK)
        and not field.internal_only
    ]
    wanted = _MANY_FIELDS - len(present)
    return "\n".join([_DEFAULT_COUNTERS.read_text(), *further[:wanted]])


if __name__ == "__main__":
    sys.exit(main())
