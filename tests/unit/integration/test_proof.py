"""Whether an exporter came back: what is waited for, and for how long."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.unit.integration.conftest import UNIT, Machine

from do_dcgm_exporter.integration.changing.proof import Watched
from do_dcgm_exporter.integration.looking.exporters import find_unit_exporters
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.scrape import Served, scrape
from do_dcgm_exporter.integration.looking.systemd import Systemd

Answer = tuple[int, bytes]
METRICS: Answer = (200, b"# HELP x\nDCGM_FI_DEV_GPU_TEMP 42\n")
EMPTY: Answer = (200, b"")
Serve = Callable[[list[Answer]], int]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Serve the first of some answers on a port of its own."""
    servers: list[http.server.HTTPServer] = []

    def start(answers: list[Answer]) -> int:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(answers[0][0])
                self.end_headers()
                self.wfile.write(answers[0][1])

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return int(server.server_address[1])

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("answer", "served"),
    [
        (METRICS, Served.METRICS),
        (EMPTY, Served.EMPTY_PAGE),
        ((200, b"# HELP x\n\n"), Served.EMPTY_PAGE),
        ((401, b""), Served.METRICS),
        ((500, b"internal server error"), Served.NOTHING),
        ((404, b""), Served.NOTHING),
    ],
)
def test_what_is_served(serve: Serve, answer: Answer, served: Served) -> None:
    assert served is scrape("127.0.0.1", serve([answer]), tls=False)


def test_a_page_without_tls_is_nothing_to_who_expects_it(serve: Serve) -> None:
    assert Served.NOTHING is scrape("127.0.0.1", serve([METRICS]), tls=True)


class Clock:
    """Time that passes by sleeping."""

    now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, _seconds: float) -> None:
        self.now += 10.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


def watched(machine: Machine, port: int, *more: str) -> Watched:
    """Watch a client that serves on a port."""
    told = "Environment=DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555"
    machine.put_unit(UNIT, port, told, *more)
    machine.systemctl("start", UNIT)
    (exporter,) = find_unit_exporters(machine.host, Systemd(), scan(machine.host, 5555))
    return Watched(machine.host, Systemd(), exporter, 5555, shortest_wait=60.0)


def test_a_client_that_serves_is_back_at_once(machine: Machine, serve: Serve, clock: Clock) -> None:
    one = watched(machine, serve([METRICS]))
    assert one.is_back()
    assert "" == one.wait(clock, clock.sleep)
    assert 0.0 == clock.now


@pytest.mark.parametrize(("interval", "seconds"), [("500", 60), ("30000", 60), ("45000", 90)])
def test_one_that_serves_nothing_is_waited_for_a_minute_or_two_intervals(
    machine: Machine, serve: Serve, clock: Clock, interval: str, seconds: int
) -> None:
    port = serve([(500, b"")])
    command = f"ExecStart=/usr/bin/dcgm-exporter -c {interval} -a :{port}"
    one = watched(machine, port, command)
    assert not one.is_back()
    assert f"it does not serve metrics after {seconds} s" == one.wait(clock, clock.sleep)
    assert float(seconds) == clock.now


def test_what_was_served_before_has_to_be_served_again(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    answers = [METRICS]
    one = watched(machine, serve(answers))
    one.note()
    answers[0] = (500, b"")
    assert "it does not serve metrics after 60 s" == one.wait(clock, clock.sleep)
    answers[0] = EMPTY
    clock.now = 0.0
    assert "it does not serve metrics after 60 s" == one.wait(clock, clock.sleep)


def test_an_empty_page_is_enough_where_it_was_empty_before(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    one = watched(machine, serve([EMPTY]))
    one.note()
    assert "" == one.wait(clock, clock.sleep)
    assert 60.0 == clock.now


def test_an_empty_page_is_not_waited_for_through_hours(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    answers = [METRICS]
    port = serve(answers)
    command = f"ExecStart=/usr/bin/dcgm-exporter -c 3600000 -a :{port}"
    one = watched(machine, port, command)
    one.note()
    answers[0] = EMPTY
    assert "" == one.wait(clock, clock.sleep)
    assert 120.0 == clock.now


def test_one_that_has_failed_is_not_waited_for(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    one = watched(machine, serve([METRICS]))
    machine.systemctl("stop", UNIT)
    machine.write("stand-in/refuses", UNIT)
    machine.systemctl("start", UNIT)
    assert f"it exits as a client: journalctl -u {UNIT}" == one.wait(clock, clock.sleep)
    assert 0.0 == clock.now


def test_a_manager_that_is_too_busy_is_asked_again(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    one = watched(machine, serve([METRICS]))
    answers = machine.read("programs/busctl")
    machine.program(
        "busctl",
        f"#!/bin/sh\n[ -e {machine.root}/asked ] || {{ touch {machine.root}/asked; exit 1; }}\n"
        f"exec {machine.root}/programs/answers/busctl \"$@\"\n",
    )  # fmt: skip
    (machine.root / "programs/answers").mkdir()
    machine.program("answers/busctl", answers)
    assert "" == one.wait(clock, clock.sleep)
