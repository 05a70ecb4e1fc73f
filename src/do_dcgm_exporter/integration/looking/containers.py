"""Containers of docker and podman that have a DCGM in them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from do_dcgm_exporter.integration.exporter_arguments import WORD
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed, run
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes

RUNTIMES = ("docker", "podman")
# What is there if a runtime is in use. Without it, asking docker starts its daemon, by its
# socket, and asking podman makes its storage.
_SIGNS = {"docker": "/run/docker.pid", "podman": "/var/lib/containers/storage"}
_ANSWER_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Container:
    """One container, as its runtime tells of it.

    ``arguments`` are what its program is called with. ``processes`` are those in it that
    have DCGM's library mapped.
    """

    runtime: str
    name: str
    image: str = ""
    arguments: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[DcgmProcess, ...] = ()


def find_containers(host: Host, runtime: str, processes: Processes) -> tuple[Container, ...]:
    """Find those of one runtime, by the processes in them.

    Raises CommandFailed when it does not tell.
    """
    sought = {process.container for process in processes.dcgm} - {""}
    is_in_use = shutil.which(runtime) and host.path(_SIGNS[runtime]).exists()
    if not sought or not is_in_use:
        return ()
    running = run(runtime, "ps", "--quiet", "--no-trunc", timeout=_ANSWER_SECONDS).split()
    ids = sorted(sought.intersection(running))
    if not ids:
        return ()
    answer = run(runtime, "inspect", "--type=container", *ids, timeout=_ANSWER_SECONDS)
    try:
        found: list[Mapping[str, Any]] = json.loads(answer)
    except ValueError as error:
        raise CommandFailed((runtime, "inspect"), "its answer cannot be understood") from error
    return tuple(_container(runtime, one, processes) for one in found)


def _container(runtime: str, inspected: Mapping[str, Any], processes: Processes) -> Container:
    config = inspected.get("Config") or {}
    words = [str(inspected.get("Path") or ""), *(inspected.get("Args") or ())]
    # NVIDIA's image calls the exporter by a script that passes its arguments on.
    names = [word for word in words[:2] if WORD.search(word)]
    return Container(
        runtime,
        str(inspected.get("Name") or "").lstrip("/"),
        str(config.get("Image") or inspected.get("ImageName") or ""),
        tuple(words[words.index(names[-1]) + 1 if names else 1 :]),
        config.get("Labels") or {},
        tuple(one for one in processes.dcgm if one.container == inspected.get("Id")),
    )
