"""What the hardware answers: maps (entity, field, time) to a status or a value."""

from __future__ import annotations

from typing import Any

from dcgm_simulator import signals, unrecorded
from dcgm_simulator.codes import EntityGroup, Sentinel, Status, Value, is_sentinel, sentinel
from dcgm_simulator.fields import Field, base_units, field_table
from dcgm_simulator.machine import SUFFIX, Entity, Instance, Machine
from dcgm_simulator.signals import Load, Source

COUNT, NAME, UUID, CUDA_VISIBLE = 4, 50, 54, 68
TEMPERATURES = frozenset({140, 150, 153})
"""Of the memory, of the GPU, and how far the latter is from its limit."""
CLOCK_LIMITS = {100: 113, 102: 115}
"""The fields with the greatest values of the SM and the video clock."""
POWER, ENERGY = 155, 156
CLOCK_EVENTS, IDLE = 112, 1
"""DCGM_FI_DEV_CLOCKS_EVENT_REASONS, and its bit for an idle GPU."""
LEAST_LOAD = 0.005
"""Below this a GPU's utilization is 0 %."""
FB_TOTAL, FB_FREE, FB_USED, FB_RESERVED, FB_USED_SHARE = 250, 251, 252, 253, 254
PAGES_PAST_A_MIB = 5 * 4096
POISONED = frozenset({3, 81})
"""Fields that NVML answered with an empty string (recorded)."""

STILL_START, STILL_AT = 1_800_000_000_000_000, 1_800_000_600_000_000
"""When a machine that stands still was started, and when it stopped, in µs."""

CLASSES = {
    EntityGroup.GPU: "gpu",
    EntityGroup.GPU_I: "gpu_i",
    EntityGroup.GPU_CI: "gpu_ci",
}
UNRECORDED = {
    EntityGroup.SWITCH: unrecorded.SWITCH,
    EntityGroup.LINK: unrecorded.LINK,
    EntityGroup.CPU: unrecorded.CPU,
    EntityGroup.CPU_CORE: unrecorded.CPU_CORE,
}
GPU_LEVELS = frozenset(
    {EntityGroup.NONE, EntityGroup.GPU, EntityGroup.GPU_I, EntityGroup.GPU_CI, EntityGroup.VGPU}
)

Answer = Source | Status
"""A source of values, or the status that all values of the field have."""


class Hardware:
    """Answers for every entity of a machine."""

    def __init__(self, machine: Machine, seed: int, start: int, *, still: bool = False) -> None:
        self._machine = machine
        self._seed = seed
        self._start = STILL_START if still else start
        self._still = still
        self.loads = [Load(seed, gpu) for gpu in range(machine.layout.gpus)]
        self._answers: dict[tuple[Entity, int], Answer] = {}

    def forget(self) -> None:
        """Forget all answers, because the machine changed."""
        self._answers.clear()

    def answer(self, entity: Entity, field: Field) -> Answer:
        """Return how an entity answers for a field."""
        key = (entity, field.id)
        if key not in self._answers:
            found = self._find(entity, field)
            if self._still and not isinstance(found, Status):
                found = signals.constant(found(STILL_AT))
            self._answers[key] = found
        return self._answers[key]

    def stamp(self, entity: Entity, field: Field, time: int) -> int:
        """Return the time that a sample taken at a time says it has."""
        return time

    def _find(self, entity: Entity, field: Field) -> Answer:
        in_older_unit = base_units().get(field.id)
        if in_older_unit is not None:
            return self._in_base_unit(entity, field, *in_older_unit)
        # For GLOBAL fields, the first GPU is asked whatever the entity (DcgmCacheManager.cpp).
        if field.is_global and self._machine.layout.gpus:
            entity = Entity(EntityGroup.GPU, 0)
        group = EntityGroup(entity.group)
        if group == EntityGroup.LINK and entity.id & 0xFF == EntityGroup.GPU:
            # Since 4.5, NvLinks of GPUs can be watched, but have no values (observed on 4.5.3).
            return Status.NO_DATA
        if field.id in POISONED and self._machine.behaviour.empty_string_fails_call:
            return signals.constant("")
        instance = self._machine.instance(entity) if group in CLASSES else None
        identity = self._identity(entity, field, instance if group != EntityGroup.GPU else None)
        if identity is not None:
            return identity
        row = self._row(entity, field)
        return self._unknown(group, field) if row is None else self._source(entity, field, row)

    def _row(self, entity: Entity, field: Field) -> list[Any] | None:
        group = EntityGroup(entity.group)
        if group in UNRECORDED:
            return UNRECORDED[group].get(field.id)
        if group not in CLASSES:
            return None
        cut = group == EntityGroup.GPU and entity.id in self._machine.instances
        name = "gpu_mig" if cut else CLASSES[group]
        row: list[Any] | None = self._machine.recording["answers"][name].get(str(field.id))
        return row

    def _unknown(self, group: EntityGroup, field: Field) -> Answer:
        """Answer for a field that is in no recording."""
        if field.type == "b":
            return Status.NOT_SUPPORTED
        if field.level != group and not (field.level in GPU_LEVELS and group in CLASSES):
            return Status.NO_DATA
        if group in CLASSES:
            return signals.constant(sentinel(field.type, Sentinel.NOT_SUPPORTED))
        return signals.constant(sentinel(field.type) if field.type == "s" else 0)

    def _in_base_unit(
        self, entity: Entity, field: Field, older: int, times: int, divided_by: int
    ) -> Answer:
        """Answer for a field of 4.7 with the older field times a factor.

        NVML reports memory in bytes; the older fields have whole MiB.
        """
        answer = self.answer(entity, self._field(older))
        if isinstance(answer, Status):
            return answer
        rest = PAGES_PAST_A_MIB if times == 2**20 else 0

        def value(time: int) -> Value:
            found = answer(time)
            if isinstance(found, str) or is_sentinel(found):
                return sentinel(field.type, Sentinel(int(found) & 3))
            exact = found * times / divided_by + rest
            return int(exact) if field.type == "i" else exact

        return value

    # --- identities ------------------------------------------------------------------

    def _identity(self, entity: Entity, field: Field, instance: Instance | None) -> Source | None:
        if instance is not None:
            return self._instance_identity(entity, field, instance)
        if field.id == COUNT:
            return signals.constant(self._machine.layout.gpus)
        if entity.group == EntityGroup.GPU and field.id == NAME:
            name = self._machine.recording["attributes"][0]["identifiers"]["deviceName"]
            return signals.constant(name + SUFFIX)
        return None

    def _instance_identity(self, entity: Entity, field: Field, instance: Instance) -> Source | None:
        machine = self._machine
        nvml_path = f"MIG-{machine.uuid(instance.gpu)}/{instance.nvml_id}"
        compute = "/0" if entity.group == EntityGroup.GPU_CI else ""
        values: dict[int, Any] = {
            NAME: instance.name,
            UUID: machine.instance_uuid(instance),
            CUDA_VISIBLE: nvml_path + compute,
            FB_TOTAL: instance.profile.memory,
        }
        if field.id in values:
            return signals.constant(values[field.id])
        if field.id in (FB_FREE, FB_USED, FB_USED_SHARE):
            return self._instance_memory(field, instance)
        return None

    def _instance_memory(self, field: Field, instance: Instance) -> Source:
        total = instance.profile.memory
        used = signals.between("i", total // 40, total // 2, f"{self._seed}/fb/{instance.id}")
        return {
            FB_USED: used,
            FB_FREE: lambda time: total - int(used(time)),
            FB_USED_SHARE: lambda time: int(used(time)) / total,
        }[field.id]

    # --- values that move --------------------------------------------------------------

    def _source(self, entity: Entity, field: Field, row: list[Any]) -> Answer:
        if row[1]:
            return Status(row[1])
        kind, _, shape, *numbers = row
        if field.id == CLOCK_EVENTS:
            return self._clock_events(entity, row)
        if shape == "mixed":
            status = self._own(entity, numbers[0])
            return Status(status) if status else signals.constant(numbers[1])
        if shape in ("constant", "identity"):
            value = numbers[0] if shape == "constant" else self._own(entity, numbers[0])
            return signals.constant(value)
        return self._following(entity, field) or self._moving(entity, field, kind, shape, numbers)

    def _clock_events(self, entity: Entity, row: list[Any]) -> Source:
        """Return why clocks are as they are: as recorded, but idle is for the load to say.

        GPUs that were injected into an engine say that they are idle at any load (recorded).
        """
        recorded = row[3] if row[2] == "constant" else self._own(entity, row[3])
        load, others = self._load(entity), recorded & ~IDLE
        if load is None:
            return signals.constant(others)
        return lambda time: others if load.at(time) >= LEAST_LOAD else others | IDLE

    def _moving(
        self, entity: Entity, field: Field, kind: str, shape: str, numbers: list[Any]
    ) -> Source:
        name = f"{self._seed}/{entity}/{field.id}"
        load = self._load(entity)
        if shape == "counter":
            return signals.counter(int(numbers[0]), numbers[1], self._start, name)
        if shape == "linear" and load is not None:
            lag = signals.LAG if field.id in TEMPERATURES else 0
            follows = signals.linear(load, kind, numbers[0], numbers[1], lag)
            limit = CLOCK_LIMITS.get(field.id)
            row = self._row(entity, self._field(limit)) if limit is not None else None
            return follows if row is None else lambda time: min(row[3], follows(time))
        return signals.between(kind, numbers[0], numbers[1], name)

    def _own(self, entity: Entity, values: list[Any]) -> Any:
        """Return the value recorded for this entity."""
        return values[self._position(entity) % len(values)]

    def _position(self, entity: Entity) -> int:
        """Return the position of an entity in a recorded list of identities."""
        if entity.group in (EntityGroup.GPU_I, EntityGroup.GPU_CI):
            gpu, number = divmod(entity.id, self._machine.layout.slices)
            return gpu * 4 + number % 4
        return entity.id & 0xFFFF

    def _load(self, entity: Entity) -> Load | None:
        gpu = self._machine.gpu_of(entity)
        return self.loads[gpu] if gpu is not None and gpu < len(self.loads) else None

    def _following(self, entity: Entity, field: Field) -> Source | None:
        """Return the sources that have to agree with other fields of the same GPU."""
        load = self._load(entity)
        if load is None or entity.group != EntityGroup.GPU:
            return None
        if field.id == ENERGY:
            power = self._row(entity, self._field(POWER))
            if power is not None and power[2] == "linear":
                return signals.energy(
                    load, 10**9 * (entity.id + 1), power[3], power[4], self._start
                )
        if field.id in (FB_FREE, FB_USED_SHARE):
            total, used, reserved = (
                self._value_source(entity, number) for number in (FB_TOTAL, FB_USED, FB_RESERVED)
            )
            if field.id == FB_FREE:
                return lambda time: total(time) - used(time) - reserved(time)
            return lambda time: used(time) / (total(time) - reserved(time))
        return None

    def _field(self, field: int) -> Field:
        return field_table(self._machine.behaviour.version)[field]

    def _value_source(self, entity: Entity, field: int) -> Any:
        answer = self.answer(entity, self._field(field))
        return signals.constant(0) if isinstance(answer, Status) else answer
