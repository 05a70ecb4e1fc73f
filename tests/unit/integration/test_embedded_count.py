"""The count of embedded DCGMs: who is accused, and that what is unproven gets its proof."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable

import pytest
from tests.unit.integration.conftest import HEAD, LIB, LISTENS, UNIT, Machine
from tests.unit.integration.runs import apply

from do_dcgm_exporter.integration.reporting import embedded_count
from do_dcgm_exporter.integration.reporting.embedded_count import main

START = ["systemctl", "start", "--no-block", "do-dcgm-exporter-integrate.service"]
REPORT = "run/do-dcgm-exporter-integration/embedded-dcgm.json"
AGENT = {
    "comm": "agent\n",
    "cmdline": "/usr/bin/agent\0",
    "environ": "",
    "cgroup": "0::/system.slice/agent.service\n",
    "maps": "7f00 r--p 0 0 0 /usr/lib/libdcgm.so.4\n",
}


def counted(machine: Machine, meanwhile: Callable[[], None] = lambda: None) -> list[int] | None:
    """Count, with something that happens between the two looks."""
    assert 0 == main(machine.host, sleep=lambda _: meanwhile())
    processes = json.loads(machine.read(REPORT))["processes"]
    return None if processes is None else [one["pid"] for one in processes]


@pytest.fixture
def agent(machine: Machine) -> Machine:
    """A machine with a program that has DCGM's library and no connection to the engine."""
    machine.put_process(20, **AGENT)
    return machine


def connect(machine: Machine) -> None:
    line = " 1: 0100007F:9C40 0100007F:15B3 01 0 0 0 0 0 20\n"
    machine.write("proc/net/tcp", machine.read("proc/net/tcp") + line)
    machine.link("proc/20/fd/3", "socket:[20]")


def test_who_has_no_engine_at_two_looks_has_one_of_its_own(agent: Machine) -> None:
    assert [20] == counted(agent)


def test_a_client_between_two_engines_is_not_accused(agent: Machine) -> None:
    assert [] == counted(agent, lambda: connect(agent))


def test_neither_is_one_that_has_just_been_started(agent: Machine) -> None:
    assert [20] == counted(agent, lambda: agent.put_process(21, **AGENT))


def test_without_an_engine_nothing_is_told(agent: Machine) -> None:
    agent.write("proc/net/tcp", HEAD)
    agent.write("proc/7/comm", "something\n")
    assert counted(agent) is None


def test_an_engine_on_another_port_is_an_engine(agent: Machine) -> None:
    agent.write("proc/net/tcp", HEAD + LISTENS.replace("15B3", "1770"))
    assert [20] == counted(agent)


@pytest.mark.parametrize("state", ["runs", "has failed", "failed before", "does not run"])
def test_what_is_unproven_is_proven_once_it_runs(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    monkeypatch.setattr(embedded_count, "_PAUSE_SECONDS", 0.0)
    machine.write(f"{LIB}/do-dcgm-exporter-integrate.service", "[Service]\nExecStart=/bin/true\n")
    machine.put_unit(UNIT, machine.ports[0])
    machine.write("stand-in/fails", UNIT if "failed" in state else "")
    if state == "failed before":
        machine.systemctl("start", UNIT)
    apply(machine)
    if state in ("runs", "has failed"):
        machine.systemctl("start", UNIT)
    machine.forget_asked()
    assert 0 == main(machine.host)
    assert (state in ("runs", "has failed")) is (START in machine.asked())


def test_what_is_proven_is_not_asked_for(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(exporter)
    exporter.forget_asked()
    assert 0 == main(exporter.host)
    assert [] == exporter.asked()


def test_it_is_light() -> None:
    program = (
        "import sys; from do_dcgm_exporter.integration.reporting import embedded_count;"
        "print(*sys.modules)"
    )
    answer = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    loaded = set(answer.stdout.split())
    assert not loaded & {"configargparse", "argparse", "requests", "http.client", "ssl", "pydcgm"}
