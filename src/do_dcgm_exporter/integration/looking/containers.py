"""Containers of docker and podman that run an NVIDIA exporter."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from do_dcgm_exporter.integration.exporter_arguments import remote_engine
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking import libraries
from do_dcgm_exporter.integration.looking.commands import CommandFailed, is_installed, run
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes
from do_dcgm_exporter.integration.looking.systemd import Systemd

RUNTIMES = ("docker", "podman")
_ANSWER_SECONDS = 3.0
# Without it podman makes it, whatever it is asked: containers-storage.conf(5), graphroot.
_PODMANS_STORAGE = "/var/lib/containers/storage"
_WORD = re.compile(r"dcgm[-_]exporter")


@dataclass(frozen=True, slots=True)
class Container:
    """One container, as its runtime tells of it.

    ``arguments`` are what its program is called with. ``processes`` are those in it that
    have DCGM's library mapped.
    """

    runtime: str
    id: str
    name: str
    image: str = ""
    is_running: bool = False
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[DcgmProcess, ...] = ()

    @property
    def remote(self) -> str | None:
        """The engine that it was told of."""
        return remote_engine(self.arguments, self.environment)

    @property
    def library_major(self) -> int:
        """The major release of its DCGM, 0 if it is not known."""
        majors = {process.library_major for process in self.processes} - {0}
        return majors.pop() if len(majors) == 1 else libraries.major_of_image(self.image)

    @property
    def is_embedded(self) -> bool:
        """Whether a second DCGM runs in it."""
        if self.processes:
            return any(process.is_embedded for process in self.processes)
        return self.is_running and self.remote is None


def find_containers(
    host: Host, runtime: str, systemd: Systemd, processes: Processes
) -> tuple[Container, ...]:
    """Find those of one runtime. Raises CommandFailed when it does not tell.

    They are known by the word in their image or command, and by what runs in them.
    """
    if not is_installed(runtime) or not _can_be_asked(host, runtime, systemd):
        return ()
    listed = run(
        runtime, "ps", "--all", "--no-trunc", "--format", "{{.ID}}\t{{.Image}}\t{{.Command}}",
        timeout=_ANSWER_SECONDS,
    )  # fmt: skip
    running = {process.container for process in processes.dcgm}
    rows = [(line.partition("\t")[0], line) for line in listed.splitlines()]
    ids = [name for name, line in rows if name in running or _WORD.search(line)]
    return tuple(_container(runtime, one, processes) for one in _inspect(runtime, ids))


def _can_be_asked(host: Host, runtime: str, systemd: Systemd) -> bool:
    """Whether asking starts nothing and makes nothing: docker's daemon, podman's storage."""
    if runtime == "podman":
        return host.path(_PODMANS_STORAGE).is_dir()
    try:
        view = systemd.view("docker.service")
    except CommandFailed:
        return True
    return view.is_running or not view.is_there


def _inspect(runtime: str, ids: Sequence[str]) -> list[Mapping[str, Any]]:
    if not ids:
        return []
    answer = run(runtime, "inspect", "--type=container", *ids, timeout=_ANSWER_SECONDS)
    try:
        found: list[Mapping[str, Any]] = json.loads(answer)
    except ValueError as error:
        raise CommandFailed((runtime, "inspect"), "its answer cannot be understood") from error
    return found


def _container(runtime: str, inspected: Mapping[str, Any], processes: Processes) -> Container:
    config = inspected.get("Config") or {}
    identity = str(inspected.get("Id") or "")
    words = [str(inspected.get("Path") or ""), *(inspected.get("Args") or ())]
    names = [word for word in words[:2] if _WORD.search(word)]
    return Container(
        runtime,
        identity,
        str(inspected.get("Name") or "").lstrip("/"),
        str(config.get("Image") or inspected.get("ImageName") or ""),
        bool((inspected.get("State") or {}).get("Running")),
        # NVIDIA's image calls the exporter by a script that passes its arguments on.
        tuple(words[words.index(names[-1]) + 1 if names else 1 :]),
        dict(entry.partition("=")[::2] for entry in config.get("Env") or ()),
        config.get("Labels") or {},
        tuple(process for process in processes.dcgm if process.container == identity),
    )
