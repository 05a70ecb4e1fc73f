"""Containers and the snap: reported, and changed only as far as that can be undone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.package.conftest import system_over
from tests.package.exporters import (
    REFUSAL,
    asked,
    engine_of,
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
RECREATED = (PLAIN, ON_HOST, PODMAN)
REPORTED = (COMPOSE, KUBERNETES, BY_SYSTEMD)
READING = {"ps", "inspect", "version", "info", "container"}


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
        for command in (*RECREATED, *REPORTED, CLIENT):
            run_container(system, *command)
        assert system.becomes(lambda: is_served(system, 5555), 30.0)
        assert system.becomes(lambda: engine_of(system, 9501) == "embedded", 30.0)
        assert system.becomes(lambda: engine_of(system, 9503) == ENGINE, 30.0)
        yield system


def test_containers_are_only_looked_at_and_reported(with_containers: System) -> None:
    system = with_containers
    before = settings(system)
    for tool in ("docker", "podman"):
        system.write(f"/var/log/stand-in/{tool}/asked", "")
    said = integrate(system, "apply")
    checked = integrate(system, "check")

    assert {
        command[0] for tool in ("docker", "podman") for command in asked(system, tool)
    } <= READING
    assert settings(system) == before
    assert checked.returncode == 1
    for _, name, *_ in (*RECREATED, *REPORTED):
        assert name in said.stdout + said.stderr, name
        assert name in checked.stdout, name
    for tool, name, *_ in RECREATED:
        assert f"{tool} stop {name}" in checked.stdout
        assert f"{tool} rename {name}" in checked.stdout
    for tool, name, *_ in REPORTED:
        assert f"{tool} stop {name}" not in checked.stdout


def test_containers_are_recreated_on_request_and_put_back(with_containers: System) -> None:
    system = with_containers
    before = settings(system)
    integrate(system, "apply", "--recreate-containers")

    for port in (9500, 9501, 9502):
        assert engine_of(system, port) == ENGINE, port
    for tool, name, *_ in RECREATED:
        copy = containers(system, tool)[name]
        assert copy["Id"] != before[name][0]
        assert copy["HostConfig"]["NetworkMode"] == "host"
        assert copy["State"]["Running"]
    copy = containers(system, "docker")["gpu-metrics"]
    assert copy["HostConfig"]["RestartPolicy"]["Name"] == "unless-stopped"
    assert copy["HostConfig"]["CapAdd"] == ["SYS_ADMIN"]
    assert copy["HostConfig"]["DeviceRequests"]
    after = settings(system)
    for _, name, *_ in (*REPORTED, CLIENT):
        assert after[name] == before[name]
    old = {identity: rest for identity, *rest in after.values()}
    for _, name, *_ in RECREATED:
        assert old[before[name][0]] == ["exited", ("no", 0)]

    assert integrate(system, "restore").returncode == 0
    assert settings(system) == before


def test_a_container_that_does_not_run_remote_is_put_back(with_containers: System) -> None:
    system = with_containers
    before = settings(system)
    system.write(REFUSAL, "")
    said = integrate(system, "apply", "--recreate-containers")

    assert said.returncode == 1
    assert settings(system) == before
    assert engine_of(system, 9501) == "embedded"


def test_a_docker_that_hangs_keeps_nobody_waiting(with_containers: System) -> None:
    system = with_containers
    system.write("/var/log/stand-in/docker/hangs", "")
    checked = system.run("timeout", "20", "do-dcgm-exporter-integrate", "check", check=False)

    assert checked.returncode in (1, 2)
    assert "docker" in checked.stdout
    assert "by-podman" in checked.stdout
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
    assert system.becomes(lambda: is_served(system, port), 30.0)
    system.run("systemctl", "enable", "--quiet", "--now", SNAP_UNITS[1])
    assert system.becomes(lambda: engine_of(system, 9400) == f"localhost:{port}", 30.0)


def snap_settings(system: System) -> tuple[dict[str, Any], str]:
    told = system.run("snap", "get", "-d", "dcgm").stdout
    return json.loads(told), system.run("snap", "services", "dcgm").stdout


def test_the_snaps_engine_is_stood_down_for_ours_and_put_back(
    new_system: System, exporter: Path
) -> None:
    system = new_system
    put_snap(system, 5577)
    system.run("systemctl", "enable", "--now", NAME)
    assert system.becomes(lambda: is_served(system, 5555), 30.0)
    before = snap_settings(system)
    system.install(exporter)

    assert system.becomes(lambda: engine_of(system, 9400) == ENGINE, 30.0)
    assert not system.is_active(SNAP_UNITS[0])
    assert not is_served(system, 5577)
    for unit in SNAP_UNITS:  # snapd makes them anew
        assert not system.exists(f"/etc/systemd/system/{unit}.d")

    system.run("dpkg", "--remove", "do-dcgm-exporter")
    assert snap_settings(system) == before
    assert system.becomes(lambda: engine_of(system, 9400) == "localhost:5577", 30.0)


def test_the_snaps_engine_on_our_port_is_used(new_system: System, exporter: Path) -> None:
    put_snap(new_system, 5555)
    before = snap_settings(new_system)
    new_system.install(exporter)

    assert new_system.has_full_metrics()
    assert snap_settings(new_system) == before
    assert engine_of(new_system, 9400) == ENGINE
    assert not new_system.is_active(NAME)
    assert {command[0] for command in asked(new_system, "snap")} <= {"list", "get", "services"}
