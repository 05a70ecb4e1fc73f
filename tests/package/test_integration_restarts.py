"""Clients that cannot run are not started for ever, and are what they were where that helps."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.package import exporters
from tests.package.conftest import system_over
from tests.package.exporters import (
    SERVICE,
    UNIT,
    engine_of,
    finished,
    library_of,
    put_library,
    put_one,
    vendor_package,
)
from tests.package.system import NAME, System

ENGINE = "localhost:5555"
BY_HAND = "exporter-9400.service"
OLD_RELEASE = "3.3.9-3.6.1"
OLD_UNIT = exporters.VENDOR_UNIT.replace(".csv", ".csv -c 1000")
LOG = "/var/log/dcgm-exporter.log"


def drop_in(unit: str) -> str:
    return f"/etc/systemd/system/{unit}.d/zz-do-dcgm-exporter.conf"


def becomes_client(system: System) -> bool:
    return finished(system) and system.becomes(lambda: engine_of(system, 9400) == ENGINE)


def hurry(system: System, unit: str) -> None:
    """Have a unit reach the limit of our drop-in in seconds instead of minutes."""
    text = system.read(drop_in(unit))
    assert "StartLimitBurst=30\n" in text
    assert "RestartSec=10\n" in text
    system.write(
        f"/etc/systemd/system/{unit}.d/zzz-hurry.conf",
        "[Unit]\nStartLimitBurst=3\n[Service]\nRestartSec=1\n",
    )
    system.run("systemctl", "daemon-reload")


def rests(system: System, unit: str) -> bool:
    """Whether a unit stops being started again."""
    return system.becomes(lambda: system.property(unit, "ActiveState") in ("failed", "inactive"))


def gives_up(system: System, unit: str) -> bool:
    """Whether a unit comes to rest, failed, and what is done about that is done."""
    return system.becomes(lambda: system.property(unit, "ActiveState") == "failed") and finished(
        system
    )


@pytest.fixture
def system_with_dcgm3(dependencies: list[Path], dcgm3: Path) -> Iterator[System]:
    with system_over(dependencies) as system:
        system.install(dcgm3)
        put_library(system.root, OLD_RELEASE)
        yield system


def test_an_exporter_of_dcgm_3_is_put_back_once_the_engine_is_dcgm_4(
    system_with_dcgm3: System, exporter: Path, workshop: Path, dcgm4: Path
) -> None:
    system = system_with_dcgm3
    system.install(vendor_package(workshop, OLD_RELEASE, OLD_UNIT, has_library=False))
    system.install(exporter)
    assert becomes_client(system)

    system.run("dpkg", "--remove", "--force-depends", "datacenter-gpu-manager")
    for library in (library_of(OLD_RELEASE), library_of("4").with_name("libdcgm.so.3")):
        (system.root / str(library).lstrip("/")).unlink()
    system.install(dcgm4)
    assert becomes_client(system), "the old engine still runs"

    hurry(system, UNIT)
    system.systemctl("restart", NAME)
    assert gives_up(system, UNIT)
    assert system.becomes(lambda: not system.exists(drop_in(UNIT)))
    assert finished(system)
    said = system.journal(SERVICE)
    assert f"{UNIT}: does not run as before: it exits at once: tail {LOG}" in said
    assert f"{UNIT} keeps its embedded DCGM: it uses DCGM 3, the engine is DCGM 4.5.3" in said
    assert "libdcgm.so library was not found" in system.read(LOG)
    # Ours has followed by itself.
    both = 'dcgm_client="4.5.3",hostengine="4.5.3"'
    assert system.becomes(lambda: both in system.page())


def test_an_engine_that_stays_away_is_not_waited_for_by_restarting_for_ever(
    new_system: System, exporter: Path
) -> None:
    put_one(new_system)
    new_system.install(exporter)
    assert becomes_client(new_system)
    hurry(new_system, BY_HAND)
    new_system.systemctl("stop", NAME)
    # NVIDIA's notices when it is scraped.
    new_system.becomes(lambda: not engine_of(new_system, 9400))
    assert gives_up(new_system, BY_HAND)
    assert new_system.exists(drop_in(BY_HAND)), "the engine is expected back"

    new_system.systemctl("start", NAME)
    assert becomes_client(new_system)


def test_an_exporter_that_is_purged_while_it_runs_loses_its_drop_in(
    installed: System, workshop: Path
) -> None:
    installed.install(vendor_package(workshop, stops=False))
    assert becomes_client(installed)
    pid = installed.property(UNIT, "MainPID")

    installed.run("dpkg", "--purge", "datacenter-gpu-manager-exporter")
    assert finished(installed)
    assert not installed.exists(drop_in(UNIT))
    assert installed.property(UNIT, "MainPID") == pid, "nobody has stopped it"
    installed.systemctl("restart", NAME)
    assert installed.becomes(lambda: not engine_of(installed, 9400))
    assert rests(installed, UNIT)
    assert "203/EXEC" not in installed.journal(UNIT)


def test_an_exporter_that_is_deleted_by_hand_is_not_started_for_ever(
    new_system: System, exporter: Path
) -> None:
    put_one(new_system)
    new_system.install(exporter)
    assert becomes_client(new_system)
    hurry(new_system, BY_HAND)
    new_system.run("rm", "/usr/bin/dcgm-exporter", f"/etc/systemd/system/{BY_HAND}")
    new_system.systemctl("restart", NAME)
    new_system.becomes(lambda: not engine_of(new_system, 9400))

    assert new_system.becomes(lambda: not new_system.exists(drop_in(BY_HAND)))
    assert finished(new_system)
    assert rests(new_system, BY_HAND)
