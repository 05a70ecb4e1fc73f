"""Exporters are left alone while there is no engine that they could be clients of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.package.conftest import system_over
from tests.package.exporters import (
    SERVICE,
    checked,
    engine_of,
    finished,
    integrate,
    is_served,
    put_one,
)
from tests.package.system import CONF, NAME, System

ENGINE = "localhost:5555"
UNIT = "exporter-9400.service"
DROP_IN = f"/etc/systemd/system/{UNIT}.d/zz-do-dcgm-exporter.conf"


def start_engine(system: System) -> None:
    system.run("systemctl", "start", NAME)
    assert system.becomes(lambda: is_served(system, 5555))


def installed_and_done(system: System, exporter: Path) -> str:
    """Install our package and return what was said, then and behind dpkg's back."""
    said = system.install(exporter).stderr
    assert finished(system)
    return said + system.journal(SERVICE)


def test_without_an_engine_nothing_is_rewritten_until_there_is_one(
    new_system: System, exporter: Path
) -> None:
    put_one(new_system)
    pid = new_system.property(UNIT, "MainPID")
    new_system.systemctl("mask", NAME)
    said = installed_and_done(new_system, exporter)
    assert UNIT in said
    assert "5555" in said
    assert engine_of(new_system, 9400) == "embedded"
    assert new_system.property(UNIT, "MainPID") == pid
    assert not new_system.exists(DROP_IN)

    new_system.systemctl("unmask", NAME)
    start_engine(new_system)
    assert integrate(new_system, "apply").returncode == 0
    assert engine_of(new_system, 9400) == ENGINE


def test_an_engine_that_hangs_is_no_engine(new_system: System, exporter: Path) -> None:
    put_one(new_system)
    start_engine(new_system)
    pid = new_system.property(UNIT, "MainPID")
    new_system.run("systemctl", "kill", "--signal=STOP", NAME)
    said = installed_and_done(new_system, exporter)
    assert UNIT in said
    assert engine_of(new_system, 9400) == "embedded"
    assert new_system.property(UNIT, "MainPID") == pid
    assert not new_system.exists(DROP_IN)

    new_system.run("systemctl", "kill", "--signal=CONT", NAME)
    assert integrate(new_system, "apply").returncode == 0
    assert engine_of(new_system, 9400) == ENGINE


def test_an_engine_that_starts_slowly_is_waited_for(new_system: System, exporter: Path) -> None:
    put_one(new_system)
    slow = "[Service]\nExecStartPre=/bin/sleep 4\n"
    new_system.write(f"/etc/systemd/system/{NAME}.d/slow.conf", slow)
    new_system.run("systemctl", "daemon-reload")
    installed_and_done(new_system, exporter)

    assert engine_of(new_system, 9400) == ENGINE


def test_clients_are_put_back_when_their_engine_will_not_come(
    new_system: System, exporter: Path
) -> None:
    put_one(new_system)
    start_engine(new_system)
    installed_and_done(new_system, exporter)
    assert engine_of(new_system, 9400) == ENGINE

    # Nobody may put them back before they are looked at: this machine has only just been booted.
    new_system.systemctl("stop", "do-dcgm-exporter-integrate.timer")
    new_system.write(CONF, "engine = none\n")
    new_system.run("dpkg-reconfigure", "do-dcgm-exporter")
    assert finished(new_system)
    new_system.systemctl("disable", "--now", NAME)
    # NVIDIA's notices when it is scraped.
    assert new_system.becomes(
        lambda: (
            not engine_of(new_system, 9400)
            and new_system.property(UNIT, "SubState") == "auto-restart"
        ),
    )
    is_told = f"{UNIT}, a client of the engine, does not run"
    assert new_system.becomes(lambda: is_told in checked(new_system).stdout)
    said = integrate(new_system, "apply")
    assert said.returncode == 1
    assert f"{UNIT} keeps its embedded DCGM: the engine at {ENGINE} cannot be used" in said.stderr
    assert new_system.becomes(lambda: engine_of(new_system, 9400) == "embedded")
    assert not new_system.exists(DROP_IN)


@pytest.fixture
def system_with_dcgm3(dependencies: list[Path], dcgm3: Path) -> Iterator[System]:
    with system_over(dependencies) as system:
        system.install(dcgm3)
        yield system


def test_an_engine_of_another_major_version_is_left_to_itself(
    system_with_dcgm3: System, exporter: Path
) -> None:
    put_one(system_with_dcgm3)  # whose library is of DCGM 4
    pid = system_with_dcgm3.property(UNIT, "MainPID")
    said = installed_and_done(system_with_dcgm3, exporter)

    assert UNIT in said
    assert "3.3.9" in said
    assert engine_of(system_with_dcgm3, 9400) == "embedded"
    assert system_with_dcgm3.property(UNIT, "MainPID") == pid
    assert not system_with_dcgm3.exists(DROP_IN)
