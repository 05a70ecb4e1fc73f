"""What one cycle found out, as plain values: nothing here can reach the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.collect.samples import Snapshot
from do_dcgm_exporter.dcgm.decoding import Absence

# By GPU and link: 1 disabled, 2 down, 3 up (dcgmNvLinkLinkState_t).
LinkStates = Mapping[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class CollectorOutcome:
    """How one collector did in a cycle."""

    name: str
    succeeded: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class HealthWarning:
    """A system of a GPU that did not pass DCGM's health check, with DCGM's name of the error.

    ``is_failure`` tells a failure from a warning.
    """

    gpu: int
    system: str
    error: str
    is_failure: bool


@dataclass(frozen=True, slots=True)
class CycleResult:
    """All that one cycle found out.

    ``gpus`` is how many the engine knows, ``gpus_up`` by id those in scope. ``dropped``
    counts values that are not on the page, by reason. ``unwatched_gpus`` are those of which
    the engine would not watch everything, ``stalled_gpus`` those in scope of which it has no
    value that is less than ``stale_after`` seconds old. ``profiling_up`` has the GPUs that
    offer profiling fields. ``sample_age`` is how old the newest samples are in seconds, None
    without any.
    """

    snapshot: Snapshot
    gpus: int
    gpus_up: Mapping[int, bool]
    nvlink_states: LinkStates
    driver_version: str
    dropped: Mapping[Absence, int]
    outcomes: tuple[CollectorOutcome, ...]
    poisoned_fields: frozenset[int]
    profiling_reason: str
    warming_up: bool
    sample_age: float | None = None
    profiling_up: Mapping[int, bool] = field(default_factory=dict)
    health_warnings: tuple[HealthWarning, ...] = ()
    machine: MachineState = field(default_factory=MachineState)
    unwatched_gpus: tuple[int, ...] = ()
    stalled_gpus: frozenset[int] = frozenset()
    stale_after: float = 0.0
