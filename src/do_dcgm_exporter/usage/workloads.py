"""What a process belongs to, as its user knows it, and who that user is."""

from __future__ import annotations

import pwd
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path

from do_dcgm_exporter.process_owners import OwnerKind, control_groups, owner_of
from do_dcgm_exporter.usage_report import Workload, WorkloadKind

# cgroup 1: /slurm/uid_1000/job_7/step_0, with several slurmd /slurm_NODE/…; cgroup 2:
# /system.slice/slurmstepd.scope/job_7/step_0, with several slurmd NODE_slurmstepd.scope.
_SLURM_JOB = re.compile(r"/(?:slurm(?:_[^/]+)?/uid_\d+|(?:[^/]+_)?slurmstepd\.scope)/job_(\d+)")
_LXC = "lxc.payload."
_REAL_UID = re.compile(rb"^Uid:\s*(\d+)", re.MULTILINE)

_SHORT_ID = 12
NO_UNIT = "(none)"
# The numbers of sessions, and those that systemd-run(1) makes up, would make new series for ever.
LOGIN_SESSION = "(login session)"
TRANSIENT = "(systemd-run)"
_TRANSIENT = re.compile(r"run-[pru][0-9a-f][0-9a-fi-]*\.service")


def workload_of(proc: Path, process: str, container_name: Callable[[str], str | None]) -> Workload:
    """Return the Slurm job of a process, or else its container, or else its unit.

    ``container_name`` knows the names of containers by their id.
    """
    # Under cgroup 1 systemd's hierarchy knows nothing of Slurm, but others do.
    if job := _SLURM_JOB.search(control_groups(proc, process)):
        return Workload(WorkloadKind.SLURM_JOB, job[1])
    owner = owner_of(proc, process)
    if owner.kind is OwnerKind.CONTAINER:
        name = container_name(owner.name) or owner.name[:_SHORT_ID]
        return Workload(WorkloadKind.CONTAINER, name)
    if owner.kind is OwnerKind.SESSION or owner.name.startswith(("session-", "user@")):
        return Workload(WorkloadKind.UNIT, LOGIN_SESSION)
    # A service may have a PID namespace of its own without being anybody's guest.
    if owner.kind is OwnerKind.GUEST and owner.name and not owner.name.endswith(".service"):
        return Workload(WorkloadKind.CONTAINER, owner.name.removeprefix(_LXC))
    name = TRANSIENT if _TRANSIENT.fullmatch(owner.name) else owner.name or NO_UNIT
    return Workload(WorkloadKind.UNIT, name)


def user_of(proc: Path, process: str) -> str:
    """Return the user of a process, by name if this machine knows one.

    Raises OSError if the process has ended.
    """
    found = _REAL_UID.search((proc / process / "status").read_bytes())
    if not found:
        raise ProcessLookupError(f"process {process} has no user")
    return _user_name(int(found[1]))


@cache
def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
