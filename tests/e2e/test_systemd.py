"""What the service tells systemd: sd_notify(3) as a manager sees it."""

from __future__ import annotations

import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import Exporter, settings_for
from tests.waiting import STOP_LIMIT, wait_until

from dcgm_simulator.process import SimulatedEngine


class Manager:
    """Listens as systemd does."""

    def __init__(self, path: Path) -> None:
        self.environ = {"NOTIFY_SOCKET": str(path)}
        self.messages: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.setblocking(False)

    def close(self) -> None:
        """Stop listening."""
        self._socket.close()

    def told(self, state: str) -> list[str]:
        """All messages so far that hold ``state``."""
        while True:
            try:
                self.messages.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                break
        return [message for message in self.messages if state in message.splitlines()]

    def wait_for(self, state: str, count: int = 1) -> str:
        """Wait until it was told ``state`` so many times; return the last of these messages."""
        wait_until(lambda: len(self.told(state)) >= count, f"{count} times {state}")
        return self.told(state)[count - 1]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.close()


def test_it_is_ready_when_it_listens_and_says_when_it_stops(
    stage: Stage, engine: SimulatedEngine, manager: Manager
) -> None:
    exporter = stage.exporter(engine, environ=manager.environ)
    assert "STATUS=" in manager.wait_for("READY=1")
    assert not manager.told("WATCHDOG=1")  # nobody asked for it
    exporter.stop()
    manager.wait_for("STOPPING=1")
    assert len(manager.told("READY=1")) == 1
    assert manager.messages[-1] == "STOPPING=1"


def test_it_is_ready_although_the_engine_hangs_and_pings_all_the_while(
    stage: Stage, engine: SimulatedEngine, manager: Manager
) -> None:
    engine.suspend()
    exporter = stage.exporter(engine, environ=manager.environ | {"WATCHDOG_USEC": "3000000"})
    manager.wait_for("READY=1")
    wait_until(lambda: "has not answered" in exporter.health()[1], "the hang is noticed")
    before = len(manager.told("WATCHDOG=1"))
    manager.wait_for("WATCHDOG=1", before + 3)
    engine.resume()


def test_a_watchdog_for_another_process_is_not_pinged(
    stage: Stage, engine: SimulatedEngine, manager: Manager
) -> None:
    environ = manager.environ | {"WATCHDOG_USEC": "300000", "WATCHDOG_PID": "1"}
    exporter = stage.exporter(engine, environ=environ)
    exporter.wait_until_up()
    exporter.wait_for_cycles(3)
    assert not manager.told("WATCHDOG=1")


@pytest.mark.parametrize("good", [True, False], ids=["good", "bad"])
def test_a_reload_begins_and_ends(
    stage: Stage, engine: SimulatedEngine, manager: Manager, *, good: bool
) -> None:
    exporter = stage.exporter(engine, environ=manager.environ)
    manager.wait_for("READY=1")
    before = time.monotonic()
    exporter.reload(hostname_label="host" if good else "not a label")
    message = manager.wait_for("RELOADING=1")
    match = re.search(r"^MONOTONIC_USEC=(\d+)$", message, re.MULTILINE)
    assert match is not None
    assert before <= int(match[1]) / 1e6 <= time.monotonic()
    # Also a refused reload has ended: systemd would wait for ever.
    manager.wait_for("READY=1", 2)
    states = [m.splitlines()[0] for m in manager.messages if not m.startswith("WATCHDOG")]
    assert states == ["READY=1", "RELOADING=1", "READY=1"]


def test_a_reload_right_after_the_start_does_not_kill(
    stage: Stage, engine: SimulatedEngine, manager: Manager
) -> None:
    exporter = stage.exporter(engine, environ=manager.environ)
    exporter.signal(signal.SIGHUP)
    manager.wait_for("READY=1", 2)
    exporter.wait_until_up()


def test_a_manager_that_does_not_listen_holds_nobody_up(
    stage: Stage, engine: SimulatedEngine
) -> None:
    exporter = stage.exporter(engine, environ={"NOTIFY_SOCKET": "/nonexistent/notify"})
    exporter.wait_until_up()
    assert exporter.stop() < STOP_LIMIT


def test_the_journal_gets_priorities_and_no_times(stage: Stage, engine: SimulatedEngine) -> None:
    log = stage.directory / "exporter.log"
    log.touch()
    journal = f"{log.stat().st_dev}:{log.stat().st_ino}"
    exporter = Exporter(
        stage.directory, settings_for(engine.address), environ={"JOURNAL_STREAM": journal}
    )
    with closing(exporter):
        exporter.wait_until_listening()
        exporter.wait_until_up()
    assert all(re.match("<[3-7]>[^ ]", line) for line in exporter.log().splitlines())
