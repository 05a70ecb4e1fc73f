"""What a process belongs to, by its cgroup and PID namespace: cgroups(7)."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

# docker, podman, CRI-O, nerdctl and containerd, with cgroups of systemd or their own.
_CONTAINER = re.compile(
    r"(?:/|docker-|libpod-|libpod-payload-|crio-|nerdctl-|cri-containerd[-:])([0-9a-f]{64})"
    r"(?:\.scope)?(?:/|$)"
)
_SYSTEMDS_GROUP = re.compile(r"^(?:0:|\d+:name=systemd):(.*)$", re.MULTILINE)
_USER_MANAGER = re.compile(r"user@(\d+)\.service")


class OwnerKind(Enum):
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

    ``name`` is the name of a unit or session, the id of a container or the cgroup of a guest;
    ``uid`` is that of a user's unit; ``pod`` is whether the container belongs to Kubernetes.
    """

    kind: OwnerKind
    name: str = ""
    uid: str = ""
    pod: bool = False

    def __str__(self) -> str:
        return f"{self.name} of user {self.uid}" if self.uid else self.name

    @property
    def unit(self) -> str:
        """The system's service unit, empty for containers, users' units and the rest."""
        return self.name if self.kind is OwnerKind.UNIT else ""


def owner_of(proc: Path, process: str) -> Owner:
    """Return what a process belongs to."""
    group = _group(proc, process)
    names = [name for name in group.split("/") if name and not name.endswith(".slice")]
    manager = _USER_MANAGER.fullmatch(names[0]) if names else None
    if manager and names[1:] and names[1].endswith(".service"):
        return Owner(OwnerKind.USER_UNIT, names[1], manager[1])
    if container := _CONTAINER.search(group):
        return Owner(OwnerKind.CONTAINER, container[1], pod="kubepods" in group)
    if _is_in_other_namespace(proc, process):
        return Owner(OwnerKind.GUEST, names[0] if names else "")
    if not names or names[0] == "init.scope":
        return Owner(OwnerKind.NOTHING)
    if manager or names[0].startswith("session-"):
        return Owner(OwnerKind.SESSION, names[0])
    if names[0].endswith(".service"):
        return Owner(OwnerKind.UNIT, names[0])
    if names[0].endswith(".scope") and not names[0].startswith("machine-"):
        return Owner(OwnerKind.NOTHING)
    # Those of machined, and cgroups that are not systemd's: lxc(7).
    return Owner(OwnerKind.GUEST, names[0])


def control_groups(proc: Path, process: str) -> str:
    """Return the cgroups of a process, one per line; empty once it has ended."""
    return _text(proc / process / "cgroup")


def _group(proc: Path, process: str) -> str:
    """Return a process's cgroup: in cgroup 2, or in systemd's own hierarchy of version 1."""
    # If both are mounted, only one of them is systemd's.
    return max(_SYSTEMDS_GROUP.findall(control_groups(proc, process)), key=len, default="")


def _is_in_other_namespace(proc: Path, process: str) -> bool:
    """Return whether a process is in another PID namespace: proc_pid_status(5), NSpid."""
    lines = _text(proc / process / "status").split("\n")
    return any(line.startswith("NSpid:") and len(line.split()) > 2 for line in lines)


def _text(path: Path) -> str:
    with suppress(OSError):  # it has ended
        return path.read_bytes().decode("utf-8", "replace")
    return ""
