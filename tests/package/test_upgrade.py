"""Upgrading: from the Go package of the same name, and from our own earlier version."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.package import packages
from tests.package.system import CONF, EXPORTER, System, setting

GO_UNIT = "/etc/systemd/system/do-dcgm-exporter.service"
DEFAULT_COUNTERS = "/etc/do-dcgm-exporter/default-counters.csv"
COLLECTORS = "/etc/do-dcgm-exporter/collectors.csv"


def leave_as_it_is(_: System) -> None:
    """The Go package neither enables nor starts its service."""


def start(system: System) -> None:
    system.systemctl("daemon-reload")
    system.systemctl("start", EXPORTER)


def enable(system: System) -> None:
    system.systemctl("enable", "--now", EXPORTER)


def modify_unit(system: System) -> None:
    system.write(GO_UNIT, packages.GO_UNIT.replace("9401", "9401 "))
    system.write(GO_UNIT, system.read(GO_UNIT) + "# mine\n")
    enable(system)


def remove(system: System) -> None:
    enable(system)
    system.run("dpkg", "--remove", "do-dcgm-exporter")


@pytest.mark.parametrize("state", [leave_as_it_is, start, enable, modify_unit, remove])
def test_our_service_takes_the_place_of_the_go_packages(
    new_system: System, exporter: Path, workshop: Path, state: object
) -> None:
    new_system.install(packages.go_exporter(workshop))
    state(new_system)
    new_system.install(exporter)

    assert new_system.has_full_metrics()
    assert new_system.property(EXPORTER, "FragmentPath").endswith("lib/systemd/system/" + EXPORTER)
    assert not new_system.exists(GO_UNIT)
    # Whence upgrades come; the Go package's own purge takes them along.
    for path in (packages.GO_SOURCE, packages.GO_KEY):
        assert new_system.read(path) == packages.GO_CONFFILES[path]
    assert new_system.exists(f"{GO_UNIT}.dpkg-bak") == (state is modify_unit)
    assert new_system.systemctl("is-enabled", EXPORTER) == "enabled"
    wanted = "/etc/systemd/system/multi-user.target.wants/" + EXPORTER
    assert (new_system.root / wanted[1:]).readlink().name == EXPORTER
    assert "/etc/" not in str((new_system.root / wanted[1:]).readlink())


def test_nothing_under_opt_is_touched_by_us(
    new_system: System, exporter: Path, workshop: Path
) -> None:
    new_system.install(packages.go_exporter(workshop))
    new_system.write("/opt/digitalocean/bin/do-agent", "another program")
    new_system.install(exporter)

    assert new_system.read("/opt/digitalocean/bin/do-agent") == "another program"


def test_modified_conffiles_and_the_configuration_stay(
    new_system: System, exporter: Path, workshop: Path
) -> None:
    new_system.install(packages.as_version(exporter, "0.0.9", workshop))
    kept = {
        DEFAULT_COUNTERS: new_system.read(DEFAULT_COUNTERS) + "# mine\n",
        COLLECTORS: "DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX, gauge, Mine.\n",
        CONF: "# mine\r\naddress = :9500\nengine=nvidia  ;mine\n\n\nlog-level: debug",
    }
    for path, text in kept.items():
        (new_system.root / path[1:]).write_text(text, newline="")
    new_system.install(exporter)

    assert new_system.has_full_metrics(9500)
    assert "# HELP DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX Mine.\n" in new_system.page(9500)
    for path, text in kept.items():
        assert (new_system.root / path[1:]).read_bytes() == text.encode()
    assert new_system.exists(f"{DEFAULT_COUNTERS}.dpkg-dist")


def test_untouched_conffiles_are_replaced(
    new_system: System, exporter: Path, workshop: Path
) -> None:
    new_system.install(packages.as_version(exporter, "0.0.9", workshop))
    assert "# 0.0.9\n" in new_system.read(DEFAULT_COUNTERS)
    new_system.install(exporter)

    assert "# 0.0.9\n" not in new_system.read(DEFAULT_COUNTERS)
    assert new_system.has_full_metrics()


def test_a_deleted_configuration_does_not_come_back_by_an_upgrade(
    installed: System, exporter: Path, workshop: Path
) -> None:
    installed.run("rm", CONF)
    installed.install(packages.as_version(exporter, "9.9", workshop))

    assert not installed.exists(CONF)
    assert installed.has_full_metrics()


def test_an_image_keeps_its_choices_at_its_first_boot(image_with_ours: System) -> None:
    system = image_with_ours
    assert system.has_full_metrics(9500)
    assert system.engines() == ["do-nv-hostengine.service"]
    assert setting(system.configuration, "engine") == ["ours"]
    assert setting(system.configuration, "address") == [":9500"]
