"""Look up the names of containers in the files of their runtimes, without asking a daemon.

Nothing but the name is kept of what these files hold.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

_DOCKERS = ("var/lib/docker", "var/snap/docker/common/var-lib-docker")
_DOCKERS_CONFIGURATION = "etc/docker/daemon.json"
# Podman and CRI-O; what --rm will remove is in a list of its own.
_STORAGE = "var/lib/containers/storage/overlay-containers"
_LISTS = ("containers.json", "volatile-containers.json")
# containerd's own, K3s', MicroK8s'.
_CONTAINERDS = ("run/containerd", "run/k3s/containerd", "var/snap/microk8s/common/run/containerd")
_POD = ("io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-name")
_IN_POD = "io.kubernetes.cri.container-name"
_NERDCTLS_NAME = "nerdctl/name"

_LARGEST = 8 << 20


def container_name(root: Path, identity: str) -> str | None:
    """Return a container's name, None if no file tells."""
    # A file may be replaced, removed or of another shape at any time.
    for look in (_in_docker, _in_containerd, _in_storage):
        with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
            if name := next(look(root, identity), None):
                return name
    return None


def _in_docker(root: Path, identity: str) -> Iterator[str]:
    for directory in _docker_directories(root):
        file = root / directory / "containers" / identity / "config.v2.json"
        if file.is_file():
            yield str(_json(file)["Name"]).lstrip("/")


def _docker_directories(root: Path) -> Iterator[str]:
    yield from _DOCKERS
    configuration = root / _DOCKERS_CONFIGURATION
    if configuration.is_file() and (moved := _json(configuration).get("data-root")):
        yield str(moved).lstrip("/")


def _in_containerd(root: Path, identity: str) -> Iterator[str]:
    for state in _CONTAINERDS:
        tasks = root / state / "io.containerd.runtime.v2.task"
        # The directory between them is a namespace: k8s.io, default, moby.
        for file in tasks.glob(f"*/{identity}/config.json"):
            annotations: Mapping[str, str] = _json(file).get("annotations") or {}
            if _IN_POD in annotations:
                yield "/".join(str(annotations[key]) for key in (*_POD, _IN_POD))
            elif _NERDCTLS_NAME in annotations:
                yield str(annotations[_NERDCTLS_NAME])


def _in_storage(root: Path, identity: str) -> Iterator[str]:
    for name in _LISTS:
        file = root / _STORAGE / name
        for container in _json(file) if file.is_file() else ():
            if container["id"] == identity:
                yield str(container["names"][0])


def _json(file: Path) -> Any:
    with open(file, "rb") as opened:
        return json.loads(opened.read(_LARGEST))
