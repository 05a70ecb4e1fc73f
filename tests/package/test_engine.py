"""One name, one engine: whatever the admin did before or does later."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.package import packages
from tests.package.conftest import system_over
from tests.package.system import EXPORTER, NAME, OURS, System, setting

ETC_UNIT = f"/etc/systemd/system/{NAME}"
ENGINE_COMMAND = ("/usr/bin/nv-hostengine", "-n", "--service-account", "nvidia-dcgm")


def is_collecting(system: System) -> bool:
    return system.serves(hostengine_up=True)


def test_an_engine_that_is_enabled_already_is_used(new_system: System, exporter: Path) -> None:
    new_system.systemctl("enable", "--now", NAME)
    pid = new_system.property(NAME, "MainPID")
    new_system.install(exporter)

    assert is_collecting(new_system)
    assert new_system.engines() == [NAME]
    assert new_system.property(NAME, "MainPID") == pid
    assert new_system.systemctl("is-enabled", NAME) == "enabled"


def test_an_engine_that_runs_but_is_not_enabled_is_used(new_system: System, exporter: Path) -> None:
    new_system.systemctl("start", NAME)
    pid = new_system.property(NAME, "MainPID")
    new_system.install(exporter)

    assert is_collecting(new_system)
    assert new_system.property(NAME, "MainPID") == pid
    assert new_system.systemctl("is-enabled", NAME) == "disabled"


def test_an_engine_run_by_hand_is_used_and_not_fought(new_system: System, exporter: Path) -> None:
    new_system.run("systemd-run", "--unit=by-hand", *ENGINE_COMMAND)
    new_system.becomes(lambda: bool(new_system.engines()))
    new_system.install(exporter)

    assert is_collecting(new_system)
    assert new_system.engines() == ["by-hand.service"]
    assert "no second engine is started" in new_system.journal(NAME)
    assert new_system.systemctl("--failed", "--plain", "--no-legend") == ""


def test_where_no_unit_exists_ours_is_the_default(
    bare_system: System, workshop: Path, exporter: Path
) -> None:
    bare_system.install(packages.tarball_engine(workshop))
    bare_system.install(exporter)

    assert bare_system.has_full_metrics()
    assert bare_system.engines() == [OURS]
    assert setting(bare_system.configuration, "engine") == ["ours"]


def test_a_masked_engine_stays_masked(new_system: System, exporter: Path) -> None:
    new_system.systemctl("mask", NAME)
    new_system.install(exporter)

    assert new_system.serves(hostengine_up=False)
    assert new_system.is_active(EXPORTER)
    new_system.choose_engine("ours")
    assert (new_system.root / ETC_UNIT.lstrip("/")).readlink() == Path("/dev/null")
    assert new_system.engines() == []


def test_a_full_copy_of_the_unit_is_the_admins(new_system: System, exporter: Path) -> None:
    unit = new_system.read(f"/usr/lib/systemd/system/{NAME}")
    copy = unit.replace("[Service]", "[Service]\nEnvironment=MINE=1")
    new_system.write(ETC_UNIT, copy)
    new_system.systemctl("daemon-reload")
    new_system.install(exporter)

    assert is_collecting(new_system)
    assert "MINE=1" in new_system.property(NAME, "Environment")
    new_system.choose_engine("ours")
    assert new_system.read(ETC_UNIT) == copy
    assert is_collecting(new_system)
    assert new_system.engines() == [NAME]


@pytest.fixture
def system_with_dcgm3(dependencies: list[Path], dcgm3: Path) -> Iterator[System]:
    with system_over(dependencies) as system:
        system.install(dcgm3)
        yield system


def test_dcgm_3_works_as_well(system_with_dcgm3: System, exporter: Path) -> None:
    system_with_dcgm3.install(exporter)

    assert system_with_dcgm3.has_full_metrics()
    assert system_with_dcgm3.engines() == [NAME]


def test_the_old_unit_of_dcgm_3_goes_on(system_with_dcgm3: System, exporter: Path) -> None:
    system = system_with_dcgm3
    system.systemctl("enable", "--now", "dcgm.service")
    pid = system.property("dcgm.service", "MainPID")
    system.install(exporter)

    assert is_collecting(system)
    assert system.engines() == ["dcgm.service"]
    assert system.property("dcgm.service", "MainPID") == pid
    system.choose_engine("ours")
    system.systemctl("restart", EXPORTER)
    assert is_collecting(system)
    assert system.property("dcgm.service", "MainPID") == pid


def test_the_command_of_every_guide_works_after_the_installation(installed: System) -> None:
    assert is_collecting(installed)
    pid = installed.property(NAME, "MainPID")
    installed.run("systemctl", "--now", "enable", "nvidia-dcgm")

    assert is_collecting(installed)
    assert installed.property(NAME, "MainPID") == pid
    assert installed.engines() == [NAME]
    assert installed.systemctl("is-enabled", "nvidia-dcgm") == "enabled"


def test_ours_is_chosen_and_given_back(installed: System) -> None:
    installed.systemctl("enable", NAME)
    links = installed.run("ls", "-R", "/etc/systemd/system").stdout

    installed.choose_engine("ours")
    assert is_collecting(installed)
    assert installed.engines() == [OURS]
    installed.reconfigure()
    assert installed.engines() == [OURS]

    installed.choose_engine("nvidia")
    assert is_collecting(installed)
    assert installed.engines() == [NAME]
    assert installed.run("ls", "-R", "/etc/systemd/system").stdout == links


def test_none_pulls_in_no_engine(installed: System) -> None:
    installed.systemctl("stop", EXPORTER, NAME)
    installed.choose_engine("none")
    installed.systemctl("restart", EXPORTER)

    assert installed.serves(hostengine_up=False)
    assert installed.engines() == []
    installed.choose_engine("nvidia")
    assert is_collecting(installed)
    assert not installed.exists("/etc/systemd/system/do-dcgm-exporter.service.d")


def test_the_choice_is_kept_over_an_upgrade(
    installed: System, exporter: Path, workshop: Path
) -> None:
    installed.choose_engine("ours")
    pid = installed.property(NAME, "MainPID")
    installed.install(packages.as_version(exporter, "9.9", workshop))

    assert is_collecting(installed)
    assert installed.engines() == [OURS]
    assert installed.property(NAME, "MainPID") == pid  # an upgrade of ours is no reason
    assert setting(installed.configuration, "engine") == ["ours"]


def test_nvidias_engine_works_after_ours_was_removed(installed: System, exporter: Path) -> None:
    installed.choose_engine("ours")
    installed.run("dpkg", "--remove", "do-dcgm-exporter")
    assert installed.engines() == []
    installed.run("systemctl", "enable", "--now", NAME)
    # Started, for a simple service, is before its program runs.
    assert installed.becomes(lambda: installed.engines() == [NAME])

    installed.install(exporter)  # the file says ours still
    assert is_collecting(installed)
    assert installed.engines() == [OURS]


def test_nvidias_engine_runs_again_after_ours_if_it_is_to_run_at_boot(installed: System) -> None:
    installed.systemctl("enable", "--now", NAME)
    installed.choose_engine("ours")
    assert installed.engines() == [OURS]
    installed.run("dpkg", "--remove", "do-dcgm-exporter")

    assert installed.becomes(lambda: installed.engines() == [NAME])
    assert installed.systemctl("is-enabled", NAME) == "enabled"


def links(system: System) -> str:
    """Return every link by which units are known, wanted or hidden."""
    return system.run("find", "/etc/systemd/system", "-type", "l", "-printf", "%p %l\n").stdout


@pytest.mark.parametrize("engine", ["ours", "none"])
def test_the_choice_is_back_after_a_removal_that_fails(installed: System, engine: str) -> None:
    installed.systemctl("enable", NAME)
    installed.choose_engine(engine)
    before = (links(installed), installed.engines())
    prerm = "/var/lib/dpkg/info/do-dcgm-exporter.prerm"
    text = installed.read(prerm)
    assert text.endswith("exit 0\n")
    installed.write(prerm, f"{text.removesuffix('exit 0' + chr(10))}exit 1\n")
    failed = installed.run("dpkg", "--remove", "do-dcgm-exporter", check=False)

    assert failed.returncode != 0
    assert (links(installed), installed.engines()) == before
    assert installed.is_active(EXPORTER)


@pytest.mark.parametrize("engine", ["ours", "none"])
def test_the_choice_is_back_after_an_upgrade_that_fails(
    installed: System, exporter: Path, workshop: Path, engine: str
) -> None:
    installed.choose_engine(engine)
    before = (links(installed), installed.engines())
    refused = packages.as_version(exporter, "9.7", workshop, preinst="#!/bin/sh\nexit 1\n")
    assert installed.install(refused, check=False).returncode != 0

    assert (links(installed), installed.engines()) == before
    assert installed.is_active(EXPORTER)


STILL_RUNS = (
    f"do-dcgm-exporter: DCGM 4.6.0 is installed, {NAME} still runs 4.5.3:"
    " systemctl restart nvidia-dcgm"
)


def speaks(system: System, release: str) -> bool:
    """Whether library and engine are of one release, and there are metrics."""
    both = f'dcgm_client="{release}",hostengine="{release}"'
    return system.becomes(lambda: both in system.page()) and system.has_full_metrics()


def cycles_go_on(system: System) -> bool:
    """Whether another cycle succeeds."""

    def newest() -> str:
        found = re.search(r"last_success_timestamp_seconds ([0-9.e+]+)", system.page())
        return found[1] if found else ""

    last = newest()
    return bool(last) and system.becomes(lambda: newest() not in ("", last))


def said(result: subprocess.CompletedProcess[str]) -> list[str]:
    """Return what apt has printed for us."""
    lines = (result.stdout + result.stderr).splitlines()
    return [line for line in lines if line.startswith("do-dcgm-exporter")]


def test_an_upgrade_of_dcgm_takes_nothing_away_while_the_old_engine_runs(
    installed: System, newer_dcgm4: Path
) -> None:
    assert is_collecting(installed)
    before = [installed.property(unit, "MainPID") for unit in (NAME, EXPORTER)]

    assert said(installed.install(newer_dcgm4)) == [STILL_RUNS]
    assert cycles_go_on(installed)
    assert speaks(installed, "4.5.3")
    assert [installed.property(unit, "MainPID") for unit in (NAME, EXPORTER)] == before

    installed.systemctl("restart", NAME)
    assert speaks(installed, "4.6.0")
    assert installed.property(EXPORTER, "MainPID") == before[1]
    assert installed.property(EXPORTER, "NRestarts") == "0"
    assert said(installed.reconfigure()) == []


def test_an_upgrade_of_dcgm_restarts_the_engine_that_is_ours(
    installed: System, newer_dcgm4: Path
) -> None:
    installed.choose_engine("ours")
    assert is_collecting(installed)

    assert said(installed.install(newer_dcgm4)) == []
    assert speaks(installed, "4.6.0")


@pytest.mark.parametrize(("engine", "told"), [("nvidia", [STILL_RUNS]), ("ours", [])])
def test_dcgm_and_the_exporter_are_upgraded_at_once(
    installed: System,
    newer_dcgm4: Path,
    exporter: Path,
    workshop: Path,
    engine: str,
    told: list[str],
) -> None:
    installed.choose_engine(engine)
    assert is_collecting(installed)

    ours = packages.as_version(exporter, "9.9", workshop)
    assert said(installed.install(newer_dcgm4, ours)) == told
    if told:
        assert installed.becomes(lambda: "restart nvidia-dcgm" in installed.journal(EXPORTER))
        installed.systemctl("restart", NAME)
    assert speaks(installed, "4.6.0")


def test_an_engine_that_fails_is_started_again(installed: System) -> None:
    assert is_collecting(installed)
    installed.run("systemctl", "kill", "--signal=KILL", NAME)

    assert installed.serves(hostengine_up=False)
    assert is_collecting(installed)
