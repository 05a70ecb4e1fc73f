"""Containers and the snap: reported with what a person can do, and never changed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.package.conftest import system_over
from tests.package.exporters import (
    asked,
    checked,
    engine_of,
    finished,
    integrate,
    is_served,
    put_program,
    put_tool,
)
from tests.package.system import NAME, System

ENGINE = "localhost:5555"
IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
REMOTE = "DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555"

# What somebody has typed once.
PLAIN = ("docker", "gpu-metrics", "--gpus", "all", "--cap-add", "SYS_ADMIN", "-p", "9500:9400",
         "--restart", "unless-stopped")  # fmt: skip
ON_HOST = ("docker", "on-host", "--network", "host", "-e", "DCGM_EXPORTER_LISTEN=:9501")
PODMAN = ("podman", "by-podman", "-p", "9502:9400")
COMPOSE = ("docker", "lab-exporter-1", "--label", "com.docker.compose.project=lab")
KUBERNETES = ("docker", "k8s_exporter", "--label", "io.kubernetes.pod.name=dcgm-exporter-x")
BY_SYSTEMD = ("podman", "systemd-exporter", "--label", "PODMAN_SYSTEMD_UNIT=exporter.service")
CLIENT = ("docker", "a-client", "--network", "host", "-e", "DCGM_EXPORTER_LISTEN=:9503",
          "-e", REMOTE)  # fmt: skip
STARTED_BY_HAND = (PLAIN, ON_HOST, PODMAN)
SCHEDULED = (COMPOSE, KUBERNETES, BY_SYSTEMD)
READING = {"ps", "inspect", "version", "info", "container"}
SNAP_READING = {"list", "get", "services"}


def run_container(system: System, tool: str, name: str, *options: str) -> None:
    system.run(tool, "run", "-d", "--name", name, *options, IMAGE)


def containers(system: System, tool: str) -> dict[str, dict[str, Any]]:
    """Return the containers of a tool by name."""
    system.run(tool, "ps")  # has a look at which of them still run
    found = json.loads(system.read(f"/var/log/stand-in/{tool}/containers.json"))
    return {container["Name"][1:]: container for container in found}


def settings(system: System) -> dict[str, tuple[Any, ...]]:
    """Return what is to be kept of every container."""
    return {
        name: (
            container["Id"],
            container["State"]["Status"],
            tuple(container["HostConfig"]["RestartPolicy"].values()),
        )
        for tool in ("docker", "podman")
        for name, container in containers(system, tool).items()
    }


@pytest.fixture
def with_containers(with_exporter: list[Path]) -> Iterator[System]:
    """Our package, and containers that were started afterwards."""
    with system_over(with_exporter) as system:
        put_program(system)
        for tool in ("docker", "podman"):
            put_tool(system, tool)
        for command in (*STARTED_BY_HAND, *SCHEDULED, CLIENT):
            run_container(system, *command)
        assert system.becomes(lambda: is_served(system, 5555))
        assert system.becomes(lambda: engine_of(system, 9501) == "embedded")
        assert system.becomes(lambda: engine_of(system, 9503) == ENGINE)
        yield system


def test_containers_are_only_looked_at_and_reported(with_containers: System) -> None:
    system = with_containers
    before = settings(system)
    for tool in ("docker", "podman"):
        system.write(f"/var/log/stand-in/{tool}/asked", "")
    said = integrate(system, "apply")
    report = checked(system)

    assert {
        command[0] for tool in ("docker", "podman") for command in asked(system, tool)
    } <= READING
    assert settings(system) == before
    assert report.returncode == 1
    for _, name, *_ in (*STARTED_BY_HAND, *SCHEDULED):
        assert name in said.stdout + said.stderr, name
        assert name in report.stdout, name
    assert REMOTE in report.stdout
    for tool, name, *_ in SCHEDULED:
        assert not re.search(rf"{tool} (stop|rm|kill|rename) {name}", report.stdout)
    assert not re.search(r"\bkill \d+", report.stdout)


def test_a_docker_that_hangs_keeps_nobody_waiting(with_containers: System) -> None:
    system = with_containers
    system.write("/var/log/stand-in/docker/hangs", "")
    report = system.run("timeout", "20", "do-dcgm-exporter-integrate", "check", check=False)

    assert report.returncode in (1, 2)
    assert "docker" in report.stdout
    assert "by-podman" in report.stdout
    assert (
        system.run("timeout", "60", "do-dcgm-exporter-integrate", "apply", check=False).returncode
        != 124
    )


SNAP_UNIT = """\
[Service]
ExecStart=/usr/bin/snap run dcgm.{}
Restart=on-failure
[Install]
WantedBy=multi-user.target
"""
SNAP_UNITS = ("snap.dcgm.nv-hostengine.service", "snap.dcgm.dcgm-exporter.service")


def put_snap(system: System, port: int) -> None:
    """Install the snap dcgm, with its engine on a port and its exporter running."""
    put_program(system)
    put_tool(system, "snap")
    system.write("/var/log/stand-in/snap/settings.json", json.dumps({"nv-hostengine-port": port}))
    for unit in SNAP_UNITS:
        text = SNAP_UNIT.format(unit.split(".")[2])
        system.write(f"/etc/systemd/system/{unit}", text)
    system.run("systemctl", "daemon-reload")
    system.run("systemctl", "enable", "--quiet", "--now", SNAP_UNITS[0])
    assert system.becomes(lambda: is_served(system, port))
    system.run("systemctl", "enable", "--quiet", "--now", SNAP_UNITS[1])
    assert system.becomes(lambda: engine_of(system, 9400) == f"localhost:{port}")


def snap_settings(system: System) -> tuple[dict[str, Any], str]:
    told = system.run("snap", "get", "-d", "dcgm").stdout
    return json.loads(told), system.run("snap", "services", "dcgm").stdout


def test_the_snaps_second_engine_is_named_with_the_commands_and_goes_on(
    new_system: System, exporter: Path
) -> None:
    system = new_system
    put_snap(system, 5577)
    system.run("systemctl", "enable", "--now", NAME)
    assert system.becomes(lambda: is_served(system, 5555))
    before = snap_settings(system)
    system.install(exporter)
    assert finished(system)
    report = checked(system)

    assert report.returncode == 1
    assert "snap set dcgm nv-hostengine-port=5555" in report.stdout
    assert "snap stop --disable dcgm.nv-hostengine" in report.stdout
    assert snap_settings(system) == before
    assert engine_of(system, 9400) == "localhost:5577"
    assert {command[0] for command in asked(system, "snap")} <= SNAP_READING


def test_the_snaps_engine_on_our_port_is_used(new_system: System, exporter: Path) -> None:
    put_snap(new_system, 5555)
    before = snap_settings(new_system)
    new_system.install(exporter)
    assert finished(new_system)

    assert new_system.has_full_metrics()
    assert snap_settings(new_system) == before
    assert engine_of(new_system, 9400) == ENGINE
    assert not new_system.is_active(NAME)
    assert {command[0] for command in asked(new_system, "snap")} <= SNAP_READING
