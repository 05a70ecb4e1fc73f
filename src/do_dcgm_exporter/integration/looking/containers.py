"""Containers of docker and podman that run an NVIDIA exporter."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from do_dcgm_exporter.integration.deciding.exporter_arguments import own_arguments, remote_engine
from do_dcgm_exporter.integration.deciding.exporter_command import ExporterCommand, Form
from do_dcgm_exporter.integration.host import EXPORTER, EXPORTER_WORD
from do_dcgm_exporter.integration.looking import libraries
from do_dcgm_exporter.integration.looking.commands import CommandFailed, is_installed, run
from do_dcgm_exporter.integration.looking.exporters import UnitExporter
from do_dcgm_exporter.integration.looking.processes import Processes
from do_dcgm_exporter.integration.looking.systemd import Systemd

ENGINES = ("docker", "podman")
_ANSWER_SECONDS = 3.0

# Marks the copies that we make, with the id of the original.
COPY_LABEL = "com.digitalocean.do-dcgm-exporter.copy-of"

# Whose a container is, by the labels that its maker leaves.
_MAKERS = {
    "com.docker.compose.project": "Compose",
    "io.podman.compose.project": "Compose",
    "com.docker.stack.namespace": "Swarm",
    "com.docker.swarm.service.name": "Swarm",
    "io.kubernetes.pod.name": "Kubernetes",
    "io.kubernetes.container.name": "Kubernetes",
    "io.kubernetes.cri-o.ContainerType": "Kubernetes",
    "PODMAN_SYSTEMD_UNIT": "systemd",
}
_WORD = re.compile(EXPORTER_WORD)


@dataclass(frozen=True, slots=True)
class Container:
    """One container; ``inspected`` is what its engine tells of it, ``image`` of its image.

    ``maker`` is what has made it and would make it again, empty for somebody's own hand.
    """

    engine: str
    id: str
    name: str
    running: bool
    maker: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    library_major: int
    is_client: bool
    inspected: Mapping[str, Any]
    image: Mapping[str, Any]

    @property
    def remote(self) -> str | None:
        """The engine that it was told of."""
        return remote_engine(self.arguments, self.environment)

    @property
    def image_name(self) -> str:
        """The name its image was asked for by."""
        config: Mapping[str, Any] = self.inspected.get("Config") or {}
        return str(config.get("Image") or self.inspected.get("ImageName") or "")

    @property
    def has_embedded_engine(self) -> bool:
        """Whether a second DCGM runs in it."""
        return self.running and self.remote is None and not self.is_client

    @property
    def is_copy(self) -> bool:
        """Whether it is one that we made."""
        return COPY_LABEL in _labels(self.inspected)


def find_containers(engine: str, systemd: Systemd, processes: Processes) -> tuple[Container, ...]:
    """Find those of one engine. Raises CommandFailed when it does not tell."""
    if not is_installed(engine) or _is_stopped(engine, systemd):
        return ()
    listed = run(
        engine, "ps", "--all", "--no-trunc", "--format", "{{.ID}}\t{{.Image}}\t{{.Command}}",
        timeout=_ANSWER_SECONDS,
    )  # fmt: skip
    ids = [line.split("\t")[0] for line in listed.splitlines() if _WORD.search(line)]
    if not ids:
        return ()
    answer = _inspect(engine, "container", ids)
    images = _images(engine, answer)
    return tuple(_container(engine, each, images, processes) for each in answer)


def with_makers(
    containers: Iterable[Container], units: Iterable[UnitExporter]
) -> tuple[Container, ...]:
    """Say of containers that a unit makes whose they are: their ``maker`` is the unit's name."""
    makers = [(unit.name, unit.command) for unit in units if unit.command]
    return tuple(
        replace(
            container,
            maker=container.maker
            or next((name for name, command in makers if _makes(command, container)), ""),
        )
        for container in containers
    )


def _makes(command: ExporterCommand, container: Container) -> bool:
    if command.form is Form.CONTAINER_SCRIPT or command.container == container.name:
        return True
    unnamed = command.form is Form.CONTAINER and not command.container
    return unnamed and command.image == container.image_name


def _is_stopped(engine: str, systemd: Systemd) -> bool:
    """Whether docker's daemon is not running: asking it would start it, by its socket."""
    if engine != "docker":
        return False
    try:
        view = systemd.view("docker.service")
    except CommandFailed:
        return False
    return view.is_there and not view.is_running


def inspect_container(engine: str, name: str) -> Mapping[str, Any] | None:
    """Return what an engine tells of a container, None if there is none of this name or id."""
    try:
        found = _inspect(engine, "container", [name])
    except CommandFailed as error:
        if "no such container" in error.reason.lower():
            return None
        raise
    return found[0] if found else None


def _inspect(engine: str, kind: str, names: Sequence[str]) -> list[Mapping[str, Any]]:
    answer = run(engine, "inspect", f"--type={kind}", *names, timeout=_ANSWER_SECONDS)
    try:
        found: list[Mapping[str, Any]] = json.loads(answer)
    except ValueError as error:
        raise CommandFailed((engine, "inspect"), "its answer cannot be understood") from error
    return found


def _images(engine: str, containers: Iterable[Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """Return what is told of the images, by id; nothing of those that are gone."""
    found: dict[str, Mapping[str, Any]] = {}
    for name in {str(each.get("Image") or "") for each in containers} - {""}:
        try:
            found[name] = _inspect(engine, "image", [name])[0]
        except (CommandFailed, IndexError):
            continue  # a container outlives its image; all its settings count as its own then
    return found


def _container(
    engine: str,
    inspected: Mapping[str, Any],
    images: Mapping[str, Mapping[str, Any]],
    processes: Processes,
) -> Container:
    config = inspected.get("Config") or {}
    identity = str(inspected.get("Id") or "")
    name = str(inspected.get("Name") or "").lstrip("/")
    own = [process for process in processes.dcgm if process.container == identity]
    majors = {process.library_major for process in own if process.library_major}
    image_name = str(config.get("Image") or "")
    words = [str(inspected.get("Path") or EXPORTER), *(inspected.get("Args") or ())]
    return Container(
        engine,
        identity,
        name,
        bool((inspected.get("State") or {}).get("Running")),
        next((maker for label, maker in _MAKERS.items() if label in _labels(inspected)), ""),
        tuple(own_arguments(words)),
        dict(entry.partition("=")[::2] for entry in config.get("Env") or ()),
        majors.pop() if len(majors) == 1 else libraries.major_of_image(image_name),
        bool(own) and all(process.is_client for process in own),
        inspected,
        images.get(str(inspected.get("Image") or ""), {}),
    )


def _labels(inspected: Mapping[str, Any]) -> Mapping[str, str]:
    return (inspected.get("Config") or {}).get("Labels") or {}
