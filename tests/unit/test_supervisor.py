"""The supervisor: gives hung cycles up, keeps the page current, answers to systemd."""

from __future__ import annotations

import itertools
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.builders import Clock, cycle_result

from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publication import Health
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service.supervisor import Supervisor


class Server:
    """A web server whose loop turns or does not."""

    alive = True

    def __init__(self) -> None:
        self.asked: list[float] = []

    def is_alive(self, within: float) -> bool:
        self.asked.append(within)
        return self.alive


class Agent:
    """An agent whose thread runs or has ended."""

    alive = True

    def is_alive(self) -> bool:
        return self.alive


class Watch:
    """A supervisor with what it looks after."""

    def __init__(self, interval: float = 20.0) -> None:
        self.clock = Clock()
        self.telemetry = Telemetry(CallCount(), ForwardStatistics())
        self.publisher = Publisher(self.telemetry, clock=self.clock)
        self.server = Server()
        self.agent = Agent()
        self.supervisor = Supervisor(
            self.publisher, self.server, self.agent, interval, clock=self.clock
        )

    def succeed(self) -> None:
        """Let a cycle end well."""
        cycle = self.publisher.begin_cycle()
        self.publisher.publish_result(cycle, cycle_result(), Versions(), Health(True), True)

    @property
    def reason(self) -> str:
        return self.publisher.publication.page.health.reason

    def tick_at(self, now: float) -> None:
        self.clock.now = now
        self.supervisor.tick()


@pytest.mark.parametrize(("interval", "limit"), [(20.0, 20.0), (2.0, 2.0), (0.1, 2.0)])
def test_a_cycle_may_run_for_an_interval_and_at_least_two_seconds(
    interval: float, limit: float
) -> None:
    watch = Watch(interval)
    watch.publisher.begin_cycle()
    watch.tick_at(limit - 0.1)
    assert "the engine has not answered" not in watch.reason
    watch.tick_at(limit)
    assert f"the engine has not answered for more than {limit:g} s" == watch.reason


def test_a_new_interval_holds_at_once() -> None:
    watch = Watch(20.0)
    watch.supervisor.use_interval(5.0)
    watch.publisher.begin_cycle()
    watch.tick_at(5.0)
    assert "the engine has not answered for more than 5 s" == watch.reason


def test_while_a_cycle_hangs_the_exporters_own_metrics_stay_current() -> None:
    watch = Watch(20.0)
    watch.publisher.begin_cycle()
    watch.tick_at(20.0)
    pages = [watch.publisher.publication.page]
    for now in (30.0, 40.0, 50.0, 60.0):
        watch.tick_at(now)
        pages.append(watch.publisher.publication.page)
    renewed = [old is not new for old, new in itertools.pairwise(pages)]
    assert [False, True, False, True] == renewed
    assert "the engine has not answered for more than 20 s" == watch.reason


def test_while_cycles_end_the_supervisor_publishes_nothing() -> None:
    watch = Watch(20.0)
    for now in range(0, 200, 20):
        watch.clock.now = float(now)
        watch.succeed()
        page = watch.publisher.publication.page
        watch.tick_at(now + 10.0)
        assert page is watch.publisher.publication.page


def test_an_agent_that_has_ended_is_told_of() -> None:
    watch = Watch(20.0)
    watch.succeed()
    watch.agent.alive = False
    watch.tick_at(1.0)
    assert "the thread that reads the engine has ended: restart do-dcgm-exporter" == watch.reason


def test_cycles_that_do_not_come_are_told_of() -> None:
    watch = Watch(20.0)
    watch.succeed()
    watch.tick_at(40.0)
    assert "" == watch.reason
    watch.tick_at(40.1)
    assert watch.reason.startswith("no reading has begun for more than 40 s")
    watch.succeed()
    watch.tick_at(41.0)
    assert "" == watch.reason


def test_a_shorter_interval_makes_no_cycle_overdue_that_has_had_no_time_to_come() -> None:
    watch = Watch(3600.0)
    watch.succeed()
    watch.tick_at(1800.0)
    watch.supervisor.use_interval(1.0)
    watch.tick_at(1804.0)
    assert "" == watch.reason
    watch.tick_at(1804.1)
    assert watch.reason.startswith("no reading has begun for more than 4 s")


def test_the_thread_ticks_until_it_is_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    ticked = threading.Event()
    watch = Watch()
    monkeypatch.setattr(Supervisor, "pause", lambda _self: 0.001)
    monkeypatch.setattr(Supervisor, "tick", lambda _self: ticked.set())
    watch.supervisor.start()
    assert ticked.wait(20)
    watch.supervisor.stop()
    watch.supervisor._thread.join(20)
    assert not watch.supervisor._thread.is_alive()


@pytest.mark.parametrize(
    ("interval", "pause"), [(0.1, 1.0), (5.0, 1.0), (10.0, 2.0), (20.0, 4.0), (3600.0, 4.0)]
)
def test_it_looks_five_times_in_the_time_that_a_cycle_may_take(
    interval: float, pause: float
) -> None:
    assert pause == Watch(interval).supervisor.pause()


# The watchdog of systemd.


@pytest.fixture
def systemd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """A service manager that wants a ping within 30 s."""
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(path))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(path))
        monkeypatch.setenv("WATCHDOG_USEC", "30000000")
        monkeypatch.delenv("WATCHDOG_PID", raising=False)
        yield manager


def pings(manager: socket.socket) -> int:
    count = 0
    while True:
        try:
            assert b"WATCHDOG=1" == manager.recv(100)
        except BlockingIOError:
            return count
        count += 1


def test_systemd_is_told_three_times_as_often_as_it_wants(systemd: socket.socket) -> None:
    watch = Watch()
    watch.succeed()
    for now in range(31):
        watch.tick_at(float(now))
    assert 3 == pings(systemd)
    assert {20.0} == set(watch.server.asked)


def test_a_hung_engine_does_not_keep_systemd_waiting(systemd: socket.socket) -> None:
    watch = Watch()
    watch.publisher.begin_cycle()
    for now in range(0, 121, 10):
        watch.tick_at(float(now))
        assert (1 if now else 0) == pings(systemd)


def test_a_dead_server_does(systemd: socket.socket) -> None:
    watch = Watch()
    watch.server.alive = False
    for now in range(31):
        watch.tick_at(float(now))
    assert 0 == pings(systemd)
    watch.server.alive = True
    watch.tick_at(31.0)
    assert 1 == pings(systemd)


def test_an_agent_that_has_ended_does(systemd: socket.socket) -> None:
    watch = Watch()
    watch.agent.alive = False
    for now in range(31):
        watch.tick_at(float(now))
    assert 0 == pings(systemd)


def test_cycles_that_do_not_come_do(systemd: socket.socket) -> None:
    watch = Watch(2.0)
    watch.succeed()
    for now in range(5, 120):
        watch.tick_at(float(now))
    assert 0 == pings(systemd)
    watch.succeed()
    watch.tick_at(121.0)
    assert 1 == pings(systemd)


def test_without_systemd_nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    watch = Watch()
    watch.tick_at(1e6)
    assert [] == watch.server.asked


def test_it_looks_as_often_as_a_watchdog_of_little_patience_wants(
    systemd: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "3000000")
    assert 1.0 == Watch(20.0).supervisor.pause()
