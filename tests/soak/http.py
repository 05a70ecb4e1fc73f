"""Abuse the web server while Prometheus scrapes it: ``python -m tests.soak.http --help``.

It fails if one of Prometheus' scrapes fails, if an answer is invalid, if the log has an
error, or if memory grows. A request with a wrong answer is printed; the same seed repeats
it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import resource
import socket
import ssl
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from tests.bench.subject import resident_megabytes
from tests.certificates import Authority
from tests.e2e.conftest import Stage
from tests.e2e.exporter import Exporter
from tests.e2e.prometheus import BIN, Prometheus
from tests.soak.http_crowd import Crowd
from tests.soak.http_shapes import (
    Expected,
    Shape,
    broken_handshake,
    complaint,
    random_shape,
    written_shapes,
)
from tests.waiting import wait_until

_CLIENTS = 4
_PATIENCE = 60.0  # seconds; only ever waited out by a failure
_WARM_UP = 2000  # requests after which memory should no longer grow
_MOST_GROWTH = 8.0  # megabytes
_BROKEN_HANDSHAKES = 0.1  # of the requests through TLS


@dataclass
class Outcome:
    """The outcome."""

    requests: Counter[str] = field(default_factory=Counter)
    visits: Counter[str] = field(default_factory=Counter)
    complaints: list[str] = field(default_factory=list)
    repeated: int = 0
    scrapes: float = 0.0
    slowest_scrape: float = 0.0
    megabytes: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Resident memory: after the warm-up, at most, at the end."""
    descriptors: int = 0
    seconds: float = 0.0

    def lines(self) -> Iterator[str]:
        """Yield the figures."""
        yield f"requests: {self.requests.total()} in {self.seconds:.0f} s"
        yield "  " + ", ".join(f"{kind} {count}" for kind, count in sorted(self.requests.items()))
        yield f"  {self.repeated} of them sent twice: a crowd may push a client out once"
        yield f"connections of {len(self.visits)} kinds of slow clients: {self.visits.total()}"
        yield f"scrapes of Prometheus: {self.scrapes:.0f}, none failed, the slowest took"
        yield f"  {self.slowest_scrape * 1000:.0f} ms"
        after, most, end = self.megabytes
        yield f"resident memory: {after:.1f} MB after {_WARM_UP} requests, {most:.1f} MB at most,"
        yield f"  {end:.1f} MB at the end; open files at most: {self.descriptors}"


class Wire:
    """Sends shapes to an exporter, each on a connection of its own."""

    def __init__(self, exporter: Exporter) -> None:
        self._address = ("127.0.0.1", exporter.port)
        self._trust = exporter.trust

    def exchange(self, shape: Shape, cuts: Sequence[int] = ()) -> bytes:
        """Send ``shape`` in pieces and nothing else; return everything that comes back."""
        received = b""
        with contextlib.ExitStack() as stack:
            client = stack.enter_context(socket.create_connection(self._address, _PATIENCE))
            # The server may answer and hang up before it has received everything.
            with contextlib.suppress(OSError):
                if self._trust is not None and not shape.is_handshake:
                    wrapped = self._trust.wrap_socket(client, server_hostname="localhost")
                    client = stack.enter_context(wrapped)
                for begin, end in zip((0, *cuts), (*cuts, len(shape.data))):
                    client.sendall(shape.data[begin:end])
                socket.socket.shutdown(client, socket.SHUT_WR)
            with contextlib.suppress(ConnectionError, ssl.SSLError):
                while data := client.recv(1 << 20):
                    received += data
        return received


def abuse(
    exporter: Exporter, prometheus: Prometheus | None, *, requests: int, crowd: int, seed: int
) -> Outcome:
    """Send every written shape and ``requests`` made-up ones amid a crowd."""
    source, outcome, wire = random.Random(seed), Outcome(), Wire(exporter)
    pid, started = exporter.process.pid, time.monotonic()
    most = after_warm_up = 0.0

    def send(task: tuple[Shape, list[int]]) -> None:
        shape, cuts = task
        wrong = complaint(shape, wire.exchange(shape, cuts))
        outcome.requests[shape.kind] += 1
        if wrong and crowd and shape.expected is Expected.SERVED:
            # In a crowd, a client may be disconnected before it has asked; it then asks again.
            outcome.repeated += 1
            wrong = complaint(shape, wire.exchange(shape))
        if wrong:
            outcome.complaints.append(f"{shape.kind}: {wrong}: {shape.data[:200]!r} {cuts}")

    with Crowd(exporter.port, crowd, seed) as clients, ThreadPoolExecutor(_CLIENTS) as pool:
        tasks = _tasks(source, requests, exporter.trust)
        while batch := list(islice(tasks, 500)):
            list(pool.map(send, batch))
            resident = resident_megabytes(pid)
            if not after_warm_up and outcome.requests.total() >= min(_WARM_UP, requests):
                after_warm_up = resident
            most = max(most, resident)
            outcome.descriptors = max(outcome.descriptors, exporter.descriptors())
        outcome.visits = clients.visits
    outcome.seconds = time.monotonic() - started
    outcome.megabytes = (after_warm_up, most, resident_megabytes(pid))
    if most - after_warm_up > _MOST_GROWTH:
        outcome.complaints.append(f"memory grew from {after_warm_up:.1f} to {most:.1f} MB")
    if "Traceback" in exporter.log() or "ERROR" in exporter.log():
        outcome.complaints.append("the log tells of an error")
    if prometheus is not None:
        _judge_scrapes(prometheus, outcome)
    return outcome


def _tasks(
    source: random.Random, requests: int, trust: ssl.SSLContext | None
) -> Iterator[tuple[Shape, list[int]]]:
    """Yield the shapes, and where each is cut into pieces; with TLS, some break that."""
    for shape in written_shapes():
        yield shape, []
    for _ in range(requests):
        if trust is not None and source.random() < _BROKEN_HANDSHAKES:
            shape = broken_handshake(source, trust)
        else:
            shape = random_shape(source)
        most = min(3, len(shape.data))
        yield (
            shape,
            sorted(source.randint(0, len(shape.data)) for _ in range(source.randint(0, most))),
        )


def _judge_scrapes(prometheus: Prometheus, outcome: Outcome) -> None:
    def value(expression: str) -> float:
        return prometheus.query(expression)[0][1]

    since = f"[{max(2.0, outcome.seconds):.0f}s]"
    outcome.scrapes = value(f"sum(count_over_time(up{since}))")
    outcome.slowest_scrape = value(f"max(max_over_time(scrape_duration_seconds{since}))")
    failed = outcome.scrapes - value(f"sum(sum_over_time(up{since}))")
    if failed:
        outcome.complaints.append(f"{failed:.0f} scrapes of Prometheus failed")


@contextlib.contextmanager
def scraping(exporter: Exporter, directory: Path, authority: Authority) -> Iterator[Prometheus]:
    """Have Prometheus scrape the exporter every two seconds."""
    target: dict[str, object] = {
        "job_name": "gpus",
        "static_configs": [{"targets": [f"127.0.0.1:{exporter.port}"]}],
    }
    if exporter.trust is not None:
        tls = {"ca_file": str(authority.certificate), "server_name": "localhost"}
        target |= {"scheme": "https", "tls_config": tls}
    times = {"scrape_interval": "2s", "scrape_timeout": "2s"}
    config = json.dumps({"global": times, "scrape_configs": [target]})
    with Prometheus(directory, config) as prometheus:
        wait_until(lambda: prometheus.scrapes(1), "Prometheus scrapes")
        yield prometheus


@contextlib.contextmanager
def subject(directory: Path, authority: Authority, *, tls: bool) -> Iterator[Exporter]:
    """Run an exporter with values, and with TLS if asked for."""
    with Stage(directory) as stage:
        settings: dict[str, Path] = {}
        if tls:
            pair = authority.server("soak")
            web = directory / "web.yml"
            web.write_text(
                f"tls_server_config: {{cert_file: {pair.certificate}, key_file: {pair.key}}}\n"
            )
            settings["web_config_file"] = web
        engine = stage.engine("h100x1")
        exporter = stage.exporter(engine, collect_interval=1000, **settings)
        exporter.trust = authority.trust() if tls else None
        exporter.wait_until_up()
        yield exporter


def allow_many_files() -> None:
    """Raise the limit of open files, for a thousand clients."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.http", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000, help="made-up requests")
    parser.add_argument("--crowd", type=int, default=1000, help="slow clients all the while")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1_000_000)
    parser.add_argument("--tls", action="store_true", help="the same through TLS")
    options = parser.parse_args()
    allow_many_files()
    print(f"seed {options.seed}", flush=True)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        authority = Authority(directory)
        with (
            subject(directory, authority, tls=options.tls) as exporter,
            scraping(exporter, directory, authority)
            if (BIN / "prometheus").exists()
            else contextlib.nullcontext() as prometheus,
        ):
            outcome = abuse(
                exporter,
                prometheus,
                requests=options.requests,
                crowd=options.crowd,
                seed=options.seed,
            )
    print(*outcome.lines(), *outcome.complaints[:20], sep="\n")
    return 1 if outcome.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
