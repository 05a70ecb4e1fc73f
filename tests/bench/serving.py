"""Measure the real program: its start, its memory, and its scrapes beside the yardsticks'."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from tests.bench.cases import Case
from tests.bench.figures import Column, Figures, Row, in_turns
from tests.bench.load import Way, put_load
from tests.bench.program import THIS, Program
from tests.bench.subject import (
    DEFAULT_INTERVAL_MS,
    Subject,
    cpu_seconds,
    free_port,
    get,
    running,
)
from tests.bench.yardsticks import KINDS, file_name

COMPARED = Way()
"""The way of scraping for which there are targets."""

EVERY_WAY = tuple(
    Way(connections, gzip, keep_alive)
    for keep_alive in (True, False)
    for gzip in (False, True)
    for connections in (1, 4, 64)
)

START_ROWS = (
    Row("start to first full page, s"),
    Row("start to profiling values, s"),
    Row("RSS after start, MB", "{:.1f}"),
)
AFTER_SCRAPES = Row("RSS after 10,000 scrapes, MB", "{:.1f}")
AFTER_SCRAPES_FORWARDING = Row("RSS after 10,000 scrapes, forwarding, MB", "{:.1f}")
IDLE = Row("idle CPU per minute, s", "{:.4f}")
IDLE_FORWARDING = Row("idle CPU per minute, forwarding, s", "{:.4f}")

_SCRAPES = 10_000


def rows_of(way: Way) -> list[Row]:
    """The rows of one way of scraping."""
    return [
        Row(f"{way.name}: requests/s", "{:.0f}"),
        Row(f"{way.name}: p50, ms", "{:.3f}"),
        Row(f"{way.name}: p99, ms", "{:.3f}"),
        Row(f"{way.name}: CPU per scrape, µs", "{:.1f}"),
        Row(f"{way.name}: errors", "{:.0f}"),
    ]


@dataclass(frozen=True)
class Server:
    """A server to be loaded, and the column of its figures."""

    column: Column
    pid: int
    port: int


def measure_starts(figures: Figures, programs: Sequence[Program], case: Case, rounds: int) -> None:
    """Start each program a number of times."""
    for turns in in_turns(programs, rounds):
        for program in turns:
            with running(program, case) as subject:
                _add_start(figures, (program.name, case.name), subject)


def measure_scrapes(
    figures: Figures,
    programs: Sequence[Program],
    case: Case,
    ways: Sequence[Way],
    rounds: int,
    kinds: Sequence[str] = KINDS,
) -> None:
    """Scrape programs and ``kinds`` of yardsticks in turns, in each of ``ways``."""
    with ExitStack() as stack:
        subjects = {p: stack.enter_context(running(p, case)) for p in programs}
        servers = [Server((p.name, case.name), s.pid, s.port) for p, s in subjects.items()]
        servers += [stack.enter_context(_yardstick(kind, case, subjects[THIS])) for kind in kinds]
        for way in ways:
            for turns in in_turns(servers, rounds):
                for server in turns:
                    _add_load(figures, server, way)
        for server, subject in zip(servers, subjects.values()):
            _add_start(figures, server.column, subject)


def measure_memory(
    figures: Figures, programs: Sequence[Program], case: Case, *, forwarding: bool
) -> None:
    """Scrape each program ten thousand times."""
    with _endpoint() as endpoint:
        for program in programs:
            url = endpoint if forwarding else ""
            with running(program, case, forward_url=url) as subject:
                _scrape_times(subject.port, _SCRAPES)
                row = AFTER_SCRAPES_FORWARDING if forwarding else AFTER_SCRAPES
                column = (program.name, case.name)
                figures.add(row.name, column, subject.resident_megabytes())


def measure_idling(
    figures: Figures,
    programs: Sequence[Program],
    cases: Sequence[Case],
    forwarding: Sequence[Case],
    minutes: int,
) -> None:
    """Leave all programs alone for some minutes, at the same time."""
    with _endpoint() as endpoint, ExitStack() as stack:
        idle: dict[tuple[str, Column], Subject] = {}
        for row, url, some in ((IDLE, "", cases), (IDLE_FORWARDING, endpoint, forwarding)):
            for program in programs:
                for case in some:
                    idle[row.name, (program.name, case.name)] = stack.enter_context(
                        running(program, case, forward_url=url)
                    )
        time.sleep(DEFAULT_INTERVAL_MS / 2000)  # away from the warm-up of the last one
        for _ in range(minutes):
            before = {name: subject.cpu_seconds() for name, subject in idle.items()}
            time.sleep(60.0)
            for (row_name, column), subject in idle.items():
                used = subject.cpu_seconds() - before[row_name, column]
                figures.add(row_name, column, used)


def _add_start(figures: Figures, column: Column, subject: Subject) -> None:
    figures.add("start to first full page, s", column, subject.until_full)
    figures.add("start to profiling values, s", column, subject.until_profiling)
    figures.add("RSS after start, MB", column, subject.resident_after_start)


def _add_load(figures: Figures, server: Server, way: Way) -> None:
    before = cpu_seconds(server.pid)
    load = put_load(server.port, way, seconds=1)
    cpu = cpu_seconds(server.pid) - before
    values = (
        load.per_second,
        1e3 * load.p50,
        1e3 * load.p99,
        1e6 * cpu / max(1, load.requests),
        load.errors,
    )
    for row, value in zip(rows_of(way), values):
        figures.add(row.name, server.column, value)


@contextmanager
def _yardstick(kind: str, case: Case, subject: Subject) -> Iterator[Server]:
    """Start a server that sends the present answers of ``subject``."""
    with tempfile.TemporaryDirectory() as directory:
        place, port = Path(directory), free_port()
        for way in EVERY_WAY:
            name = file_name(gzip=way.gzip, closes=not way.keep_alive)
            (place / name).write_bytes(_answer(subject.port, way))
        (place / "page").write_bytes(subject.page())
        process = THIS.start("tests.bench.yardsticks", kind, str(port), directory)
        try:
            _wait_until_listening(port, process)
            yield Server((kind, case.name), process.pid, port)
        finally:
            process.terminate()
            process.wait()


def _answer(port: int, way: Way) -> bytes:
    """One whole answer, with its head."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(way.request)
        received = bytearray()
        missing = 1
        while missing > 0:
            received += connection.recv(1 << 20)
            head, end, body = received.partition(b"\r\n\r\n")
            if end:
                length = head.lower().partition(b"content-length:")[2].split()[0]
                missing = int(length) - len(body)
    return bytes(received)


def _wait_until_listening(port: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        try:
            get(port)
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("a yardstick ended")


def _scrape_times(port: int, times: int) -> None:
    """Scrape a number of times, half of them compressed."""
    for way in (COMPARED, Way(gzip=True)):
        left = times // 2
        while left > 0:
            left -= put_load(port, way, 1).requests


@contextmanager
def _endpoint() -> Iterator[str]:
    """The URL of an endpoint on this machine that accepts every page."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        log_message: Callable[..., None] = lambda *_: None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1/gpu_metrics"
    finally:
        server.shutdown()
        server.server_close()
