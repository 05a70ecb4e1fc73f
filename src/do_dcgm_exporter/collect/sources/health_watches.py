"""DCGM's health watches, one sample per GPU and watched system.

DCGM_EXP_GPU_HEALTH_STATUS{gpu="0",…,health_error_code="DCGM_FR_OK",health_watch="PCIE"} 0
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.result import HealthWarning
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.config.counters import CounterSet, Special
from do_dcgm_exporter.dcgm.answers import HealthIncident
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.side_call import SideCall
from do_dcgm_exporter.dcgm.topology import Gpu, Topology

# A check takes up to 90 ms of the engine's time (observed on 3.3.9); 45 s have been reported.
CHECK_EVERY = 60.0

# How often the engine samples what its health watches need, and how long it keeps it:
# the values of its own default, DCGM's dcgmHealthSet.
_WATCH_INTERVAL = 30.0
_WATCH_KEEP = 600.0

# Bits of dcgmHealthSystems_t, in the order they are shown.
_WATCHES = {
    0x1: "PCIE",
    0x2: "NVLINK",
    0x4: "PMU",
    0x8: "MCU",
    0x10: "MEM",
    0x20: "SM",
    0x40: "INFOROM",
    0x80: "THERMAL",
    0x100: "POWER",
    0x200: "DRIVER",
    0xFFFFFFFF: "ALL",
}
_ALL = 0xFFFFFFFF
# dcgmHealthWatchResults_t; DCGM_FR_OK is 0.
_PASS = (0, 0)
_FAILURE = 20

# Result and error code by GPU and system.
_States = Mapping[tuple[Entity, int], tuple[int, int]]


@dataclass(slots=True)
class HealthCollector:
    """Checks the health of the GPUs in scope, at most every CHECK_EVERY seconds."""

    engine: HostEngine
    topology: Topology
    labels: LabelBlocks
    gpus: Sequence[Gpu]
    interval: float
    clock: Callable[[], float] = time.monotonic
    name: str = "health"
    _group: Any = None
    _is_watched: bool = False
    _check: SideCall[_States] = field(init=False)
    _states: _States = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check = SideCall(self._checked, CHECK_EVERY, self.interval, self.clock)

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Yield the health family as of the last check.

        Raises CallRefused until a check succeeds.
        """
        for counter in counters.counters:
            if counter.special is Special.GPU_HEALTH_STATUS:
                self._states = {}
                self._states = self._check.answer()
                samples = tuple(self._samples(readings))
                yield Family(counter.name, MetricType(counter.type.value), counter.help, samples)

    def warnings(self, lost_gpus: Container[int]) -> Iterator[HealthWarning]:
        """Yield what did not pass the last check; ALL only repeats the worst."""
        for (gpu, system), (health, code) in self._states.items():
            if system != _ALL and health and gpu.id not in lost_gpus:
                error = self.engine.health_error_name(code)
                yield HealthWarning(gpu.id, _WATCHES[system], error, health == _FAILURE)

    def _checked(self) -> _States:
        """Check now; one check at a time, in a thread of its own."""
        if self._group is None:
            self._group, _ = self.engine.create_group(gpu.entity for gpu in self.gpus)
        if not self._is_watched:
            self.engine.watch_health(self._group, _WATCH_INTERVAL, _WATCH_KEEP)
            self._is_watched = True
        return self._worst(self.engine.health_incidents(self._group))

    def _worst(self, incidents: Sequence[HealthIncident]) -> _States:
        """Per GPU and system the worst result and its error code; ALL has the GPU's worst."""
        states: dict[tuple[Entity, int], tuple[int, int]] = {}
        for incident in incidents:
            gpu_id = self.topology.gpu_id_of(incident.entity)
            for gpu in self.gpus:
                if gpu.id == gpu_id:
                    result = (incident.health, incident.error_code)
                    for system in (incident.system, _ALL):
                        key = (gpu.entity, system)
                        states[key] = max(result, states.get(key, _PASS))
        return states

    def _samples(self, readings: Readings) -> Iterator[Sample]:
        for gpu in self.gpus:
            if gpu.id in readings.lost_gpus:
                # DCGM reads PASS on every watch of a lost GPU (observed).
                readings.drop(Absence.GPU_LOST)
                continue
            for system, watch in _WATCHES.items():
                health, code = self._states.get((gpu.entity, system), _PASS)
                labels = (
                    ("health_error_code", self.engine.health_error_name(code)),
                    ("health_watch", watch),
                )
                for block in self.labels.with_labels(gpu.entity, labels):
                    yield Sample(block, str(health))
