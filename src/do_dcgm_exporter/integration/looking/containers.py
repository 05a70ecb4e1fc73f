"""Containers of docker and podman with a DCGM inside."""

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
# Exists if the runtime is in use. Otherwise, asking docker would start its daemon through its
# socket, and asking podman would create its storage.
_SIGNS = {"docker": "/run/docker.pid", "podman": "/var/lib/containers/storage"}


@dataclass(frozen=True, slots=True)
class Container:
    """One container, as described by its runtime.

    ``arguments`` are those of its program. ``processes`` are those inside it that have DCGM's
    library mapped.
    """

    runtime: str
    name: str
    image: str = ""
    arguments: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    processes: tuple[DcgmProcess, ...] = ()


def find_containers(host: Host, runtime: str, processes: Processes) -> tuple[Container, ...]:
    """Find the containers of one runtime by the processes inside.

    Raises CommandFailed if the runtime does not answer.
    """
    sought = {process.container for process in processes.dcgm} - {""}
    is_in_use = shutil.which(runtime) and host.path(_SIGNS[runtime]).exists()
    if not sought or not is_in_use:
        return ()
    running = run(runtime, "ps", "--quiet", "--no-trunc").split()
    ids = sorted(sought.intersection(running))
    if not ids:
        return ()
    answer = run(runtime, "inspect", "--type=container", *ids)
    try:
        found: list[Mapping[str, Any]] = json.loads(answer)
    except ValueError as error:
        raise CommandFailed((runtime, "inspect"), "its answer cannot be understood") from error
    return tuple(_container(runtime, one, processes) for one in found)


def _container(runtime: str, inspected: Mapping[str, Any], processes: Processes) -> Container:
    config = inspected.get("Config") or {}
    words = [str(inspected.get("Path") or ""), *(inspected.get("Args") or ())]
    # In NVIDIA's image a script starts the exporter and passes its arguments on.
    names = [word for word in words[:2] if WORD.search(word)]
    return Container(
        runtime,
        str(inspected.get("Name") or "").lstrip("/"),
        str(config.get("Image") or inspected.get("ImageName") or ""),
        tuple(words[words.index(names[-1]) + 1 if names else 1 :]),
        config.get("Labels") or {},
        tuple(one for one in processes.dcgm if one.container == inspected.get("Id")),
    )
