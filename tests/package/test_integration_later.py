"""An exporter of NVIDIA's that comes, is upgraded and goes while our package is there."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.package import exporter_kinds, exporters, packages
from tests.package.exporter_kinds import VENDOR
from tests.package.exporters import UNIT, checked, engine_of, finished, integrate, vendor_package
from tests.package.system import EXPORTER, System

ENGINE = "localhost:5555"


def starts(system: System) -> int:
    """Return how often NVIDIA's exporter was started."""
    return system.journal(UNIT).count("Started ")


@pytest.mark.parametrize("place", ["usr/lib", "lib"])
def test_it_is_connected_stays_so_and_is_forgotten(
    installed: System, workshop: Path, place: str
) -> None:
    assert installed.serves(hostengine_up=True)
    ours = installed.property(EXPORTER, "MainPID")
    installed.install(vendor_package(workshop, "4.5.2-4.8.1", place=place))
    assert finished(installed)
    assert engine_of(installed, 9400) == ENGINE
    assert starts(installed) == 2  # by its own package, and once by ours

    changed = exporters.VENDOR_UNIT.replace(".csv", ".csv -c 5000")
    installed.install(vendor_package(workshop, "4.5.3-4.8.2", changed, place=place))
    assert finished(installed)
    assert installed.becomes(lambda: engine_of(installed, 9400) == ENGINE)
    assert starts(installed) == 3  # by its own package alone

    installed.run("dpkg", "--remove", "datacenter-gpu-manager-exporter")
    assert finished(installed)
    assert not installed.exists(str(Path(VENDOR.drop_ins[0]).parent))
    assert UNIT not in checked(installed).stdout
    # None of this was any reason to restart our own service.
    assert installed.property(EXPORTER, "MainPID") == ours


def test_one_that_comes_back_is_connected_again_and_stays_so_over_our_upgrade(
    installed: System, exporter: Path, workshop: Path
) -> None:
    vendor = vendor_package(workshop)
    installed.install(vendor)
    installed.run("dpkg", "--purge", "datacenter-gpu-manager-exporter")
    installed.install(vendor)
    assert finished(installed)
    assert engine_of(installed, 9400) == ENGINE

    pid = installed.property(UNIT, "MainPID")
    installed.install(packages.as_version(exporter, "9.9", workshop))
    assert finished(installed)
    assert engine_of(installed, 9400) == ENGINE
    assert installed.property(UNIT, "MainPID") == pid


def test_a_command_that_we_had_to_replace_is_made_anew_when_it_changes(installed: System) -> None:
    assert installed.serves(hostengine_up=True)
    exporters.put_program(installed)
    exporters.put_tool(installed, "docker")
    command = exporter_kinds.DOCKER_RUN.format("--net host", 9425)
    path = f"{exporter_kinds.ETC}/in-docker.service"
    installed.write(path, exporter_kinds.unit(command, "Environment=PERCENT=5%%"))
    installed.run("systemctl", "daemon-reload")
    installed.run("systemctl", "start", "in-docker.service")
    assert installed.becomes(lambda: engine_of(installed, 9425) == "embedded")
    assert integrate(installed, "apply").returncode == 0
    assert engine_of(installed, 9425) == ENGINE

    installed.write(path, installed.read(path).replace("9425", "9435"))
    installed.run("systemctl", "daemon-reload")
    report = checked(installed)
    assert report.returncode == 1
    assert "in-docker.service" in report.stdout
    assert integrate(installed, "apply").returncode == 0
    assert (engine_of(installed, 9425), engine_of(installed, 9435)) == ("", ENGINE)
    assert integrate(installed, "restore").returncode == 0
    assert installed.becomes(lambda: engine_of(installed, 9435) == "embedded")
