"""After a boot the machine is looked at, behind everybody's back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.package import exporter_kinds
from tests.package.exporters import engine_of, put_program
from tests.package.machine import Machine, Root
from tests.package.system import System

SERVICE = "do-dcgm-exporter-integrate.service"
ENGINE = "localhost:5555"
SOON = "[Timer]\nOnBootSec=\nOnBootSec=5s\nAccuracySec=1s\n"
SOON_AND_OFTEN = "[Timer]\nOnActiveSec=\nOnActiveSec=1s\nAccuracySec=1s\n"


@pytest.fixture
def rebooted(with_exporter: list[Path]) -> Iterator[System]:
    """A machine that an exporter was copied onto while it was off."""
    root = Root(with_exporter)
    try:
        off = System.__new__(System)
        off.root = root.path
        put_program(off)
        etc = exporter_kinds.ETC
        unit = exporter_kinds.unit(exporter_kinds.on(9400))
        off.write(f"{etc}/copied.service", unit)
        off.write(f"{etc}/do-dcgm-exporter-integrate.timer.d/soon.conf", SOON)
        off.write(f"{etc}/do-dcgm-exporter-embedded.timer.d/soon.conf", SOON_AND_OFTEN)
        (root.path / f"{etc}/multi-user.target.wants/copied.service".lstrip("/")).symlink_to(
            f"{etc}/copied.service"
        )
        machine = Machine(root)
        try:
            yield System(machine)
        finally:
            machine.stop()
    finally:
        root.close()


def test_an_exporter_that_was_copied_is_connected_after_boot(rebooted: System) -> None:
    system = rebooted
    assert system.becomes(lambda: engine_of(system, 9400) == ENGINE, 60.0), system.journal(SERVICE)
    assert system.becomes(lambda: not system.is_active(SERVICE), 60.0)

    # No target waits for it; it waits for the target.
    wanted = system.run("systemctl", "list-dependencies", "--plain", "multi-user.target").stdout
    assert "do-dcgm-exporter.service" in wanted
    assert SERVICE not in wanted
    chain = system.run("systemd-analyze", "critical-chain", "multi-user.target").stdout
    assert "integrate" not in chain
    reached = int(system.property("multi-user.target", "ActiveEnterTimestampMonotonic"))
    begun = int(system.property(SERVICE, "ExecMainStartTimestampMonotonic"))
    assert 0 < reached < begun
    assert system.systemctl("--failed", "--plain", "--no-legend") == ""


def test_what_has_an_engine_of_its_own_is_counted_on_the_page(rebooted: System) -> None:
    system = rebooted
    family = "do_dcgm_exporter_embedded_dcgm_processes"
    assert system.becomes(lambda: f"{family} 1\n" in system.page(), 60.0)
    assert system.becomes(lambda: engine_of(system, 9400) == ENGINE, 60.0)
    assert system.becomes(lambda: f"{family} 0\n" in system.page(), 60.0)


def test_looking_costs_little(rebooted: System) -> None:
    system = rebooted
    assert system.becomes(lambda: engine_of(system, 9400) == ENGINE, 60.0)
    system.becomes(lambda: not system.is_active(SERVICE), 60.0)
    system.run("systemctl", "start", SERVICE)  # once more, with nothing to do
    # 0.3 s are allowed; the machine that tests run on may be slow and is shared.
    assert int(system.property(SERVICE, "CPUUsageNSec")) < 1_000_000_000
