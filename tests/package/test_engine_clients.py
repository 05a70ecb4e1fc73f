"""An admin's own clients of the engine are named when our package stops or replaces it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.package.exporter_kinds import ETC
from tests.package.exporters import engine_of, finished, is_served, put_program
from tests.package.system import NAME, OURS, System

ENGINE = "localhost:5555"

# As NVIDIA's, which a release 3.x, at its next interval, leaves with its engine ...
EXITS = "exits-with-its-engine.service"
OLD_PROGRAM = "/opt/old/dcgm-exporter"
# ... and a release 4.x when it is scraped next.
EXITS_LATER = "exits-at-the-next-scrape.service"
PORTS = {EXITS: 9400, EXITS_LATER: 9410}
UNITS = tuple(PORTS)


def unit(command: str) -> str:
    return "\n".join([
        "[Unit]", "Wants=nvidia-dcgm.service", "After=nvidia-dcgm.service",
        "[Service]", f"ExecStart={command}", "Restart=on-abort",
        "[Install]", "WantedBy=multi-user.target", "",
    ])  # fmt: skip


@pytest.fixture
def others(new_system: System) -> System:
    """A system with NVIDIA's engine, not enabled, and its clients; our package is to come."""
    system = new_system
    system.run("systemctl", "start", NAME)
    assert system.becomes(lambda: is_served(system, 5555))
    put_program(system)
    put_program(system, OLD_PROGRAM, "3.3.9-3.6.1")
    texts = {
        EXITS: unit(f"{OLD_PROGRAM} -r {ENGINE} -a :{PORTS[EXITS]} -c 500"),
        EXITS_LATER: unit(f"/usr/bin/dcgm-exporter -r {ENGINE} -a :{PORTS[EXITS_LATER]}"),
    }
    for name, text in texts.items():
        system.write(f"{ETC}/{name}", text)
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "enable", "--quiet", "--now", *UNITS)
    assert system.becomes(lambda: are_clients(system))
    return system


def are_clients(system: System) -> bool:
    """Whether all of them are connected to the engine, and serve what they read there."""
    established = system.run("ss", "-Htnp", "state", "established", "dport", "=", ":5555").stdout
    found = set(re.findall(r"pid=(\d+)", established))
    serve = all(engine_of(system, port) == ENGINE for port in PORTS.values())
    return serve and found.issuperset(system.property(name, "MainPID") for name in UNITS)


def starts(system: System) -> list[int]:
    """Return how often each was started."""
    return [system.journal(name).count("Started ") for name in UNITS]


def command_in(said: str) -> str:
    """Return the command that brings them back, which names all of them and not ours."""
    (command,) = re.findall("systemctl restart .*", said)
    assert set(command.split()[2:]) == set(UNITS)
    return str(command)


def test_they_are_named_with_the_command_whatever_stops_the_engine(
    others: System, exporter: Path, newer_dcgm4: Path
) -> None:
    others.preseed(engine="ours")
    command = command_in(others.install(exporter).stderr)
    assert finished(others)
    assert others.engines() == [OURS]
    assert starts(others) == [1, 1]  # nobody's services are started behind their back
    others.run(*command.split())
    assert others.becomes(lambda: are_clients(others))

    for what in (
        lambda: others.choose_engine("nvidia").stderr,
        lambda: others.choose_engine("ours").stderr,
        lambda: others.install(newer_dcgm4).stderr,
        lambda: others.run("dpkg", "--remove", "do-dcgm-exporter").stderr,
    ):
        before = starts(others)
        command = command_in(what())
        assert starts(others) == before
        others.run(*command.split())
        assert others.becomes(lambda: are_clients(others))
    # NVIDIA's engine was not enabled, but there was somebody who used it.
    assert others.engines() == [NAME]


def test_where_there_are_none_nobody_is_named(installed: System) -> None:
    assert installed.serves(hostengine_up=True)
    assert "systemctl restart" not in installed.choose_engine("ours").stderr
