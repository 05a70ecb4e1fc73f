"""Scrape continuously, and judge each answer: is it a valid page, and what made it slow?

It is a separate process, ``python -m tests.soak.scraper PID PORT PAUSE``, so that nothing else
in the suite delays it. It reports when its standard input is closed.

On a busy machine, a scrape is slow because the server or the scraper had to wait for a CPU. The
kernel counts how long each thread was ready but not running; the rest of a scrape's time is
charged to the exporter.
"""

from __future__ import annotations

import http.client
import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.exporter import ROOT, environment
from tests.e2e.pages import Page


@dataclass(frozen=True)
class Scrape:
    """One scrape: when it began, how long it took, and how much of that is the exporter's."""

    at: float
    seconds: float
    own_seconds: float


@dataclass
class Found:
    """The report of a scraper: all scrapes, and complaints about them."""

    scrapes: list[Scrape] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def between(self, begin: float, end: float) -> list[Scrape]:
        """The scrapes that began in that time of the monotonic clock."""
        return [scrape for scrape in self.scrapes if begin <= scrape.at < end]


class Scraper:
    """A process that scrapes a port every ``pause`` seconds over one connection."""

    def __init__(self, pid: int, port: int, pause: float = 0.01) -> None:
        command = [sys.executable, "-m", "tests.soak.scraper", str(pid), str(port), str(pause)]
        self._process = subprocess.Popen(
            command, cwd=ROOT, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def __enter__(self) -> Scraper:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def end(self) -> Found:
        """Stop scraping, and return the report."""
        told, _ = self._process.communicate()
        found = json.loads(told)
        return Found([Scrape(*scrape) for scrape in found["scrapes"]], found["complaints"])


class Scraping:
    """The work of the process."""

    def __init__(self, pid: int, port: int) -> None:
        self._tasks = Path(f"/proc/{pid}/task")
        self._port = port
        self._connection: http.client.HTTPConnection | None = None
        self._judged = b""
        self.scrapes: list[tuple[float, float, float]] = []
        self.complaints: list[str] = []

    def scrape(self) -> None:
        """Scrape once and judge the answer."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
                self._connection.connect()
            body = self._ask(self._connection)
        except (OSError, http.client.HTTPException) as error:
            self.complaints.append(f"a scrape fails: {error!r}")
            self._connection = None
        else:
            self.judge(body)

    def _ask(self, connection: http.client.HTTPConnection) -> bytes:
        waited = self._waited()
        began = time.monotonic()
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read()
        seconds = time.monotonic() - began
        if answer.status != 200:
            self.complaints.append(f"a scrape is answered {answer.status}")
        self.scrapes.append((began, seconds, max(0.0, seconds - self._waited() + waited)))
        return body

    def judge(self, body: bytes) -> None:
        """Complain about an invalid page; the same bytes are only parsed once."""
        if body == self._judged:
            return
        self._judged = body
        try:
            Page(body.decode())
        except (AssertionError, UnicodeDecodeError) as error:
            self.complaints.append(f"not a page: {error}")

    def _waited(self) -> float:
        """Seconds for which this process and the exporter's threads were ready but not running."""
        try:
            theirs = [_run_delay(self._tasks / name) for name in os.listdir(self._tasks)]
        except FileNotFoundError:
            theirs = []  # it has ended
        return _run_delay(Path("/proc/self")) + sum(theirs)


def _run_delay(task: Path) -> float:
    try:
        return int((task / "schedstat").read_text().split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def main(pid: int, port: int, pause: float) -> None:
    """Scrape until standard input is closed, then report."""
    scraping = Scraping(pid, port)
    while not select.select([sys.stdin], [], [], pause)[0]:
        scraping.scrape()
    json.dump({"scrapes": scraping.scrapes, "complaints": scraping.complaints}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
