"""What it costs Prometheus to scrape many hosts: ``python -m tests.bench.fleet``.

Measures the pages of several kinds of hosts, computes what fleets of 10, 1,000 and 100,000
GPUs cost, and checks the arithmetic on this machine: two of Debian's Prometheus servers
scrape 50 and 200 hosts of 8 GPUs for about ten minutes, and the cost of the first has to
predict that of the second. All traffic stays on the loopback interface.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

from tests.bench.cases import DEFAULT_COUNTERS, MACHINES, REPOSITORY, Case
from tests.bench.program import Program, programs
from tests.bench.prometheus import SCRAPE_INTERVAL, Running, prometheus
from tests.bench.replay import replaying
from tests.bench.sizing import (
    PageSize,
    Taken,
    check_table,
    figure_table,
    fleet_table,
    needs,
    page_table,
    storage_of,
)
from tests.bench.subject import get, running

GPUS = {"1 GPU": 1, "8 GPUs": 8, "56 MIG": 8, "hgx": 8}
TARGETS = 200
RECORDED_PAGES = 12
SAMPLES_PER_SERIES = 60
"""The mean number of samples that a series keeps in memory, from 0 to 120."""


def main() -> int:
    """Measure, print the tables, and keep the figures."""
    options = _options()
    with programs(None) as (program,):
        pages = [page_size(program, machine.name) for machine in MACHINES if machine.name in GPUS]
        recorded = record(program, RECORDED_PAGES)
    by_name = {page.machine: page for page in pages}
    eight = by_name["8 GPUs"]
    base, few, many = scrape(recorded, options.targets, options.minutes)
    storage = storage_of(base, many)
    fleets = [
        ("10 GPUs in 10 hosts", needs(10, by_name["1 GPU"], storage)),
        ("1,000 GPUs in 125 hosts", needs(125, eight, storage)),
        ("100,000 GPUs in 12,500 hosts", needs(12_500, eight, storage)),
    ]
    tables = (
        page_table(pages),
        fleet_table(fleets),
        figure_table(storage),
        check_table(eight, storage_of(base, few), few, many),
    )
    print(*("\n".join(table) + "\n" for table in tables), sep="\n")
    saved = {
        "pages": [asdict(page) for page in pages],
        "base_bytes": base,
        "taken": [asdict(few), asdict(many)],
    }
    options.save.write_text(json.dumps(saved, indent=1) + "\n")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.fleet", description=__doc__)
    parser.add_argument("--targets", type=int, default=TARGETS, help="hosts to replay")
    parser.add_argument(
        "--minutes", type=float, default=SAMPLES_PER_SERIES * SCRAPE_INTERVAL / 60,
        help="for how long to scrape them",
    )  # fmt: skip
    parser.add_argument("--save", type=Path, default=REPOSITORY / "build" / "fleet.json")
    return parser.parse_args()


# --- pages -------------------------------------------------------------------------------


def page_size(program: Program, machine: str) -> PageSize:
    """Measure the page of one kind of host, as served by the exporter."""
    _say(f"the page of {machine}")
    (found,) = [known for known in MACHINES if known.name == machine]
    with running(program, Case(found, "default", DEFAULT_COUNTERS)) as subject:
        page = get(subject.port)
        request = urllib.request.Request(
            f"http://127.0.0.1:{subject.port}/metrics", headers={"Accept-Encoding": "gzip"}
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            compressed = answer.read()
    samples = sum(not line.startswith(b"#") for line in page.splitlines())
    return PageSize(machine, GPUS[machine], samples, len(page), len(compressed))


def record(program: Program, count: int) -> list[bytes]:
    """Return successive pages of a host with 8 GPUs, one second apart."""
    _say(f"{count} successive pages")
    (eight,) = [machine for machine in MACHINES if machine.name == "8 GPUs"]
    case = Case(eight, "default", DEFAULT_COUNTERS)
    pages: list[bytes] = []
    with running(program, case, flags=["--collect-interval=1000"]) as subject:
        while len(pages) < count:
            page = get(subject.port)
            if page not in pages[-1:]:
                pages.append(page)
            time.sleep(0.3)
    return pages


# --- a real Prometheus -------------------------------------------------------------------


def scrape(pages: Sequence[bytes], targets: int, minutes: float) -> tuple[float, Taken, Taken]:
    """Return the memory of an idle Prometheus, and the cost of a quarter and of all hosts."""
    with ExitStack() as stack:
        port = stack.enter_context(replaying(pages, targets))
        idle, few, many = (
            stack.enter_context(prometheus(port, count)) for count in (0, targets // 4, targets)
        )
        started = time.monotonic()
        before = [busy.own("process_cpu_seconds_total") for busy in (few, many)]
        while (left := minutes * 60 - (time.monotonic() - started)) > 0:
            _say(f"{targets} targets are scraped for {left / 60:.0f} minutes more")
            time.sleep(min(left, 60))
        return (
            idle.resident_bytes(),
            taken(few, targets // 4, before[0]),
            taken(many, targets, before[1]),
        )


def taken(busy: Running, targets: int, cpu_before: float) -> Taken:
    """Return what a Prometheus has used so far."""
    series, samples, resident, cpu = (
        busy.own("prometheus_tsdb_head_series"),
        busy.own("prometheus_tsdb_head_samples_appended_total"),
        busy.resident_bytes(),
        busy.own("process_cpu_seconds_total"),
    )
    up, slowest = busy.value("sum(up)"), busy.value("max(scrape_duration_seconds)")
    blocks = busy.snapshot()
    return Taken(
        targets=targets,
        targets_up=int(up),
        series=int(series),
        samples=int(samples),
        resident_bytes=resident,
        chunk_bytes=_size(blocks, "*/chunks/*"),
        index_bytes=_size(blocks, "*/index"),
        cpu_seconds=cpu - cpu_before,
        slowest_scrape_seconds=slowest,
    )


def _size(directory: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in directory.glob(pattern))


def _say(text: str) -> None:
    print(f"fleet: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
