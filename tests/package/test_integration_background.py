"""dpkg waits for nobody's exporter: what takes time is done behind its back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.package import exporter_kinds, exporters
from tests.package.conftest import system_over
from tests.package.exporters import (
    SERVICE,
    UNIT,
    checked,
    engine_of,
    finished,
    put_enabled_exporter,
    put_one,
    put_program,
    vendor_package,
)
from tests.package.layers import DEPENDENCIES, system_with
from tests.package.machine import root_over, switched_on
from tests.package.system import CONF, EXPORTER, NAME, System

ENGINE = "localhost:5555"
SLOW = "slow.service"
SLOW_PORT = 9405
# Releases 3.x have an empty page until their first interval is over.
INTERVAL = 20_000
DROP_IN = f"{exporter_kinds.ETC}/{SLOW}.d/{exporter_kinds.DROP_IN}"


def put_slow_one(system: System) -> None:
    """Put an exporter on a machine that serves nothing before its first interval is over."""
    program = "/opt/slow/dcgm-exporter"
    put_program(system, program, "3.3.9-3.6.1")
    command = exporter_kinds.on(SLOW_PORT, program, f" -c {INTERVAL}")
    system.write(f"{exporter_kinds.ETC}/{SLOW}", exporter_kinds.unit(command))
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "enable", "--quiet", "--now", SLOW)
    assert system.becomes(lambda: engine_of(system, SLOW_PORT) == "embedded")


@pytest.fixture
def with_dcgm3(dependencies: list[Path], dcgm3: Path) -> Iterator[System]:
    """A system with an engine of DCGM 3 that runs."""
    with system_over(dependencies) as system:
        start_dcgm3(system, dcgm3)
        yield system


@pytest.fixture
def with_needrestart(distribution: str, dcgm3: Path) -> Iterator[System]:
    """A system that also restarts whatever runs outdated code."""
    with system_over(system_with(distribution, "needrestart", *DEPENDENCIES)) as system:
        start_dcgm3(system, dcgm3)
        yield system


def start_dcgm3(system: System, dcgm3: Path) -> None:
    system.install(dcgm3)
    system.run("systemctl", "start", NAME)
    assert system.becomes(lambda: exporters.is_served(system, 5555))


def is_working(system: System) -> bool:
    return system.property(SERVICE, "ActiveState") == "activating"


def test_dpkg_is_done_while_an_exporter_is_still_silent(with_dcgm3: System, exporter: Path) -> None:
    system = with_dcgm3
    put_slow_one(system)
    before = system.property(SLOW, "InvocationID")
    said = system.install(exporter).stderr
    assert is_working(system), system.journal(SERVICE)
    assert SLOW.partition(".")[0] in said
    assert "background" in said

    # A removal does not wait for it either, and nothing is left half done.
    assert system.becomes(lambda: system.property(SLOW, "InvocationID") != before)
    system.run("dpkg", "--remove", "do-dcgm-exporter")
    assert not system.exists(DROP_IN)
    assert system.becomes(lambda: engine_of(system, SLOW_PORT) == "embedded")
    assert system.systemctl("--failed", "--plain", "--no-legend") == ""

    system.install(exporter)
    assert finished(system)
    assert engine_of(system, SLOW_PORT) == ENGINE
    assert SLOW in system.journal(SERVICE)
    assert system.property(SERVICE, "ExecMainStatus") == "0"


def test_a_package_that_comes_meanwhile_is_not_missed(
    with_dcgm3: System, exporter: Path, workshop: Path
) -> None:
    system = with_dcgm3
    put_slow_one(system)
    system.install(exporter)
    assert system.becomes(lambda: system.exists(DROP_IN))
    assert is_working(system)
    text = exporters.VENDOR_UNIT.replace(".csv", ".csv -c 500")
    system.install(vendor_package(workshop, "3.3.9-3.6.1", text))

    assert finished(system)
    assert system.becomes(lambda: engine_of(system, 9400) == ENGINE), system.journal(SERVICE)
    assert engine_of(system, SLOW_PORT) == ENGINE
    assert system.journal(UNIT).count("Started ") == 2


def test_a_restart_of_everything_in_the_middle_costs_nobody_anything(
    with_needrestart: System, exporter: Path
) -> None:
    """The engine, the run and the exporter that it tests restart at once, and systemd itself."""
    system = with_needrestart
    put_slow_one(system)
    system.install(exporter)
    assert is_working(system), system.journal(SERVICE)
    restarted = (NAME, SERVICE, EXPORTER)
    before = [system.property(unit, "InvocationID") for unit in restarted]
    # As an upgrade of the C library leaves it: every process still has the old one.
    library = system.run("sh", "-c", "readlink -f /lib/*/libc.so.6").stdout.strip()
    system.run("sh", "-c", f"cp -a {library} {library}.new && mv {library}.new {library}")
    system.run("needrestart", "-r", "a")

    assert finished(system)
    assert all(map(str.__ne__, before, (system.property(u, "InvocationID") for u in restarted)))
    assert engine_of(system, SLOW_PORT) == ENGINE, system.journal(SERVICE)
    assert system.has_full_metrics()
    assert system.systemctl("--failed", "--plain", "--no-legend") == ""


def test_what_came_of_it_is_in_the_journal_the_check_and_the_status(
    new_system: System, exporter: Path
) -> None:
    put_one(new_system, 9402)
    new_system.write(exporters.REFUSAL, "")
    new_system.install(exporter)
    assert finished(new_system)

    assert new_system.property(SERVICE, "ExecMainStatus") == "1"
    assert "exporter-9402.service" in new_system.journal(SERVICE)
    assert "exporter-9402.service" in checked(new_system).stdout
    assert engine_of(new_system, 9402) == "embedded"


def test_where_policy_forbids_nothing_is_started(new_system: System, exporter: Path) -> None:
    put_one(new_system, 9402)
    pid = new_system.property("exporter-9402.service", "MainPID")
    new_system.write("/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n")
    new_system.run("chmod", "755", "/usr/sbin/policy-rc.d")
    new_system.install(exporter)

    assert new_system.property(SERVICE, "ExecMainStartTimestampMonotonic") == "0"
    assert not new_system.exists(exporters.WANTED)
    assert new_system.property("exporter-9402.service", "MainPID") == pid
    assert engine_of(new_system, 9402) == "embedded"


def test_in_an_image_nothing_runs_and_its_first_boot_does_it(
    with_dcgm: list[Path], exporter: Path
) -> None:
    with root_over(with_dcgm) as root:
        put_enabled_exporter(root.path)
        (root.path / "var" / "tmp" / exporter.name).write_bytes(exporter.read_bytes())
        said = root.run("dpkg", "--install", f"/var/tmp/{exporter.name}").stderr
        assert "Traceback" not in said
        assert (root.path / CONF.lstrip("/")).exists()
        assert list((root.path / "etc/systemd/system").glob("*/zz-do-dcgm-exporter.conf")) == []
        soon = root.path / "etc/systemd/system/do-dcgm-exporter-integrate.timer.d/soon.conf"
        soon.parent.mkdir()
        soon.write_text("[Timer]\nOnBootSec=\nOnBootSec=1s\nAccuracySec=1s\n")
        with switched_on(root) as machine:
            system = System(machine)
            assert system.becomes(lambda: engine_of(system, 9400) == ENGINE)
