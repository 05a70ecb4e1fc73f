"""Clients of an engine that was replaced: who they are, who is started again, who is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from tests.unit.integration.conftest import HEAD, Machine

from do_dcgm_exporter.integration.changing import engine_clients
from do_dcgm_exporter.integration.changing.engine_clients import (
    LONGEST_RETURN,
    Return,
    client_units,
)
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView

UNIT = "gpu-metrics.service"
RUNNING = UnitView(
    UNIT, (UNIT,), "loaded", "active", "running", "enabled", "", (), "simple", (), {}, (), (), 0
)
FAILED = replace(RUNNING, active_state="failed", sub_state="failed")


def put_connection(machine: Machine, pid: int, group: str, *, port: int, state: str = "01") -> None:
    machine.put_process(pid, comm="x\n", cmdline="x\0", cgroup=f"0::{group}\n")
    machine.link(f"proc/{pid}/fd/3", f"socket:[{pid}]")
    path = machine.root / "proc/net/tcp"
    path.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text() if path.exists() else HEAD
    row = f" 0: 0100007F:9C40 0100007F:{port:04X} {state} 0 0 0 0 0 {pid}\n"
    path.write_text(text + row)


def test_the_services_with_a_connection_to_the_engine_are_its_clients(machine: Machine) -> None:
    put_connection(machine, 10, "/system.slice/gpu-metrics.service", port=5555)
    put_connection(machine, 11, "/system.slice/system-x.slice/x@1.service/sub", port=5555)
    assert client_units(machine.host) == (UNIT, "x@1.service")


@pytest.mark.parametrize(
    ("group", "port", "state"),
    [
        ("/system.slice/do-dcgm-exporter.service", 5555, "01"),
        ("/system.slice/gpu-metrics.service", 5556, "01"),
        ("/system.slice/gpu-metrics.service", 5555, "08"),  # CLOSE_WAIT: its engine is gone
        ("/user.slice/user-0.slice/user@0.service/app.slice/x.service", 5555, "01"),
        ("/user.slice/user-0.slice/session-1.scope", 5555, "01"),
    ],
)
def test_nobody_else_is(machine: Machine, group: str, port: int, state: str) -> None:
    put_connection(machine, 10, group, port=port, state=state)
    assert client_units(machine.host) == ()


class World(Systemd):
    """What becomes of one unit, by the seconds that have passed since the engine answered."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, machine: Machine) -> None:
        self.now = 0.0
        self.said: list[str] = []
        self.asked: list[str] = []
        self.is_exporter = True
        self.sight: Callable[[], UnitView] = lambda: RUNNING
        self.is_connected: Callable[[], bool] = lambda: False
        self.allowed = True
        monkeypatch.setattr(
            engine_clients, "client_units", lambda _: (UNIT,) if self.is_connected() else ()
        )
        monkeypatch.setattr(engine_clients, "run", self._run)
        monkeypatch.setattr(engine_clients, "processes_of_unit", lambda *_: ("1",))
        monkeypatch.setattr(
            engine_clients,
            "command_name",
            lambda *_: "dcgm-exporter" if self.is_exporter else "telegraf",
        )
        self.work = Return(
            machine.host, self, self.said.append, lambda _: self.allowed, self._sleep,
            lambda: self.now,
        )  # fmt: skip

    @property
    def was_started(self) -> bool:
        return "restart" in self.asked

    def view(self, unit: str) -> UnitView:
        assert unit == UNIT
        return self.sight()

    def bring_back(self) -> bool:
        return self.work.bring_back([UNIT])

    def _sleep(self, seconds: float) -> None:
        self.now += seconds

    def _run(self, *command: str, timeout: float) -> str:
        assert timeout <= 5.0
        assert command[-1] == UNIT
        self.asked.append(command[-2])
        if command[-2] == "reset-failed":
            raise CommandFailed(command, "not loaded")
        return ""


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch, machine: Machine) -> Iterator[World]:
    with bounded(World(monkeypatch, machine)) as made:
        yield made


@contextmanager
def bounded(world: World) -> Iterator[World]:
    yield world
    assert world.now <= LONGEST_RETURN + 1.0


def test_one_that_ended_is_started_again_whatever_it_failed_with_before(world: World) -> None:
    world.sight = lambda: RUNNING if world.was_started else FAILED
    world.is_connected = lambda: world.was_started
    assert world.bring_back()
    assert world.asked == ["reset-failed", "restart"]
    assert world.said == [f"{UNIT}: was started again, since its engine was replaced"]


def test_one_that_is_connected_again_by_itself_is_left_alone(world: World) -> None:
    world.is_connected = lambda: world.now > 5.0
    world.is_exporter = False
    assert world.bring_back()
    assert (world.asked, world.said) == ([], [])


def test_nvidias_exporter_that_runs_on_without_its_engine_is_restarted(world: World) -> None:
    world.is_connected = lambda: world.was_started
    assert world.bring_back()
    assert world.was_started


def test_it_is_given_the_time_to_connect_by_itself(world: World) -> None:
    world.is_connected = lambda: world.now > 0.5
    assert world.bring_back()
    assert not world.was_started


def test_another_that_runs_on_is_neither_restarted_nor_missed(world: World) -> None:
    world.is_exporter = False
    assert world.bring_back()
    assert (world.asked, world.said) == ([], [])


def test_one_that_systemd_starts_again_is_left_to_systemd(world: World) -> None:
    waits = replace(RUNNING, active_state="activating", sub_state="auto-restart")
    world.sight = lambda: RUNNING if world.now > 10.0 else waits
    world.is_connected = lambda: world.now > 10.0
    assert world.bring_back()
    assert world.asked == []


def test_one_that_only_was_on_its_way_to_its_end_is_not_run_twice(world: World) -> None:
    world.sight = lambda: replace(FAILED, type="oneshot")
    assert world.bring_back()
    assert (world.asked, world.said) == ([], [])


def test_one_that_ends_again_is_named_at_once(world: World) -> None:
    world.sight = lambda: FAILED
    assert not world.bring_back()
    assert world.asked.count("restart") == 1
    assert f"systemctl status {UNIT}" in world.said[-1]
    assert world.now < 1.0


def test_one_that_connects_only_to_exit_has_not_come_back(world: World) -> None:
    connects = [True, True, False]
    world.sight = lambda: RUNNING if connects else FAILED
    world.is_connected = lambda: bool(connects) and connects.pop(0)
    assert not world.bring_back()
    assert UNIT in world.said[-1]


def test_a_manager_that_does_not_answer_holds_nothing_up(world: World) -> None:
    def no_answer() -> UnitView:
        raise CommandFailed(("busctl",), "no answer")

    world.sight = no_answer
    assert not world.bring_back()
    assert f"systemctl status {UNIT}" in world.said[-1]


def test_what_the_machines_policy_forbids_is_not_started_but_named(world: World) -> None:
    world.allowed = False
    world.sight = lambda: FAILED
    assert not world.bring_back()
    assert not world.was_started
    assert "policy-rc.d" in world.said[0]


@pytest.mark.parametrize(
    ("view", "is_exporter", "is_named"),
    [(FAILED, False, True), (RUNNING, True, True), (RUNNING, False, False)],
)
def test_without_an_engine_those_are_named_that_need_somebody(
    world: World, view: UnitView, is_exporter: bool, is_named: bool
) -> None:
    world.sight, world.is_exporter = lambda: view, is_exporter
    assert world.work.name_lost([UNIT], "there is none now") is not is_named
    assert [f"systemctl restart {UNIT}" in text for text in world.said] == [True] * is_named
