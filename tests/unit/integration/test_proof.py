"""Whether an exporter came back: what is waited for, and for how long."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest
from tests.unit.integration.conftest import UNIT, Machine

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.integration.changing.proof import Proof
from do_dcgm_exporter.integration.changing.running import Means
from do_dcgm_exporter.integration.exporters_here import exporters_here
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.web import Served, scrape

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


def watched(machine: Machine, port: int, clock: Clock, *more: str) -> Proof:
    """Watch a client that serves on a port."""
    told = "Environment=DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555"
    machine.put_unit(UNIT, port, told, *more)
    machine.systemctl("start", UNIT)
    (exporter,) = exporters_here(machine.host, EngineAddress()).units
    return Proof(Means(machine.host, machine.tell, sleep=clock.sleep), exporter, 5555)


def test_a_client_that_serves_is_back_at_once(machine: Machine, serve: Serve, clock: Clock) -> None:
    one = watched(machine, serve([METRICS]), clock)
    assert one.is_given()
    assert "" == one.restart_and_wait(clock)[0]
    assert 0.0 == clock.now
    assert 2 == machine.run_of(UNIT)["starts"]


@pytest.mark.parametrize("interval", ["500", "30000", "45000", "3600000"])
def test_one_that_serves_nothing_is_waited_for_two_minutes_whatever_its_interval(
    machine: Machine, serve: Serve, clock: Clock, interval: str
) -> None:
    port = serve([(500, b"")])
    command = f"ExecStart=/usr/bin/dcgm-exporter -c {interval} -a :{port}"
    one = watched(machine, port, clock, command)
    assert not one.is_given()
    assert "it does not serve metrics after 120 s" == one.restart_and_wait(clock)[0]
    assert 120.0 == clock.now


def test_what_was_served_before_has_to_be_served_again(
    machine: Machine, serve: Serve, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [METRICS]
    one = watched(machine, serve(answers), clock)
    restart = lambda *_: answers.__setitem__(0, EMPTY)  # noqa: E731
    monkeypatch.setattr(systemd, "restart", restart)
    assert "it does not serve metrics after 120 s" == one.restart_and_wait(clock)[0]
    assert 120.0 == clock.now


def test_an_empty_page_is_enough_in_the_end_where_it_was_empty_before(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    one = watched(machine, serve([EMPTY]), clock)
    assert "" == one.restart_and_wait(clock)[0]
    assert 120.0 == clock.now


def test_an_empty_page_is_enough_in_the_end_for_one_with_a_long_interval(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    answers = [METRICS]
    port = serve(answers)
    command = f"ExecStart=/usr/bin/dcgm-exporter -c 3600000 -a :{port}"
    one = watched(machine, port, clock, command)
    answers[0] = EMPTY
    assert "" == one.restart_and_wait(clock)[0]
    assert 120.0 == clock.now


def test_one_that_has_failed_is_not_waited_for(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    one = watched(machine, serve([METRICS]), clock)
    machine.write("stand-in/refuses", UNIT)
    assert f"it exits as a client: journalctl -u {UNIT}" == one.restart_and_wait(clock)[0]
    assert 0.0 == clock.now


@pytest.mark.parametrize(("restarts", "stays"), [(2, True), (3, False)])
def test_one_that_systemd_has_to_restart_again_and_again_does_not_stay_up(
    machine: Machine, serve: Serve, clock: Clock, restarts: int, stays: bool
) -> None:
    one = watched(machine, serve([METRICS]), clock)
    machine.write("stand-in/restarts-from-then-on", f"{UNIT} {restarts}")
    obstacle = one.restart_and_wait(clock)[0]
    assert obstacle == ("" if stays else f"it exits as a client: journalctl -u {UNIT}")


def test_restarts_of_before_do_not_count(machine: Machine, serve: Serve, clock: Clock) -> None:
    one = watched(machine, serve([METRICS]), clock)
    machine.write("stand-in/restarts-before", f"{UNIT} 7")
    assert "" == one.restart_and_wait(clock)[0]


def test_a_manager_that_is_too_busy_is_asked_again(
    machine: Machine, serve: Serve, clock: Clock
) -> None:
    one = watched(machine, serve([METRICS]), clock)
    # The first question is what it was restarted so far, the second whether it is back.
    machine.write("stand-in/busy", "2")
    assert "" == one.restart_and_wait(clock)[0]
    assert 10.0 == clock.now
