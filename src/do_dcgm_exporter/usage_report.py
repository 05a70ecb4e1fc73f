"""The file that tells who uses the GPUs: its values and its form.

A root oneshot of the package writes it, the exporter reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any

NOT_A_REPORT = (ValueError, TypeError, KeyError, OverflowError, RecursionError)
LARGEST = 1 << 18  # bytes
REPORT = Path("/run/do-dcgm-exporter-usage/gpu-usage.json")


class WorkloadKind(str, Enum):
    """What a process belongs to; the value is the label's name."""

    UNIT = "unit"
    CONTAINER = "container"
    SLURM_JOB = "slurm_job"


@dataclass(frozen=True, slots=True)
class Workload:
    """A unit, a container or a Slurm job by its name, as its user knows it."""

    kind: WorkloadKind
    name: str


@dataclass(frozen=True, slots=True)
class Use:
    """What one workload's processes of one user hold of a GPU.

    ``gpu`` is the UUID, ``instance`` NVML's number of a MIG GPU instance. ``memory`` is in
    bytes, None if the driver does not tell.
    """

    gpu: str
    instance: int | None
    workload: Workload
    user: str
    processes: int
    memory: int | None


@dataclass(frozen=True, slots=True)
class UsageReport:
    """Who used the GPUs at ``time`` (Unix seconds).

    ``looked_at`` are the UUIDs of the GPUs of which it is known; ``complaint`` says why others that
    some process has open are not among them.
    """

    time: float
    uses: tuple[Use, ...] = ()
    looked_at: tuple[str, ...] = ()
    complaint: str = ""


def encode(report: UsageReport) -> bytes:
    """Return the content of the file."""
    return json.dumps(asdict(report)).encode() + b"\n"


def decode(content: bytes) -> UsageReport:
    """Return what a file holds.

    Raises one of NOT_A_REPORT for any other file.
    """
    plain = json.loads(content)
    return UsageReport(
        time=float(plain["time"]),
        uses=tuple(_use(use) for use in plain["uses"]),
        looked_at=tuple(str(uuid) for uuid in plain["looked_at"]),
        complaint=str(plain["complaint"]),
    )


def _use(plain: Mapping[str, Any]) -> Use:
    workload, instance, memory = plain["workload"], plain["instance"], plain["memory"]
    return Use(
        gpu=str(plain["gpu"]),
        instance=None if instance is None else int(instance),
        workload=Workload(WorkloadKind(workload["kind"]), str(workload["name"])),
        user=str(plain["user"]),
        processes=int(plain["processes"]),
        memory=None if memory is None else int(memory),
    )
