"""The look at everything: what it says of what it could not see, and who has which port."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.integration.conftest import UNIT, Machine

from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.survey import Findings, survey
from do_dcgm_exporter.sockets import listens, ports_of

CONF = "etc/do-dcgm-exporter/do-dcgm-exporter.conf"


def look(machine: Machine, host: Host | None = None) -> Findings:
    machine.write(CONF, "dcgm-bindings = /nothing/here\nforward = false\n")
    return survey(host or machine.host, {})


@pytest.fixture
def port() -> Iterator[int]:
    """A port that this process listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield int(listener.getsockname()[1])


def test_units_are_seen_and_nothing_is_hidden(exporter: Machine) -> None:
    found = look(exporter)
    assert [UNIT] == [unit.view.name for unit in found.units]
    assert () == found.unseen
    assert (7, "nvidia-dcgm.service") == (
        found.engine_port.holder.pid if found.engine_port.holder else 0, found.engine_port.unit
    )  # fmt: skip


def test_processes_that_are_not_even_listed_are_hidden_all_the_same(machine: Machine) -> None:
    machine.remove("proc/1/comm")
    (machine.root / "proc/1").rmdir()
    assert any("run it as root" in sentence for sentence in look(machine).unseen)


def test_a_manager_that_hangs_costs_what_it_knows_and_nothing_else(exporter: Machine) -> None:
    exporter.write("stand-in/hangs", "busctl")
    found = look(exporter)
    assert () == found.units
    assert [sentence for sentence in found.unseen if sentence.startswith("services: ")]
    assert found.processes.embedded


def test_the_ports_of_a_process_are_known(port: int) -> None:
    assert listens(Path("/proc"), port)
    found = ports_of(Path("/proc"), ["self", "0"])
    assert port in found.pop("self")
    assert found == {}
