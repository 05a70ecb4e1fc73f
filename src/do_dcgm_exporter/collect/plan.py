"""Decide which fields to read on which entities: pure functions of the counter set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.config.counters import Counter, CounterSet, CounterType, Special
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.fields import EntityLevel, Field

XID_FIELD = 230  # DCGM_FI_DEV_XID_ERRORS
CLOCK_EVENTS_FIELD = 112  # DCGM_FI_DEV_CLOCK_THROTTLE_REASONS
DRIVER_VERSION_FIELD = 1  # DCGM_FI_DRIVER_VERSION
POWER_FIELD = 155  # DCGM_FI_DEV_POWER_USAGE, in W
ENERGY_FIELD = 156  # DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, which not every GPU has
LIFE_SIGN_FIELD = 57  # DCGM_FI_DEV_PCI_BUSID: blank or not found once the driver has lost the GPU

# Read on every GPU in scope, whatever the counters say.
LIFE_SIGN_FIELDS = (LIFE_SIGN_FIELD, DRIVER_VERSION_FIELD)
# Fields whose last value stays valid however old it is, since they are stamped with the time
# of an event: XIDs (230), SXids (782, 783, 856, 857), GPUs being bound and unbound (6).
EVENT_FIELDS = frozenset({6, 230, 782, 783, 856, 857})

XID_KINDS = (EntityKind.GPU, EntityKind.GPU_INSTANCE, EntityKind.COMPUTE_INSTANCE)
GPU_KINDS = (EntityKind.GPU, EntityKind.GPU_INSTANCE)

_CLOCK_SPECIALS = (Special.CLOCK_EVENTS_COUNT, Special.CLOCK_EVENTS_TOTAL)

# The levels of the fields that each kind has. A GPU also has those measured on its instances,
# and a CPU those measured on its cores.
_LEVELS = {
    EntityKind.GPU: {EntityLevel.GPU, EntityLevel.GPU_I, EntityLevel.GPU_CI, EntityLevel.VGPU},
    EntityKind.SWITCH: {EntityLevel.SWITCH},
    EntityKind.LINK: {EntityLevel.LINK},
    EntityKind.CPU: {EntityLevel.CPU, EntityLevel.CPU_CORE},
    EntityKind.CPU_CORE: {EntityLevel.CPU_CORE},
}
_LEVELS[EntityKind.GPU_INSTANCE] = _LEVELS[EntityKind.GPU]
# Whatever else it is asked, it repeats what its GPU instance or its GPU has.
_LEVELS[EntityKind.COMPUTE_INSTANCE] = {EntityLevel.GPU_CI}

_NO_STAND_INS: Mapping[int, int] = {}


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """The fields to watch on entities of one kind, separated by how they can fail.

    ``plain`` and ``labels`` are for every entity of the kind, ``profiling`` for those
    whose GPU supports them. Labels are texts, and an empty text poisons a call. ``sampled``
    are plain fields with peaks, and power that is integrated: they are sampled more often.
    """

    kind: EntityKind
    plain: tuple[int, ...]
    labels: tuple[int, ...]
    profiling: tuple[int, ...]
    sampled: tuple[int, ...] = ()


def fields_asked_for(counters: CounterSet) -> tuple[int, ...]:
    """Return the fields of all counters, each once."""
    fields = (c.peak.field if c.peak else c.field for c in counters.counters)
    return tuple(dict.fromkeys(field.id for field in fields if field))


def summarised_fields(
    counters: CounterSet, stand_ins: Mapping[int, int] = _NO_STAND_INS
) -> frozenset[int]:
    """Return the fields whose samples are summarised for each page."""
    ids = (counter.peak.field.id for counter in counters.counters if counter.peak)
    return frozenset(stand_ins.get(field_id, field_id) for field_id in ids)


def plan_fields(
    kind: EntityKind, counters: CounterSet, stand_ins: Mapping[int, int] = _NO_STAND_INS
) -> FieldPlan:
    """Plan the fields of entities of ``kind``, each once, however many counters show it.

    Field 230, and on GPUs the life signs, are left out: they are watched separately, and a
    connection has one watch per entity and field. ``stand_ins`` maps fields to those that are
    read in their place.
    """
    wanted = [c for c in counters.counters if c.field is not None and carries(kind, c)]
    peaks = [c.peak.field for c in counters.counters if c.peak and is_on(kind, c.peak.field)]
    apart = {XID_FIELD, *LIFE_SIGN_FIELDS} if kind is EntityKind.GPU else {XID_FIELD}
    sampled = _ids_of((f for f in peaks if not f.is_profiling), stand_ins, apart)
    integrates = kind in GPU_KINDS and integrates_power(counters)
    if integrates and POWER_FIELD not in sampled:
        sampled += (POWER_FIELD,)
    apart.update(sampled)
    label_counters = [c for c in wanted if c.type is CounterType.LABEL]
    labels = _read_for(label_counters, stand_ins, apart)
    apart.update(labels)
    on_profiling = (*(c.field for c in wanted if c.field), *peaks)
    profiling = _ids_of((f for f in on_profiling if f.is_profiling), {}, apart)
    plain = list(_read_for(wanted, stand_ins, apart.union(profiling)))
    is_read = CLOCK_EVENTS_FIELD in (*plain, *labels, *sampled)
    if kind in GPU_KINDS and not is_read and counts_clock_events(counters):
        plain.append(CLOCK_EVENTS_FIELD)
    if integrates and ENERGY_FIELD not in (*plain, *labels, *sampled):
        plain.append(ENERGY_FIELD)
    return FieldPlan(kind, tuple(plain), labels, profiling, sampled)


def carries(kind: EntityKind, counter: Counter) -> bool:
    """Return whether ``counter`` has a value, or is a label, on entities of ``kind``.

    A field without a level has one value per machine. As a label it is on every entity, but
    as a series only on GPUs, rather than on each of a hundred cores.
    """
    field: Field | None = counter.field
    if field is None:
        return False
    if field.level is EntityLevel.NONE:
        return kind in GPU_KINDS or counter.type is CounterType.LABEL
    return is_on(kind, field)


def is_on(kind: EntityKind, field: Field) -> bool:
    """Return whether entities of ``kind`` have values of ``field``, which is of some level."""
    if field.is_profiling and kind is EntityKind.GPU_INSTANCE:
        # Sampled on an instance, a counter of the whole GPU is an error in the engine's log.
        return field.level is not EntityLevel.GPU
    return field.level in _LEVELS[kind]


def counts_clock_events(counters: CounterSet) -> bool:
    """Return whether field 112 is needed to count clock events, even if no counter shows it."""
    return any(counter.special in _CLOCK_SPECIALS for counter in counters.counters)


def integrates_power(counters: CounterSet) -> bool:
    """Return whether energy is computed from power where there is no counter of it."""
    return any(counter.special is Special.SAMPLED_ENERGY for counter in counters.counters)


def of_kind(entities: Sequence[Entity], kind: EntityKind) -> tuple[Entity, ...]:
    """Return the entities of one kind, in their order."""
    return tuple(entity for entity in entities if entity.kind is kind)


def _read_for(
    counters: Iterable[Counter], stand_ins: Mapping[int, int], without: set[int]
) -> tuple[int, ...]:
    return _ids_of((c.field for c in counters if c.field), stand_ins, without)


def _ids_of(
    fields: Iterable[Field], stand_ins: Mapping[int, int], without: set[int]
) -> tuple[int, ...]:
    ids = (stand_ins.get(field.id, field.id) for field in fields)
    return tuple(dict.fromkeys(field_id for field_id in ids if field_id not in without))
