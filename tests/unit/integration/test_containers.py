"""Containers of exporters: who is asked for them, and how they are known."""

from __future__ import annotations

import json
import subprocess

import pytest
from tests.unit.integration.conftest import Machine

from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.containers import Container, find_containers
from do_dcgm_exporter.integration.looking.processes import scan

IMAGE = "nvcr.io/nvidia/k8s/dcgm-exporter:4.5.3-4.8.2-ubuntu22.04"
STORAGE = "var/lib/containers/storage/overlay"


@pytest.fixture
def docker(machine: Machine) -> Machine:
    """A machine with docker, and an exporter that somebody has started by hand."""
    machine.stand_in("docker", "containers")
    machine.write("run/docker.pid", "42")
    run(machine, "docker", "gpu", IMAGE)
    machine.forget_asked()
    return machine


def run(machine: Machine, runtime: str, name: str, image: str, *arguments: str) -> None:
    port = ("--publish", f"{machine.ports[0]}:9400")
    subprocess.run([runtime, "run", "--detach", "--name", name, *port, image, *arguments],
                   check=True)  # fmt: skip


def found(machine: Machine, runtime: str = "docker") -> dict[str, Container]:
    processes = scan(machine.host, 5555)
    return {one.name: one for one in find_containers(machine.host, runtime, processes)}


def asked(machine: Machine) -> list[str]:
    """Return what docker was asked."""
    return [words[1] for words in machine.asked() if words[0] == "docker"]


@pytest.mark.parametrize("image", [IMAGE, "mirror:5000/dcgm_exporter", "mirror:5000/gpu-metrics:1"])
def test_a_container_is_known_by_what_runs_in_it(docker: Machine, image: str) -> None:
    run(docker, "docker", "other", image)
    container = found(docker)["other"]
    assert (image, True) == (container.image, container.processes[0].is_embedded)


def test_a_container_of_something_else_is_not_found(docker: Machine) -> None:
    run(docker, "docker", "web", "nginx:1")
    _, web = json.loads(docker.read("stand-in/docker.json"))
    docker.write(f"proc/{web['State']['Pid']}/maps", "")
    assert {"gpu"} == set(found(docker))


@pytest.mark.parametrize("words", [["-r", "gpu7:5555"], ["dcgm-exporter", "-r", "gpu7:5555"]])
def test_a_container_says_what_its_exporter_is_called_with(
    docker: Machine, words: list[str]
) -> None:
    run(docker, "docker", "told", IMAGE, *words)
    assert ("-r", "gpu7:5555") == found(docker)["told"].arguments


def test_a_daemon_that_does_not_run_is_not_asked_for_that_would_start_it(docker: Machine) -> None:
    docker.remove("run/docker.pid")
    assert {} == found(docker)
    assert [] == asked(docker)


def test_nobody_is_asked_where_no_container_has_a_dcgm(docker: Machine) -> None:
    for maps in (docker.root / "proc").glob("[0-9]*/maps"):
        maps.write_text("")
    assert {} == found(docker)
    assert [] == asked(docker)


def test_podman_is_not_run_where_it_would_make_its_storage(machine: Machine) -> None:
    machine.stand_in("podman", "containers")
    run(machine, "podman", "gpu", IMAGE)
    machine.forget_asked()
    assert {} == found(machine, "podman")
    assert [] == machine.asked()
    (machine.root / STORAGE).mkdir(parents=True)
    assert {"gpu"} == set(found(machine, "podman"))


@pytest.mark.parametrize("runtime", ["docker", "podman"])
def test_a_runtime_that_is_not_installed_is_not_asked(machine: Machine, runtime: str) -> None:
    assert {} == found(machine, runtime)


def test_an_answer_that_cannot_be_understood_is_an_error(docker: Machine) -> None:
    identity = json.loads(docker.read("stand-in/docker.json"))[0]["Id"]
    docker.program("docker", f'#!/bin/sh\n[ "$1" = inspect ] && echo no || echo {identity}\n')
    with pytest.raises(CommandFailed, match="cannot be understood"):
        found(docker)
