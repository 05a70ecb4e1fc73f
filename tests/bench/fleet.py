"""What many hosts take of a Prometheus: ``python -m tests.bench.fleet``.

Measures the pages of several kinds of hosts, computes from them what fleets of 10, 1,000
and 100,000 GPUs take, and checks that on this machine: Debian's Prometheus scrapes 200
hosts of 8 GPUs for some ten minutes. All traffic stays on the loopback interface.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.cases import DEFAULT_COUNTERS, MACHINES, REPOSITORY, Case
from tests.bench.program import Program, programs
from tests.bench.replay import replaying
from tests.bench.sizing import Needs, PageSize, Storage, fleet_table, needs, page_table, readable
from tests.bench.subject import free_port, get, resident_megabytes, running

PROMETHEUS = REPOSITORY / "build" / "prometheus" / "usr" / "bin" / "prometheus"
GPUS = {"1 GPU": 1, "8 GPUs": 8, "56 MIG": 8, "hgx": 8}
TARGETS = 200
RECORDED_PAGES = 12
SAMPLES_PER_SERIES = 60
"""A series keeps 0 to 120 samples in memory before they go to disk: this is the mean."""
SCRAPE_INTERVAL = 10

CONFIG = """\
global: {scrape_interval: %ds, scrape_timeout: 9s}
scrape_configs:
- job_name: do-dcgm-exporter
  file_sd_configs: [{files: [targets.json]}]
"""


def main() -> int:
    """Measure, print both tables and the check, and keep the figures."""
    options = _options()
    with programs(None) as (program,):
        pages = [page_size(program, machine.name) for machine in MACHINES if machine.name in GPUS]
        recorded = record(program, RECORDED_PAGES)
    by_name = {page.machine: page for page in pages}
    storage, seen = measure_storage(recorded, options.targets, options.minutes)
    eight = by_name["8 GPUs"]
    fleets = [
        ("10 GPUs in 10 hosts", needs(10, by_name["1 GPU"], storage)),
        ("1,000 GPUs in 125 hosts", needs(125, eight, storage)),
        ("100,000 GPUs in 12,500 hosts", needs(12_500, eight, storage)),
    ]
    expected = needs(options.targets, eight, storage, SCRAPE_INTERVAL)
    print(*page_table(pages), "", *fleet_table(fleets), "", *check_lines(expected, seen), sep="\n")
    saved = {
        "pages": [asdict(page) for page in pages],
        "storage": asdict(storage),
        "seen": asdict(seen),
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
    """Measure the page of one kind of host, as the exporter serves it."""
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
    """Return so many successive pages of a host of 8 GPUs, one second apart."""
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


@dataclass(frozen=True)
class Seen:
    """What Prometheus said of itself after it had scraped all along."""

    targets_up: int
    series: int
    samples: int
    resident_bytes: float
    slowest_scrape_seconds: float
    scrape_interval_seconds: float
    """The mean between two scrapes of a target, which a busy machine makes longer."""


@dataclass(frozen=True)
class Running:
    """A running Prometheus."""

    port: int
    pid: int
    data: Path

    def value(self, expression: str) -> float:
        """The only value of an expression, 0 if there is none."""
        query = urllib.parse.urlencode({"query": expression})
        found = self._call(f"query?{query}")["result"]
        return float(found[0]["value"][1]) if found else 0.0

    def own(self, name: str) -> float:
        """A metric of its own, from its page."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=60) as page:
            text = page.read().decode()
        found = re.search(rf'(?m)^{name}(?:{{type="float"}})? (\S+)$', text)
        assert found, name
        return float(found[1])

    def snapshot(self) -> Path:
        """Let it write what it has in memory as blocks, and return where they are."""
        name = self._call("admin/tsdb/snapshot", method="POST")["name"]
        return self.data / "snapshots" / str(name)

    def resident_bytes(self) -> float:
        """Memory it has in use now."""
        return resident_megabytes(self.pid) * 1e6

    def _call(self, path: str, method: str = "GET") -> Any:
        url = f"http://127.0.0.1:{self.port}/api/v1/{path}"
        with urllib.request.urlopen(
            urllib.request.Request(url, method=method), timeout=600
        ) as answer:
            return json.load(answer)["data"]


@contextmanager
def prometheus(replay_port: int, targets: int) -> Iterator[Running]:
    """Start Debian's Prometheus on so many replayed hosts."""
    with tempfile.TemporaryDirectory() as name:
        directory, port = Path(name), free_port()
        (directory / "prometheus.yml").write_text(CONFIG % SCRAPE_INTERVAL)
        (directory / "targets.json").write_text(json.dumps(_targets(replay_port, targets)))
        process = subprocess.Popen(
            [
                PROMETHEUS,
                f"--config.file={directory / 'prometheus.yml'}",
                f"--storage.tsdb.path={directory / 'data'}",
                f"--web.listen-address=127.0.0.1:{port}",
                "--web.enable-admin-api",
                "--log.level=error",
            ]
        )
        try:
            _wait_until_it_listens(port, process)
            yield Running(port, process.pid, directory / "data")
        finally:
            process.terminate()
            process.wait()


def _targets(port: int, count: int) -> list[dict[str, Any]]:
    return [
        {
            "targets": [f"127.0.0.1:{port}"],
            "labels": {
                "__metrics_path__": f"/{host}/metrics",
                "instance": f"gpu-host-{host:05d}",
                "region": "tor1",
            },
        }
        for host in range(count)
    ]


def measure_storage(pages: Sequence[bytes], targets: int, minutes: float) -> tuple[Storage, Seen]:
    """Let a Prometheus scrape replayed hosts, and tell what it takes."""
    with replaying(pages, targets) as port:
        with prometheus(port, 0) as idle:
            time.sleep(20)
            base = idle.resident_bytes()
        with prometheus(port, targets) as busy:
            started, cpu = time.monotonic(), busy.own("process_cpu_seconds_total")
            while (left := minutes * 60 - (time.monotonic() - started)) > 0:
                _say(f"{targets} targets are scraped for {left / 60:.0f} minutes more")
                time.sleep(min(left, 60))
            resident = busy.resident_bytes()
            series = busy.own("prometheus_tsdb_head_series")
            samples = busy.own("prometheus_tsdb_head_samples_appended_total")
            cpu = busy.own("process_cpu_seconds_total") - cpu
            seen = Seen(
                targets_up=int(busy.value("sum(up)")),
                series=int(series),
                samples=int(samples),
                resident_bytes=resident,
                slowest_scrape_seconds=busy.value("max(scrape_duration_seconds)"),
                scrape_interval_seconds=(time.monotonic() - started) * series / samples,
            )
            blocks = busy.snapshot()
            chunks = _size(blocks, "*/chunks/*")
            index = _size(blocks, "*/index")
    storage = Storage(
        base_bytes=base,
        bytes_per_series=(resident - base) / series,
        chunk_bytes_per_sample=chunks / samples,
        index_bytes_per_series=index / series,
        cpu_seconds_per_sample=cpu / samples,
    )
    return storage, seen


def check_lines(expected: Needs, seen: Seen) -> list[str]:
    """Return what was computed beside what was seen."""
    return [
        f"{seen.targets_up} of {expected.hosts} targets up",
        f"{expected.series:,} series computed, {seen.series:,} seen",
        f"{seen.samples:,} samples in memory that is {readable(seen.resident_bytes)}",
        f"a scrape every {seen.scrape_interval_seconds:.1f} s",
        f"{seen.slowest_scrape_seconds:.2f} s for the slowest of the last scrapes",
    ]


def _size(directory: Path, pattern: str) -> int:
    return sum(path.stat().st_size for path in directory.glob(pattern))


def _wait_until_it_listens(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except OSError:
            time.sleep(0.1)  # not yet
        else:
            return
    raise RuntimeError("Prometheus did not start")


def _say(text: str) -> None:
    print(f"fleet: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
