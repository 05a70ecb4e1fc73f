"""``check``: whatever is wrong with a machine is named, and whatever hangs is not waited for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from tests.package import exporters
from tests.package.conftest import system_over
from tests.package.exporters import is_served
from tests.package.system import EXPORTER, NAME, System

COMMAND = ("do-dcgm-exporter-integrate", "check")
# What hangs would never end by itself; a check that waits for it does not end either.
LONGEST = "20"
IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"


@dataclass(frozen=True)
class Checked:
    """What a check said, as text and as JSON."""

    status: int
    text: str
    data: dict[str, Any] = field(repr=False)

    @property
    def problems(self) -> dict[str, str]:
        """The problems by their ids, each with its remedy."""
        return {one["id"]: f"{one['what']}\n{'; '.join(one['remedy'])}"
                for one in self.data["problems"]}  # fmt: skip


def check(system: System, *, hangs: bool = False) -> Checked:
    """Check, twice: for a person and for a program.

    Unless something ``hangs``, the check has the time that a busy computer needs.
    """
    command = ("timeout", LONGEST, *COMMAND) if hangs else (*COMMAND, "--wait")
    text, data = (system.run(*command, *form, check=False) for form in ((), ("--json",)))
    assert text.returncode == data.returncode, text.stdout + text.stderr
    return Checked(text.returncode, text.stdout + text.stderr, json.loads(data.stdout))


@pytest.fixture(scope="module")
def checked_machine(with_exporter: list[Path]) -> Iterator[System]:
    """A machine on which all is well; every test leaves it so."""
    with system_over(with_exporter) as system:
        # A minute after the boot it would make clients of what is to be found embedded.
        system.run("systemctl", "stop", "do-dcgm-exporter-integrate.timer")
        exporters.put_program(system)
        assert system.has_full_metrics()
        yield system


@pytest.fixture
def machine(checked_machine: System) -> Iterator[System]:
    yield checked_machine
    assert checked_machine.serves(hostengine_up=True)


@contextmanager
def stopped(system: System, unit: str) -> Iterator[None]:
    """Have a unit's processes hang."""
    system.run("systemctl", "kill", "--signal=STOP", unit)
    try:
        yield
    finally:
        system.run("systemctl", "kill", "--signal=CONT", unit)


@contextmanager
def a_docker_that_hangs(system: System) -> Iterator[None]:
    """Have a container with a DCGM in it, and a docker that does not tell of it."""
    exporters.put_tool(system, "docker")
    system.run("docker", "run", "-d", "--name", "gpu-metrics", "-p", "9500:9400", IMAGE)
    assert system.becomes(lambda: bool(check(system).data["embedded_processes"]))
    system.write("/var/log/stand-in/docker/hangs", "")
    try:
        yield
    finally:
        system.run("rm", "/var/log/stand-in/docker/hangs")
        system.run("docker", "rm", "--force", "gpu-metrics")
        system.run("rm", "/usr/bin/docker", "/run/docker.pid")


def test_on_a_clean_machine_nothing_is_wrong(machine: System) -> None:
    found = check(machine)

    assert (found.status, found.problems) == (0, {}), found.text
    assert "no problems" in found.text
    engine = found.data["engine"]
    assert (engine["engine"], engine["condition"]) == ("4.5.3", "answers")
    assert engine["profiling"] == "works"
    assert found.data["engine_port"]["unit"] == NAME
    assert found.data["own_port"]["unit"] == EXPORTER
    assert "datacenter-gpu-manager-4-core" in found.data["packages"]
    assert found.data["embedded_processes"] == []


def test_who_may_not_look_is_told_so(machine: System) -> None:
    found = machine.run("runuser", "-u", "nobody", "--", *COMMAND, check=False)

    assert found.returncode == 2
    assert "could not be looked at" in found.stdout


def test_a_hung_engine_is_named(machine: System) -> None:
    with stopped(machine, NAME):
        found = check(machine, hangs=True)

    assert found.status == 1
    assert "systemctl restart nvidia-dcgm.service" in found.problems["engine-hung"]


def test_an_engine_without_a_driver_is_named(machine: System) -> None:
    drop_in = f"/etc/systemd/system/{NAME}.d/no-driver.conf"
    machine.write(drop_in, "[Service]\nEnvironment=DCGM_SIMULATOR_SCENARIO=no-nvml\n")
    restart_engine(machine)
    found = check(machine)
    machine.run("rm", drop_in)
    restart_engine(machine)

    assert found.status == 1
    assert "modprobe nvidia" in found.problems["no-driver"]


def restart_engine(system: System) -> None:
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "restart", NAME)
    assert system.becomes(lambda: is_served(system, 5555))


def test_a_taken_port_is_named_with_its_holder(machine: System) -> None:
    machine.run("systemctl", "stop", EXPORTER)
    machine.run("systemd-run", "--unit=holder", "python3", "-m", "http.server", "9401")
    machine.becomes(lambda: bool(machine.page()))
    found = check(machine)
    machine.run("systemctl", "stop", "holder")
    machine.run("systemctl", "start", EXPORTER)

    assert found.status == 1
    assert "python3" in found.problems["port-taken"]
    assert "dpkg-reconfigure do-dcgm-exporter" in found.problems["port-taken"]
    assert list(found.problems) == ["port-taken"]  # which is why the service is down


def test_an_embedded_exporter_in_a_container_is_named_with_the_commands(machine: System) -> None:
    exporters.put_tool(machine, "docker")
    machine.run("docker", "run", "-d", "--name", "gpu-metrics", "-p", "9500:9400", IMAGE)
    embedded = machine.becomes(lambda: bool(check(machine).data["embedded_processes"]))
    found = check(machine)
    machine.run("docker", "rm", "--force", "gpu-metrics")
    machine.run("rm", "/usr/bin/docker")

    assert embedded
    assert found.status == 1
    assert found.data["embedded_processes"][0]["command"] == "dcgm-exporter"
    remedy = found.problems["embedded-dcgm"]
    assert "gpu-metrics" in remedy
    assert "DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555" in remedy
    assert "--network host" in remedy


def test_everything_may_hang_at_once(machine: System) -> None:
    with ExitStack() as hanging:
        hanging.enter_context(a_docker_that_hangs(machine))
        hanging.enter_context(stopped(machine, EXPORTER))
        hanging.enter_context(stopped(machine, NAME))
        found = check(machine, hangs=True)

    assert found.status == 1
    # A page without an engine is no problem besides that of the engine.
    assert "engine-hung" in found.problems
    assert any("docker" in one for one in found.data["unseen"])


def test_a_client_newer_than_the_engine_is_named(
    with_exporter: list[Path], newer_dcgm4: Path
) -> None:
    with system_over(with_exporter) as system:
        assert system.serves(hostengine_up=True)
        system.install(newer_dcgm4)  # restarts nothing, as NVIDIA's packages
        found = check(system)

    assert found.status == 1
    problem = found.problems["engine-does-not-fit"]
    assert "4.5.3" in problem
    assert "4.6.0" in problem
    assert "systemctl restart nvidia-dcgm.service" in problem


def test_what_is_missing_of_dcgm_is_named_until_it_serves(
    bare_system: System, exporter: Path, dcgm47: dict[str, Path]
) -> None:
    files = bare_system.put(exporter)
    bare_system.run("dpkg", "--install", "--force-depends", *files)
    found = check(bare_system)

    assert found.status == 1
    assert "datacenter-gpu-manager-4-core" in found.problems["no-dcgm"]
    assert "no-driver" in found.problems

    *others, bindings = dcgm47.values()
    bare_system.install(*others)
    bare_system.run("apt-get", "check")  # no dependency is left that something else could meet
    bare_system.run("systemctl", "start", NAME)
    problems = check(bare_system).problems
    assert "apt install datacenter-gpu-manager-4-python3" in "".join(problems.values())

    bare_system.install(bindings)
    assert bare_system.has_full_metrics()
    assert 'hostengine="4.7.0"' in bare_system.page()
    assert set(check(bare_system).problems) <= {"no-driver"}


def test_an_embedded_exporter_is_named_with_what_mends_it(machine: System) -> None:
    exporters.put_one(machine)
    found = check(machine)
    machine.run("systemctl", "disable", "--now", "exporter-9400.service")
    machine.run("rm", "/etc/systemd/system/exporter-9400.service")
    machine.run("systemctl", "daemon-reload")

    assert found.status == 1
    assert "exporter-9400.service" in found.problems["embedded-dcgm"]
    assert "do-dcgm-exporter-integrate apply" in found.problems["embedded-dcgm"]


@pytest.mark.parametrize("command", ["apply", "restore"])
def test_who_may_not_change_anything_is_told_in_a_sentence(installed: System, command: str) -> None:
    nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    told = installed.run(*nobody, "do-dcgm-exporter-integrate", command, check=False)

    assert told.returncode == 1
    assert told.stderr.endswith("Permission denied; run it as root\n")
    assert len(told.stderr.splitlines()) == 1
    assert "Traceback" not in told.stderr
