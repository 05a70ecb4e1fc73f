"""What a process belongs to, by its control group and its PID namespace."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from do_dcgm_exporter.integration.host import read_bytes

# docker, podman, CRI-O and containerd, with systemd's and with their own groups.
_CONTAINER = re.compile(
    r"(?:/|docker-|libpod-|libpod-payload-|crio-|cri-containerd[-:])([0-9a-f]{64})"
    r"(?:\.scope)?(?:/|$)"
)
_SYSTEMDS_GROUP = re.compile(r"^(?:0:|\d+:name=systemd):(.*)$", re.MULTILINE)
_USER_MANAGER = re.compile(r"user@(\d+)\.service")


class Kind(Enum):
    """What a process can belong to."""

    UNIT = "unit"
    USER_UNIT = "unit of a user's manager"
    SESSION = "login session"
    CONTAINER = "container"
    GUEST = "guest"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Owner:
    """What a process belongs to.

    ``name`` is a unit's or a session's name, a container's id or a guest's control group;
    ``pod`` is whether a container is one of Kubernetes.
    """

    kind: Kind
    name: str = ""
    pod: bool = False

    @property
    def unit(self) -> str:
        """The system's service unit, nothing if it is a container's, a user's or none."""
        return self.name if self.kind is Kind.UNIT else ""


def owner_of(proc: Path, process: str) -> Owner:
    """Say what a process belongs to."""
    group = _group(proc, process)
    names = [name for name in group.split("/") if name and not name.endswith(".slice")]
    manager = _USER_MANAGER.fullmatch(names[0]) if names else None
    if manager and names[1:] and names[1].endswith(".service"):
        return Owner(Kind.USER_UNIT, f"{names[1]} of user {manager[1]}")
    if container := _CONTAINER.search(group):
        return Owner(Kind.CONTAINER, container[1], "kubepods" in group)
    if _is_in_other_namespace(proc, process):
        return Owner(Kind.GUEST, names[0] if names else "")
    if not names or names[0] == "init.scope":
        return Owner(Kind.NOTHING)
    if manager or names[0].startswith("session-"):
        return Owner(Kind.SESSION, names[0])
    if names[0].endswith(".service"):
        return Owner(Kind.UNIT, names[0])
    if names[0].endswith(".scope") and not names[0].startswith("machine-"):
        return Owner(Kind.NOTHING)
    # machined's, and groups that are none of systemd's: lxc(7).
    return Owner(Kind.GUEST, names[0])


def _group(proc: Path, process: str) -> str:
    """Return systemd's control group of a process: cgroup 2, or its hierarchy of version 1."""
    text = read_bytes(f"{proc}/{process}/cgroup", 1 << 14).decode("utf-8", "replace")
    # Only one of them is systemd's where both are mounted.
    return max(_SYSTEMDS_GROUP.findall(text), key=len, default="")


def _is_in_other_namespace(proc: Path, process: str) -> bool:
    """Return whether a process has another id where it lives: proc_pid_status(5), NSpid."""
    lines = read_bytes(f"{proc}/{process}/status", 1 << 13).splitlines()
    return any(line.startswith(b"NSpid:") and len(line.split()) > 2 for line in lines)
