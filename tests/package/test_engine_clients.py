"""An admin's own clients of the engine are back after our package has stopped or replaced it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.package.exporters import REFUSAL, engine_of, is_served, put_program
from tests.package.system import NAME, OURS, System

ENGINE = "localhost:5555"
ETC = "/etc/systemd/system"

# As NVIDIA's, which a release 3.x, at its next interval at the latest, leaves with its engine ...
EXITS = "exits-with-its-engine.service"
# ... and a release 4.x when it is scraped next.
EXITS_LATER = "exits-at-the-next-scrape.service"
PORTS = {EXITS: 9400, EXITS_LATER: 9410}
LATER_PROGRAM = "/opt/later/dcgm-exporter"
# One that systemd stops with the engine, and never starts by itself.
BOUND = "needs-its-engine.service"
# One that looks after itself.
CONNECTS_AGAIN = "connects-again.service"
UNITS = (EXITS, EXITS_LATER, BOUND, CONNECTS_AGAIN)

HOLDER = """\
import socket, sys, time
while True:
    try:
        with socket.create_connection(("localhost", 5555)) as connection:
            while connection.recv(4096):
                pass
    except OSError:
        pass
    if "--once" in sys.argv:
        break
    time.sleep(0.5)
"""


def unit(command: str, *more: str) -> str:
    return "\n".join([
        "[Unit]", "Wants=nvidia-dcgm.service", "After=nvidia-dcgm.service", *more,
        "[Service]", f"ExecStart={command}", "Restart=on-abort",
        "[Install]", "WantedBy=multi-user.target", "",
    ])  # fmt: skip


def put_clients(system: System) -> None:
    """Start the engine and every kind of client on a machine."""
    system.run("systemctl", "start", NAME)
    assert system.becomes(lambda: is_served(system, 5555), 30.0)
    put_program(system)
    put_program(system, LATER_PROGRAM)
    system.write(LATER_PROGRAM, exits_when_scraped(system.read(LATER_PROGRAM)))
    system.write("/opt/holder.py", HOLDER)
    texts = {
        EXITS: unit(f"/usr/bin/dcgm-exporter -r {ENGINE} -a :{PORTS[EXITS]}"),
        EXITS_LATER: unit(f"{LATER_PROGRAM} -r {ENGINE} -a :{PORTS[EXITS_LATER]}"),
        BOUND: unit("/usr/bin/python3 /opt/holder.py --once", f"BindsTo={NAME}"),
        CONNECTS_AGAIN: unit("/usr/bin/python3 /opt/holder.py"),
    }
    for name, text in texts.items():
        system.write(f"{ETC}/{name}", text)
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "enable", "--quiet", "--now", *UNITS)
    assert system.becomes(lambda: are_back(system), 30.0)


def exits_when_scraped(program: str) -> str:
    """Return the text of a stand-in that notices at a scrape that its engine is gone."""
    for before, after in (
        ('    fail("the engine is gone")\n', "    Page.text = b''\n"),
        (
            "        self.send_response(",
            "        self.text or fail('gone')\n        self.send_response(",
        ),
    ):
        assert program.count(before) == 1
        program = program.replace(before, after)
    return program


def are_back(system: System, *units: str) -> bool:
    """Whether units, all unless some are named, are connected to the engine."""
    established = system.run("ss", "-Htnp", "state", "established", "dport", "=", ":5555").stdout
    found = set(re.findall(r"pid=(\d+)", established))
    return found.issuperset(system.property(name, "MainPID") for name in units or UNITS)


def assert_back(system: System, engine: str) -> None:
    """Assert what was promised, the moment that our package's script has ended."""
    assert system.engines() == [engine]
    assert are_back(system), system.run("systemctl", "status", *UNITS, check=False).stdout
    assert [engine_of(system, port) for port in PORTS.values()] == [ENGINE, ENGINE]
    # Whoever looks after itself is left alone.
    assert system.journal(CONNECTS_AGAIN).count("Started ") == 1


@pytest.fixture
def others(new_system: System) -> System:
    """A system with NVIDIA's engine, not enabled, and its clients; our package is to come."""
    put_clients(new_system)
    return new_system


@pytest.fixture
def with_ours(others: System, exporter: Path) -> System:
    """A system with our engine and the same clients."""
    others.preseed(engine="ours")
    others.install(exporter)
    assert others.engines() == [OURS]
    return others


def test_they_are_back_whatever_stops_the_engine(
    others: System, exporter: Path, newer_dcgm4: Path
) -> None:
    others.preseed(engine="ours")
    said = others.install(exporter).stderr
    assert_back(others, OURS)
    assert f"{EXITS}: was started again" in said

    others.choose_engine("nvidia")
    assert_back(others, NAME)
    others.choose_engine("ours")
    assert_back(others, OURS)
    others.install(newer_dcgm4)
    assert_back(others, OURS)
    # NVIDIA's was not enabled, but there is somebody who uses it.
    others.run("dpkg", "--remove", "do-dcgm-exporter")
    assert_back(others, NAME)


def test_they_are_named_where_no_engine_follows(with_ours: System) -> None:
    said = with_ours.choose_engine("none").stderr

    assert with_ours.engines() == []
    for unit in (EXITS, EXITS_LATER, BOUND):
        assert f"{unit} was a client of the engine that was stopped" in said
        assert f"systemctl restart {unit}" in said
    assert CONNECTS_AGAIN not in said


def test_one_that_does_not_come_back_is_named_and_holds_nothing_up(with_ours: System) -> None:
    with_ours.write(REFUSAL, "")
    said = with_ours.choose_engine("nvidia").stderr

    assert f"{EXITS} was a client" in said
    assert f"systemctl status {EXITS}" in said
    assert BOUND not in said.replace(f"{BOUND}: was started again", "")
    assert are_back(with_ours, BOUND, CONNECTS_AGAIN)
    assert with_ours.serves(hostengine_up=True)
