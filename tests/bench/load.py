"""Load for a server: wrk if available, else clients in Python."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cases import REPOSITORY
from tests.bench.figures import percentile
from tests.bench.python_clients import scrape

# Where tools/get-wrk unpacks it, with its library.
_UNPACKED = REPOSITORY / "build" / "wrk" / "usr"
_UNITS = {"us": 1e-6, "ms": 1e-3, "s": 1.0}


@dataclass(frozen=True)
class Way:
    """A way of scraping."""

    connections: int = 4
    gzip: bool = False
    keep_alive: bool = True

    @property
    def name(self) -> str:
        """Its name in figures."""
        parts = [f"{self.connections} conn."]
        parts += ["gzip"] * self.gzip + ["closing"] * (not self.keep_alive)
        return ", ".join(parts)

    @property
    def headers(self) -> list[str]:
        """The headers of its requests."""
        return ["Accept-Encoding: gzip"] * self.gzip + ["Connection: close"] * (not self.keep_alive)

    @property
    def request(self) -> bytes:
        """The whole request."""
        lines = ["GET /metrics HTTP/1.1", "Host: bench", *self.headers, "\r\n"]
        return "\r\n".join(lines).encode()


@dataclass(frozen=True)
class Load:
    """The clients' measurements: seconds, and number of requests."""

    p50: float
    p99: float
    requests: int
    seconds: float
    errors: int = 0

    @property
    def per_second(self) -> float:
        """Requests a second."""
        return self.requests / self.seconds


def put_load(port: int, way: Way, seconds: int) -> Load:
    """Scrape as fast as answers come."""
    wrk = _wrk()
    if wrk is None:
        return _python_load(port, way, seconds)
    headers = [part for header in way.headers for part in ("-H", header)]
    ran = subprocess.run(
        [
            *(str(wrk), "-t1", f"-c{way.connections}", f"-d{seconds}s", "--latency"),
            *(*headers, f"http://127.0.0.1:{port}/metrics"),
        ],
        check=True,
        capture_output=True,
        text=True,
        env=os.environ | {"LD_LIBRARY_PATH": str(next(_UNPACKED.glob("lib/*-linux-*"), ""))},
    )
    return read_wrk(ran.stdout)


def loader() -> str:
    """The program that makes the load."""
    return "Python clients, which are slower than the servers" if _wrk() is None else "wrk"


def read_wrk(report: str) -> Load:
    """Parse wrk's report with ``--latency``."""
    requests, seconds = _found(r"(\d+) requests in ([\d.]+)(us|ms|s)", report)
    errors = sum(map(int, re.findall(r"(?:connect|read|write|timeout) (\d+)", report)))
    errors += sum(map(int, re.findall(r"Non-2xx or 3xx responses: (\d+)", report)))
    (p50,), (p99,) = (_found(rf"{n}%\s+([\d.]+)(us|ms|s)\b", report) for n in (50, 99))
    return Load(p50, p99, int(requests), seconds, errors)


def _found(pattern: str, report: str) -> list[float]:
    """The numbers of a match, the last one with its unit."""
    match = re.search(pattern, report)
    if match is None:
        raise ValueError(f"no {pattern} in wrk's report:\n{report}")
    *numbers, last, unit = match.groups()
    return [*map(float, numbers), float(last) * _UNITS[unit]]


def _wrk() -> Path | None:
    unpacked = _UNPACKED / "bin" / "wrk"
    installed = shutil.which("wrk")
    if unpacked.exists():
        return unpacked
    return Path(installed) if installed else None


def _python_load(port: int, way: Way, seconds: int) -> Load:
    started = time.perf_counter()
    durations = scrape(port, way.connections, seconds, way.request)
    elapsed = min(float(seconds), time.perf_counter() - started)
    return Load(percentile(durations, 0.5), percentile(durations, 0.99), len(durations), elapsed)
