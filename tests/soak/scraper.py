"""Scrapes without end, and judges each answer: is it a page, and who made it slow?

On a busy machine a scrape is slow because the server had to wait for a CPU, or the scraper
had. The kernel knows how long each thread was ready and did not run; what is left of a
scrape's time without that is the exporter's own doing.
"""

from __future__ import annotations

import http.client
import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.pages import Page


@dataclass(frozen=True)
class Scrape:
    """One scrape: when it began, its seconds, and those of them that are the exporter's doing."""

    at: float
    seconds: float
    own_seconds: float


@dataclass
class Scraper:
    """A thread that scrapes a port every ``pause`` seconds over one connection."""

    pid: int
    port: int
    pause: float = 0.01
    scrapes: list[Scrape] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    last_page: Page | None = None
    _judged: bytes = b""

    def __post_init__(self) -> None:
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Scraper:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def between(self, begin: float, end: float) -> list[Scrape]:
        """The scrapes that began in that time."""
        return [scrape for scrape in self.scrapes if begin <= scrape.at < end]

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stopped.wait(self.pause):
            try:
                if connection is None:
                    connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
                    connection.connect()
                body = self._scrape(connection)
            except OSError as error:
                self.complaints.append(f"a scrape fails: {error!r}")
                connection = None
                continue
            except http.client.HTTPException as error:
                self.complaints.append(f"not HTTP: {error!r}")
                connection = None
                continue
            self._judge(body)
        if connection is not None:
            connection.close()

    def _scrape(self, connection: http.client.HTTPConnection) -> bytes:
        waited = self._waited()
        began = time.monotonic()
        connection.request("GET", "/metrics")
        answer = connection.getresponse()
        body = answer.read()
        seconds = time.monotonic() - began
        if answer.status != 200:
            self.complaints.append(f"a scrape is answered {answer.status}")
        self.scrapes.append(Scrape(began, seconds, max(0.0, seconds - self._waited() + waited)))
        return body

    def _judge(self, body: bytes) -> None:
        if body == self._judged:
            return
        self._judged = body
        try:
            self.last_page = Page(body.decode())
        except (AssertionError, UnicodeDecodeError) as error:
            self.complaints.append(f"not a page: {error}")

    def _waited(self) -> float:
        """Seconds for which this thread and those of the exporter were ready and did not run."""
        own = Path(f"/proc/self/task/{threading.get_native_id()}/schedstat")
        tasks = Path(f"/proc/{self.pid}/task")
        try:
            theirs = [_run_delay(tasks / name / "schedstat") for name in os.listdir(tasks)]
        except FileNotFoundError:  # it has ended, or one of its threads has
            theirs = []
        return _run_delay(own) + sum(theirs)


def _run_delay(path: Path) -> float:
    try:
        return int(path.read_text().split()[1]) / 1e9
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
