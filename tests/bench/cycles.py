"""Measure cycles: their time and its parts, their calls, and the memory of thousands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

from tests.bench.cases import Case
from tests.bench.figures import Figures, Row, in_turns
from tests.bench.program import Program
from tests.bench.subject import engine_for, options_for

_PARTS = ("engine calls", "decoding", "building", "own metrics", "rendering", "the rest")

ROWS = (
    Row("cycle wall, ms"),
    Row("cycle CPU, ms"),
    *(Row(f"  {part}, ms") for part in _PARTS),
    Row("  compressing, if asked for, ms"),
    Row("cycle CPU per sample, µs", "{:.1f}"),
    Row("engine calls per cycle", "{:.1f}"),
    Row("samples", "{:.0f}"),
    Row("page, kB", "{:.1f}"),
    Row("page compressed, kB", "{:.1f}"),
)
LASTING_ROWS = (
    Row("RSS of 100 cycles, MB", "{:.1f}"),
    Row("RSS of 10,000 cycles, MB", "{:.1f}"),
)


class Worker:
    """A process that runs cycles on demand."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, order: str) -> dict[str, Any]:
        """Run for some seconds or, with an ``n``, some cycles."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(order, file=self._process.stdin, flush=True)
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told


@contextmanager
def worker(program: Program, case: Case) -> Iterator[Worker]:
    """Start engine and worker, stop both."""
    with engine_for(case) as engine:
        process = program.start(
            "tests.bench.cycle_worker",
            "--no-forward",
            *options_for(case, engine),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            yield Worker(process)
            assert process.stdin is not None
            process.stdin.close()


def measure(
    figures: Figures, programs: Sequence[Program], case: Case, rounds: int, seconds: float
) -> None:
    """Run cycles of all programs in turns."""
    with ExitStack() as stack:
        workers = {p.name: stack.enter_context(worker(p, case)) for p in programs}
        for turns in in_turns(workers.items(), rounds):
            for name, one in turns:
                _add(figures, (name, case.name), one.run(str(seconds)))


def measure_lasting(figures: Figures, programs: Sequence[Program], case: Case) -> None:
    """Run ten thousand cycles of each program."""
    for program in programs:
        with worker(program, case) as one:
            for row, order in zip(LASTING_ROWS, ("100n", "9900n")):
                figures.add(row.name, (program.name, case.name), one.run(order)["resident"])


def _add(figures: Figures, column: tuple[str, str], told: dict[str, Any]) -> None:
    cpu = sum(told["cpu"].values())
    figures.add("cycle wall, ms", column, 1e3 * sum(told["wall"].values()))
    figures.add("cycle CPU, ms", column, 1e3 * cpu)
    for part in _PARTS:
        figures.add(f"  {part}, ms", column, 1e3 * told["cpu"].get(part, 0.0))
    figures.add("  compressing, if asked for, ms", column, 1e3 * told["compressing"])
    figures.add("cycle CPU per sample, µs", column, 1e6 * cpu / told["samples"])
    figures.add("engine calls per cycle", column, told["calls"])
    figures.add("samples", column, told["samples"])
    figures.add("page, kB", column, told["bytes"] / 1000)
    figures.add("page compressed, kB", column, told["gzip_bytes"] / 1000)
