"""Containers of exporters: who is asked for them, and how they are known."""

from __future__ import annotations

import subprocess

import pytest
from tests.unit.integration.conftest import LIB, Machine

from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.containers import Container, find_containers
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.systemd import Systemd

IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
STORAGE = "var/lib/containers/storage/overlay"


@pytest.fixture
def docker(machine: Machine) -> Machine:
    """A machine with docker, and an exporter that somebody has started by hand."""
    machine.stand_in("docker", "containers")
    run(machine, "docker", "gpu", IMAGE)
    machine.forget_asked()
    return machine


def run(machine: Machine, runtime: str, name: str, image: str, *arguments: str) -> None:
    port = ("--publish", f"{machine.ports[0]}:9400")
    subprocess.run([runtime, "run", "--detach", "--name", name, *port, image, *arguments],
                   check=True)  # fmt: skip


def found(machine: Machine, runtime: str = "docker") -> dict[str, Container]:
    processes = scan(machine.host, 5555)
    return {one.name: one for one in find_containers(machine.host, runtime, Systemd(), processes)}


def test_a_container_is_known_by_its_image(docker: Machine) -> None:
    container = found(docker)["gpu"]
    assert (IMAGE, 4, True, None) == (
        container.image, container.library_major, container.is_embedded, container.remote
    )  # fmt: skip
    assert {"ps", "inspect"} == {words[1] for words in docker.asked() if words[0] == "docker"}


@pytest.mark.parametrize("image", ["mirror:5000/dcgm_exporter", "mirror:5000/gpu-metrics:1"])
def test_a_renamed_image_is_known_by_what_runs_in_it(docker: Machine, image: str) -> None:
    run(docker, "docker", "renamed", image)
    assert found(docker)["renamed"].processes


def test_a_container_of_something_else_is_not_found(docker: Machine) -> None:
    run(docker, "docker", "web", "nginx:1")
    for maps in (docker.root / "proc").glob("[0-9]*/maps"):
        maps.write_text("")
    assert {"gpu"} == set(found(docker))


@pytest.mark.parametrize(
    ("arguments", "remote"),
    [
        (["-r", "gpu7:5555"], "gpu7:5555"),
        (["dcgm-exporter", "-r", "gpu7:5555"], "gpu7:5555"),
        (["-k", "false", "-r", "gpu7:5555"], None),
    ],
)
def test_a_container_says_which_engine_it_was_told_of(
    docker: Machine, arguments: list[str], remote: str | None
) -> None:
    run(docker, "docker", "told", IMAGE, *arguments)
    assert remote == found(docker)["told"].remote


def test_a_daemon_that_does_not_run_is_not_asked_for_that_would_start_it(docker: Machine) -> None:
    docker.write(f"{LIB}/docker.service", "[Service]\nExecStart=/usr/bin/dockerd\n")
    assert {} == found(docker)
    assert [] == [words for words in docker.asked() if words[0] == "docker"]


def test_podman_is_not_run_where_it_would_make_its_storage(machine: Machine) -> None:
    machine.stand_in("podman", "containers")
    assert {} == found(machine, "podman")
    assert not machine.exists("stand-in/asked")
    (machine.root / STORAGE).mkdir(parents=True)
    run(machine, "podman", "gpu", IMAGE)
    assert {"gpu"} == set(found(machine, "podman"))


@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_a_runtime_that_is_not_installed_is_not_asked(machine: Machine, runtime: str) -> None:
    assert {} == found(machine, runtime)


def test_an_answer_that_cannot_be_understood_is_an_error(docker: Machine) -> None:
    docker.program("docker", f'#!/bin/sh\n[ "$1" = inspect ] && echo no || echo "7\t{IMAGE}"\n')
    with pytest.raises(CommandFailed, match="cannot be understood"):
        found(docker)
