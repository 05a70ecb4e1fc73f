"""A web server and its clients, on real sockets."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Iterator
from typing import Any

from tests.builders import Clock
from tests.waiting import wait_until

from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.page.publication import Body, Health, Page, Publication
from do_dcgm_exporter.serve.http.connection import Limits
from do_dcgm_exporter.serve.server import MetricsServer

PATIENCE = 120  # seconds; only ever waited out by a failure
TEXT = b"# HELP up Whether it is.\n# TYPE up gauge\nup 1\n"
OPENMETRICS = b"up 1\n# EOF\n"
SCRAPE = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"
NOW = 1795766400.0  # 2026-11-27 08:00 UTC, the date of all answers
HUGE = b"a 1\n" * 4_000_000  # more than the kernel buffers for one connection


def page(text: bytes = TEXT, *, reason: str = "") -> Page:
    return Page(Body(text), Body(OPENMETRICS), b"", Health(not reason, reason))


class Harness:
    """A server and its clients, which speak TLS with ``trust``."""

    def __init__(
        self,
        server: MetricsServer,
        publication: Publication,
        clock: Clock,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.server = server
        self.publication = publication
        self._clock = clock
        self._trust = trust
        self._clients = contextlib.ExitStack()

    @property
    def speaks_tls(self) -> bool:
        """Whether clients speak TLS."""
        return self._trust is not None

    def connect(self, data: bytes = b"") -> socket.socket:
        """Connect and send ``data``."""
        address = ("127.0.0.1", self.server.port)
        client = self._clients.enter_context(socket.create_connection(address, PATIENCE))
        if self._trust is not None:
            tls = self._trust.wrap_socket(client, server_hostname="localhost")
            client = self._clients.enter_context(tls)
        client.sendall(data)
        return client

    def exchange(self, data: bytes) -> bytes:
        """Send ``data`` and nothing else; return everything that comes back."""
        with self.connect(data) as client:
            finish(client)
            return everything(client)

    def get(self, path: str = "/metrics", **headers: str) -> http.client.HTTPResponse:
        """Make one ordinary request."""
        return self.ask(f"GET {path}", **headers)

    def ask(self, what: str, **headers: str) -> http.client.HTTPResponse:
        lines = (f"{name.replace('_', '-')}: {value}" for name, value in headers.items())
        head = "\r\n".join((f"{what} HTTP/1.1", "Host: localhost", *lines, "\r\n"))
        return answer(self.connect(head.encode()), what.partition(" ")[0])

    def pass_time(self, seconds: float) -> None:
        """Advance the clock, after everything sent so far has been handled."""
        self.finish_turn()
        self._clock.now += seconds
        wait_until(lambda: self.server.is_alive(within=0), "the loop has turned")
        self.finish_turn()

    def finish_turn(self) -> None:
        """Wait until the server has nothing left to do."""
        self.exchange(SCRAPE.replace(b"/metrics", b"/-/healthy"))

    def close(self) -> None:
        self._clients.close()
        self.server.stop()


def answer(client: socket.socket, method: str = "GET") -> http.client.HTTPResponse:
    """Read one answer and its body."""
    response = http.client.HTTPResponse(client, method=method)
    response.begin()
    response.body = response.read()
    return response


def everything(client: socket.socket) -> bytes:
    """Read until the server hangs up, which it must."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while data := client.recv(1 << 20):
            received += data
    return received


def finish(client: socket.socket) -> None:
    """Close the sending side, and continue to read."""
    # Not the method of a TLS socket, which cannot read TLS after that.
    socket.socket.shutdown(client, socket.SHUT_WR)


@contextlib.contextmanager
def serving(
    limits: Limits | None = None,
    first: Page | None = None,
    trust: ssl.SSLContext | None = None,
    **options: Any,
) -> Iterator[Harness]:
    """Serve; clients speak TLS with ``trust``, if there is one."""
    clock = Clock()
    publication = Publication(first or page())
    address = ListenAddress("127.0.0.1", 0)
    options |= {"limits": limits or Limits(), "clock": clock, "heartbeat": 0.01}
    options.setdefault("unix_time", lambda: NOW)
    server = MetricsServer(address, publication, **options)
    server.start()
    harness = Harness(server, publication, clock, trust)
    try:
        yield harness
    finally:
        harness.close()
