"""Scrapes without end, and judges each answer: is it a page, and who made it slow?

A process of its own, ``python -m tests.soak.scraper PID PORT PAUSE``, so that nothing else of
the suite keeps it waiting. It tells what it found when its standard input ends.

On a busy machine a scrape is slow because the server had to wait for a CPU, or the scraper
had. The kernel knows how long each thread was ready and did not run; what is left of a
scrape's time without that is the exporter's own doing.
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
    """One scrape: when it began, its seconds, and those of them that are the exporter's doing."""

    at: float
    seconds: float
    own_seconds: float


@dataclass
class Found:
    """What a scraper has found: all scrapes, and what was wrong with any."""

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
        """Scrape no more, and tell."""
        told, _ = self._process.communicate()
        found = json.loads(told)
        return Found([Scrape(*scrape) for scrape in found["scrapes"]], found["complaints"])


class Scraping:
    """What the process does."""

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
        """Complain of what is no page; the same bytes again need no second look."""
        if body == self._judged:
            return
        self._judged = body
        try:
            Page(body.decode())
        except (AssertionError, UnicodeDecodeError) as error:
            self.complaints.append(f"not a page: {error}")

    def _waited(self) -> float:
        """Seconds for which this process and the exporter's threads were ready and did not run."""
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
    """Scrape until standard input ends, then tell."""
    scraping = Scraping(pid, port)
    while not select.select([sys.stdin], [], [], pause)[0]:
        scraping.scrape()
    json.dump({"scrapes": scraping.scrapes, "complaints": scraping.complaints}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
