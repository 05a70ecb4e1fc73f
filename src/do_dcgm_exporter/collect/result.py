"""Hold the result of one cycle as plain values, which cannot reach the engine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.collect.samples import Snapshot
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity

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
    """A system that did not pass DCGM's health check, with DCGM's name for the error.

    ``entity`` is a GPU, an NvSwitch, a ConnectX adapter or the host. ``is_failure`` tells a
    failure from a warning.
    """

    entity: Entity
    system: str
    error: str
    is_failure: bool


@dataclass(frozen=True, slots=True)
class CycleResult:
    """Everything one cycle found out.

    ``gpus`` is how many the engine knows, ``gpus_up`` tells by id which of those in scope are
    up. ``dropped`` counts values that are not on the page, by reason. ``unwatched_gpus`` are
    those on which the engine refused to watch some fields, ``stalled_gpus`` those in scope
    without a value less than ``stale_after`` seconds old. ``profiling_up`` has the GPUs that
    offer profiling fields. ``sample_age`` is the age of the newest samples in seconds, None
    if there are none.
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
