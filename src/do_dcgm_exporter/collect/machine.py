"""Keep what the status page shows of the machine after a cycle.

These are a few values per device, so that the page can be drawn later without asking the
engine and without keeping everything that was read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.plan import CLOCK_EVENTS_FIELD, GPU_KINDS
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.selection import Selection
from do_dcgm_exporter.collect.xid_log import SeenXid
from do_dcgm_exporter.config.counters import CounterSet, CounterType
from do_dcgm_exporter.dcgm.conversions import conversion_to
from do_dcgm_exporter.dcgm.decoding import Absence, Reading
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Gpu, Topology

SM_CLOCK = 100  # MHz
GPU_TEMPERATURE = 150  # °C
SLOWDOWN_TEMPERATURE = 158  # °C
POWER = 155  # W
POWER_LIMIT = 164  # W, the one in force
GPU_UTILIZATION = 203  # %
ENGINE_ACTIVE = 1001  # 0 to 1; unlike field 203, measured per instance
MEMORY_TOTAL = 250  # MiB
MEMORY_USED = 252  # MiB
UNCORRECTABLE_ERRORS = 311  # since the driver was loaded
ROW_REMAP_FAILURE = 395
LINK_RECOVERIES = 439
FATAL_SXID = 856
OTHER_SXID = 857
SWITCH_TEMPERATURE = 858  # °C
SWITCH_SLOWDOWN_TEMPERATURE = 859  # °C
LINK_STATUS = 870

_ON_GPUS = (
    SM_CLOCK,
    GPU_TEMPERATURE,
    SLOWDOWN_TEMPERATURE,
    POWER,
    POWER_LIMIT,
    GPU_UTILIZATION,
    ENGINE_ACTIVE,
    MEMORY_TOTAL,
    MEMORY_USED,
    CLOCK_EVENTS_FIELD,
    UNCORRECTABLE_ERRORS,
    ROW_REMAP_FAILURE,
    LINK_RECOVERIES,
)
_SHOWN = {
    EntityKind.GPU: _ON_GPUS,
    EntityKind.GPU_INSTANCE: _ON_GPUS,
    EntityKind.SWITCH: (FATAL_SXID, OTHER_SXID, SWITCH_TEMPERATURE, SWITCH_SLOWDOWN_TEMPERATURE),
    EntityKind.LINK: (LINK_STATUS,),
}

Key = tuple[Entity, int]


@dataclass(frozen=True, slots=True)
class Roster:
    """What a session shows: ``devices`` are GPUs and instances, ``shown`` the values kept.

    ``parts`` are the devices that are a GPU or part of it, by the GPU's id, and ``metrics`` the
    names of the families that show a field.
    """

    topology: Topology = field(default_factory=Topology)
    gpus: tuple[Gpu, ...] = ()
    devices: tuple[Entity, ...] = ()
    parts: Mapping[int, tuple[Entity, ...]] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    shown: tuple[Key, ...] = ()
    metrics: Mapping[int, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        topology: Topology,
        selection: Selection,
        keep: bool,
        counters: CounterSet | None = None,
    ) -> Roster:
        """Return the roster of ``selection``. Without ``keep`` no values are kept."""
        entities = selection.entities if keep else ()
        devices = tuple(entity for entity in entities if entity.kind in GPU_KINDS)
        return cls(
            topology=topology,
            gpus=selection.gpus,
            devices=devices,
            parts={
                gpu.id: tuple(e for e in devices if topology.gpu_id_of(e) == gpu.id)
                for gpu in selection.gpus
            },
            missing=selection.missing,
            shown=tuple((e, id_) for e in entities for id_ in _SHOWN.get(e.kind, ())),
            metrics=_metrics(counters) if counters and keep else {},
        )


def _metrics(counters: CounterSet) -> dict[int, str]:
    """Return the families of the fields that people see, asked for under either of their ids."""
    names = {
        counter.field.id: counter.name
        for counter in counters.counters
        if counter.field and counter.type is not CounterType.LABEL
    }
    found = {}
    for field_id in _ON_GPUS:
        other = conversion_to(field_id)
        name = names.get(field_id) or (names.get(other.source.id) if other else None)
        if name:
            found[field_id] = name
    return found


@dataclass(frozen=True, slots=True)
class MachineState:
    """The machine at ``read_at`` (Unix seconds): values, lost GPUs, the newest XIDs.

    A lost GPU has no values: whatever the engine still answers for it is not its state. Fields
    that are summarised also have ``ranges``, the lowest and highest samples since the last cycle.
    """

    roster: Roster = field(default_factory=Roster)
    read_at: float = 0.0
    stale_after: float = 0.0
    values: Mapping[Key, Reading] = field(default_factory=dict)
    ranges: Mapping[Key, tuple[float, float]] = field(default_factory=dict)
    lost_gpus: frozenset[int] = frozenset()
    xids: tuple[SeenXid, ...] = ()

    def number(self, entity: Entity, field_id: int) -> int | float | None:
        """Return a value of a device, or None if it has none or its GPU is lost."""
        value = self.values.get((entity, field_id))
        return value if isinstance(value, int | float) else None

    def number_of_gpu(self, gpu: Gpu, field_id: int) -> int | float | None:
        """Return a value of a whole GPU, which under MIG the engine reports for its instances."""
        return self.highest(self.roster.parts.get(gpu.id, ()), field_id)

    def highest(self, devices: Iterable[Entity], field_id: int) -> int | float | None:
        """Return the highest value of a field on ``devices``, None if it has none."""
        found = (self.number(entity, field_id) for entity in devices)
        return max((value for value in found if value is not None), default=None)

    def utilization(self, entity: Entity) -> int | None:
        """Return how busy a device is in %: for an instance, as profiling measures it."""
        whole = self.number(entity, GPU_UTILIZATION)
        own = self.number(entity, ENGINE_ACTIVE)
        if own is not None and (whole is None or entity.kind is EntityKind.GPU_INSTANCE):
            return round(own * 100)
        return whole if whole is None else round(whole)

    def utilization_range(self, entity: Entity) -> tuple[int, int] | None:
        """Return between what a device's utilization was since the last cycle, None if unknown."""
        is_whole = self.number(entity, GPU_UTILIZATION) is not None
        by_engine = entity.kind is EntityKind.GPU_INSTANCE or not is_whole
        found = self.ranges.get((entity, ENGINE_ACTIVE if by_engine else GPU_UTILIZATION))
        if found is None:
            return None
        lowest, highest = (value * 100 if by_engine else value for value in found)
        return round(lowest), round(highest)

    def stale(self, field_id: int) -> Iterator[Entity]:
        """Return the devices whose value the engine no longer updates."""
        return (e for e in self.roster.devices if self.values.get((e, field_id)) is Absence.STALE)


def utilization_field(device: Entity) -> int:
    """Return the field that says how busy ``device`` is, as a rule."""
    return ENGINE_ACTIVE if device.kind is EntityKind.GPU_INSTANCE else GPU_UTILIZATION


def machine_state(roster: Roster, readings: Readings, xids: Iterable[SeenXid]) -> MachineState:
    """Return what ``readings`` say about the devices in ``roster``."""
    lost = {part for gpu_id in readings.lost_gpus for part in roster.parts.get(gpu_id, ())}
    return MachineState(
        roster=roster,
        read_at=readings.now,
        stale_after=readings.stale_after,
        values={
            (entity, field_id): value
            for entity, field_id in roster.shown
            if entity not in lost
            and (value := readings.get(entity, field_id)) is not Absence.NOT_WATCHED
        },
        ranges={
            key: readings.ranges[key]
            for key in (roster.shown if readings.ranges else ())
            if key in readings.ranges and key[0] not in lost
        },
        lost_gpus=readings.lost_gpus,
        xids=tuple(xids),
    )
