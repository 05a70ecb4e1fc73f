"""Report DCGM's health watches, one sample per device and watched system.

DCGM_EXP_GPU_HEALTH_STATUS{gpu="0",…,health_error_category="NONE",health_error_code="DCGM_FR_OK",
health_error_severity="NONE",health_watch="PCIE"} 0

What is no GPU's has a family of its own, DCGM_EXP_FABRIC_HEALTH_STATUS: NvSwitches, ConnectX
adapters, and IMEX, which is the host's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.result import HealthWarning
from do_dcgm_exporter.collect.sample_text import Label
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.config.counters import CounterSet, Special
from do_dcgm_exporter.dcgm.answers import HealthIncident
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import HOST, Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.packages import FIRST_IN_PARTS, HEALTH_MODULE
from do_dcgm_exporter.dcgm.side_call import SideCall
from do_dcgm_exporter.dcgm.topology import Gpu, Topology

# In seconds. A check takes the engine up to 90 ms (observed on 3.3.9); 45 s have been reported.
CHECK_EVERY = 60.0

# How often the engine samples what its health watches need, and how long it keeps that, in
# seconds: the defaults of DCGM's dcgmHealthSet.
_WATCH_INTERVAL = 30.0
_WATCH_KEEP = 600.0

# Bits of dcgmHealthSystems_t by what has them, in the order shown.
_ALL = 0xFFFFFFFF
_NVLINK, _IMEX = 0x2, 0x2000
_WATCHES: Mapping[EntityKind, Mapping[int, str]] = {
    EntityKind.GPU: {
        0x1: "PCIE",
        _NVLINK: "NVLINK",
        0x4: "PMU",
        0x8: "MCU",
        0x10: "MEM",
        0x20: "SM",
        0x40: "INFOROM",
        0x80: "THERMAL",
        0x100: "POWER",
        0x200: "DRIVER",
        _ALL: "ALL",
    },
    EntityKind.SWITCH: {0x400: "NVSWITCH_NONFATAL", 0x800: "NVSWITCH_FATAL"},
    EntityKind.CONNECTX: {0x1000: "CONNECTX"},
    EntityKind.NONE: {_IMEX: "IMEX"},
}
# The first releases that check them (DcgmHealthWatch::MonitorWatches).
_FIRST_WITH_CONNECTX = (4, 5, 3)
_FIRST_WITH_IMEX = (4, 5)
_NO_ADAPTERS = (
    ReturnCode.NOT_SUPPORTED,
    ReturnCode.FUNCTION_NOT_FOUND,
    ReturnCode.MODULE_NOT_LOADED,
)

# dcgmHealthWatchResults_t; DCGM_FR_OK is 0.
_PASS = (0, 0)
_FAILURE = 20

_FAMILIES = (Special.GPU_HEALTH_STATUS, Special.FABRIC_HEALTH_STATUS)


@dataclass(frozen=True, slots=True)
class _Checkup:
    """What a check found: by entity and system the worst result with its error code.

    ``fabric`` is what was checked besides GPUs.
    """

    states: Mapping[tuple[Entity, int], tuple[int, int]] = field(default_factory=dict)
    fabric: tuple[Entity, ...] = ()


@dataclass(slots=True)
class HealthCollector:
    """Checks the health of what is in scope, at most every CHECK_EVERY seconds."""

    engine: HostEngine
    topology: Topology
    labels: LabelBlocks
    gpus: Sequence[Gpu]
    switches: Sequence[Entity]
    interval: float
    clock: Callable[[], float] = time.monotonic
    name: str = "health"
    _group: Any = None
    _is_watched: bool = False
    _covers_fabric: bool = False
    _adapters: tuple[Entity, ...] = ()
    _check: SideCall[_Checkup] = field(init=False)
    _checkup: _Checkup = field(default_factory=_Checkup)

    def __post_init__(self) -> None:
        self._check = SideCall(self._checked, CHECK_EVERY, self.interval, self.clock)

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Yield the health families as of the last check.

        Raises CallRefused until a check succeeds.
        """
        wanted = [counter for counter in counters.counters if counter.special in _FAMILIES]
        if not wanted:
            return
        self._covers_fabric = any(c.special is Special.FABRIC_HEALTH_STATUS for c in wanted)
        self._checkup = _Checkup()
        self._checkup = self._check.answer()
        for counter in wanted:
            of_gpus = counter.special is Special.GPU_HEALTH_STATUS
            samples = tuple(self._of_gpus(readings) if of_gpus else self._of_fabric())
            yield Family(counter.name, MetricType(counter.type.value), counter.help, samples)

    def warnings(self, lost_gpus: Container[int]) -> Iterator[HealthWarning]:
        """Yield what did not pass the last check, without ALL, which only repeats the worst."""
        for (entity, system), (health, code) in self._checkup.states.items():
            is_lost = entity.kind is EntityKind.GPU and entity.id in lost_gpus
            if system != _ALL and health and not is_lost:
                watch, error = _WATCHES[entity.kind][system], self.engine.health_error(code)
                yield HealthWarning(entity, watch, error.name, health == _FAILURE)

    def _checked(self) -> _Checkup:
        """Check now. Only the side call's thread runs this, one check at a time."""
        if self._group is None:
            self._adapters = tuple(self._connectx_adapters())
            fabric = (*self.switches, *self._adapters) if self._covers_fabric else ()
            gpus = (gpu.entity for gpu in self.gpus)
            self._group, _ = self.engine.create_group((*gpus, *fabric))
        if not self._is_watched:
            self._watch()
            self._is_watched = True
        fabric = (*self.switches, *self._adapters, *self._imex()) if self._covers_fabric else ()
        found = self._worst(self.engine.health_incidents(self._group), fabric)
        return _Checkup(found, fabric)

    def _watch(self) -> None:
        try:
            self.engine.watch_health(self._group, _WATCH_INTERVAL, _WATCH_KEEP)
        except CallRefused as error:
            if error.code != ReturnCode.MODULE_NOT_LOADED or self._release < FIRST_IN_PARTS:
                raise
            raise CallRefused(f"{error}; it is in {HEALTH_MODULE}", error.code) from error

    def _connectx_adapters(self) -> Iterator[Entity]:
        if not self._covers_fabric or self._release < _FIRST_WITH_CONNECTX:
            return
        try:
            ids = self.engine.entity_ids(EntityKind.CONNECTX)
        except CallRefused as error:
            if error.code not in _NO_ADAPTERS:
                raise
            return
        yield from (Entity(EntityKind.CONNECTX, number) for number in ids)

    def _imex(self) -> Iterator[Entity]:
        """Yield the host if DCGM checks IMEX: only where a GPU supports NvLinks."""
        if self._release < _FIRST_WITH_IMEX:
            return
        try:
            states = self.engine.nvlink_states()
        except CallRefused:
            return  # the source of NvLinks tells; it says nothing about the GPUs' health
        if any(any(states.get(gpu.id, ())) for gpu in self.gpus):
            yield HOST

    @property
    def _release(self) -> tuple[int, ...]:
        return self.engine.versions.engine_release

    def _worst(
        self, incidents: Sequence[HealthIncident], fabric: Sequence[Entity]
    ) -> Mapping[tuple[Entity, int], tuple[int, int]]:
        """Return the worst result and its code by entity and system; ALL has a GPU's worst."""
        checked = {*(gpu.entity for gpu in self.gpus), *fabric}
        states: dict[tuple[Entity, int], tuple[int, int]] = {}
        for incident in incidents:
            entity, result = self._whose(incident.entity), (incident.health, incident.error_code)
            if entity not in checked:
                continue
            # 4.5 and 4.6.0 have IMEX among what they call NVLINK.
            is_imex = entity == HOST and incident.system == _NVLINK
            systems = {_IMEX if is_imex else incident.system}
            systems |= {_ALL} if entity.kind is EntityKind.GPU else set()
            for system in systems & _WATCHES[entity.kind].keys():
                states[entity, system] = max(result, states.get((entity, system), _PASS))
        return states

    def _whose(self, entity: Entity) -> Entity:
        """Return the GPU of an instance, anything else as it is."""
        gpu_id = self.topology.gpu_id_of(entity)
        return entity if gpu_id is None else Entity(EntityKind.GPU, gpu_id)

    def _of_gpus(self, readings: Readings) -> Iterator[Sample]:
        for gpu in self.gpus:
            if gpu.id in readings.lost_gpus:
                # DCGM reports PASS on every watch of a lost GPU (observed).
                readings.drop(Absence.GPU_LOST)
                continue
            for labels, value in self._rows(gpu.entity):
                for block in self.labels.with_labels(gpu.entity, labels):
                    yield Sample(block, value)

    def _of_fabric(self) -> Iterator[Sample]:
        for entity in self._checkup.fabric:
            for labels, value in self._rows(entity):
                if entity.kind is EntityKind.SWITCH:
                    blocks = self.labels.with_labels(entity, labels)
                else:
                    own = () if entity == HOST else (("connectx", str(entity.id)),)
                    blocks = (self.labels.of_host(own, labels),)
                yield from (Sample(block, value) for block in blocks)

    def _rows(self, entity: Entity) -> Iterator[tuple[tuple[Label, ...], str]]:
        """Yield the labels and the value of each watch of ``entity``."""
        for system, watch in _WATCHES[entity.kind].items():
            health, code = self._checkup.states.get((entity, system), _PASS)
            error = self.engine.health_error(code)
            labels = (
                ("health_error_category", error.category),
                ("health_error_code", error.name),
                ("health_error_severity", error.severity),
                ("health_watch", watch),
            )
            yield labels, str(health)
