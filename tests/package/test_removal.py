"""Removing and purging, and installations that break off in the middle."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from tests.package.system import CONF, EXPORTER, NAME, System, setting

# What dpkg, apt, debconf and systemd write for themselves, or any command does.
RECORDS = (
    "var/lib/dpkg/", "var/log/", "var/cache/debconf/", "var/cache/apt/", "var/lib/apt/",
    "var/lib/systemd/deb-systemd", "var/lib/systemd/random-seed", "var/lib/systemd/timers/",
    "var/cache/ldconfig/", "run/", "tmp/", "var/tmp/", "proc/", "sys/", "dev/",
)  # fmt: skip


def listing(root: Path) -> dict[str, str]:
    """Return kind, mode, owner and content of everything but others' records."""
    found = {}
    for directory, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(directory, name)
            relative = str(path.relative_to(root))
            if not f"{relative}/".startswith(RECORDS):
                found[relative] = _description(path)
    return found


def _description(path: Path) -> str:
    status = path.lstat()
    content = ""
    if stat.S_ISLNK(status.st_mode):
        content = str(path.readlink())
    elif stat.S_ISREG(status.st_mode):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return f"{status.st_mode:o} {status.st_uid}:{status.st_gid} {content}"


def test_after_a_purge_nothing_is_left(new_system: System, exporter: Path) -> None:
    before = listing(new_system.root)
    new_system.install(exporter)
    assert new_system.has_full_metrics()
    new_system.choose_engine("ours")
    assert new_system.has_full_metrics()
    new_system.choose_engine("none")
    new_system.run("do-dcgm-exporter", "--check-config")
    new_system.run("systemctl", "enable", "--now", "do-dcgm-exporter-usage.timer")
    removal = new_system.run("dpkg", "--remove", "do-dcgm-exporter")
    purge = new_system.run("dpkg", "--purge", "do-dcgm-exporter")
    assert (removal.stderr, purge.stderr) == ("", "")

    after = listing(new_system.root)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed == set()
    assert "do-dcgm-exporter" not in new_system.run("debconf-show", "--listowners").stdout
    assert new_system.systemctl("list-unit-files", "do-*", "--no-legend") == ""
    assert not new_system.page()


def test_the_simulator_leaves_nothing_either(
    bare_system: System, exporter: Path, simulator: Path
) -> None:
    before = listing(bare_system.root)
    bare_system.install(simulator, exporter)
    assert bare_system.has_full_metrics()
    assert "INVENTED" in bare_system.journal(NAME)
    bare_system.run("systemctl", "enable", "--quiet", NAME)
    assert 'modelName="NVIDIA H100 80GB HBM3 (simulated)"' in bare_system.page()
    bare_system.run("dpkg", "--purge", "do-dcgm-exporter", "dcgm-simulator")

    after = listing(bare_system.root)
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    # useradd and userdel keep backups of the files they write, and give out numbers.
    assert {path for path in changed if not path.startswith("etc/")} == set()
    assert all(path.endswith("-") or "/sub" in path for path in changed)


def test_purging_the_simulator_takes_nothing_from_the_real_dcgm_that_followed(
    bare_system: System, simulator: Path, dcgm4: Path
) -> None:
    bare_system.install(simulator)
    bare_system.run("dpkg", "--remove", "dcgm-simulator")
    bare_system.install(dcgm4)
    bare_system.run("systemctl", "enable", "--quiet", "--now", NAME)
    bare_system.write("/var/log/nvidia-dcgm/mine.log", "mine\n")
    pid = bare_system.property(NAME, "MainPID")
    bare_system.run("dpkg", "--purge", "dcgm-simulator")

    assert bare_system.read("/var/log/nvidia-dcgm/mine.log") == "mine\n"
    assert "nvidia-dcgm" in bare_system.run("getent", "passwd", "nvidia-dcgm").stdout
    assert bare_system.property(NAME, "MainPID") == pid
    assert bare_system.systemctl("is-enabled", NAME) == "enabled"


def test_removed_and_installed_again_it_is_as_it_was(installed: System, exporter: Path) -> None:
    configuration = installed.configuration + "# mine\n"
    installed.write(CONF, configuration)
    installed.run("dpkg", "--remove", "do-dcgm-exporter")
    assert installed.configuration == configuration
    assert not installed.page()
    assert installed.is_active(NAME)  # NVIDIA's, which we only started

    installed.install(exporter)
    assert installed.has_full_metrics()
    assert installed.configuration == configuration


def test_a_directory_in_place_of_the_configuration_is_named_and_stays(installed: System) -> None:
    installed.run("rm", CONF)
    installed.write(f"{CONF}/mine", "x\n")
    told = installed.run("dpkg-reconfigure", "do-dcgm-exporter")
    assert f"{CONF} is a directory and not the configuration file" in told.stderr
    assert "sed:" not in told.stderr
    assert "'do-dcgm-exporter --check-config'" in told.stderr

    purge = installed.run("dpkg", "--purge", "do-dcgm-exporter")
    assert "rm:" not in purge.stderr
    assert installed.read(f"{CONF}/mine") == "x\n"


def test_a_full_disk_breaks_the_installation_off_and_it_can_go_on(
    new_system: System, exporter: Path
) -> None:
    etc = "/etc/do-dcgm-exporter"
    new_system.run("mkdir", etc)
    new_system.run("mount", "-t", "tmpfs", "-o", "size=1m", "none", etc)
    new_system.run("dpkg", "--unpack", *new_system.put(exporter))
    new_system.run("sh", "-c", f"cat /dev/zero >{etc}/others", check=False)
    result = new_system.run("dpkg", "--configure", "-a", check=False)
    assert result.returncode != 0
    assert "No space left on device" in result.stderr

    new_system.run("rm", f"{etc}/others")
    new_system.run("dpkg", "--configure", "-a")
    assert new_system.has_full_metrics()


def test_killed_in_the_middle_it_can_go_on(new_system: System, exporter: Path) -> None:
    # The installation comes to a halt where it starts python3.
    new_system.run("mv", "/usr/bin/python3", "/usr/bin/python3.kept")
    new_system.write("/usr/bin/python3", "#!/bin/sh\ntouch /var/tmp/reached; sleep 60\n")
    new_system.run("chmod", "755", "/usr/bin/python3")
    files = new_system.put(exporter)
    new_system.run("systemd-run", "--unit=killed", "dpkg", "--install", *files)
    assert new_system.becomes(lambda: new_system.exists("/var/tmp/reached"))
    new_system.run("systemctl", "kill", "--signal=KILL", "killed")
    new_system.run("mv", "/usr/bin/python3.kept", "/usr/bin/python3")
    new_system.systemctl("stop", NAME)

    new_system.run("dpkg", "--configure", "-a")
    assert new_system.has_full_metrics()
    assert setting(new_system.configuration, "engine") == ["nvidia"]
    assert new_system.is_active(EXPORTER)
