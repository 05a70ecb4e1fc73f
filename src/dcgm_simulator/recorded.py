"""A machine that is not invented but recorded: it answers as it did last, for ever."""

from __future__ import annotations

import re
from typing import Any

from dcgm_simulator import signals, topology
from dcgm_simulator.answers import NAME, Answer, Hardware
from dcgm_simulator.cache import Cache
from dcgm_simulator.codes import EntityGroup, Status, StatusError, is_sentinel
from dcgm_simulator.faults import Faults
from dcgm_simulator.fields import Field
from dcgm_simulator.layouts import Layout
from dcgm_simulator.machine import LINK_DOWN, SUFFIX, Entity, Instance, Machine
from dcgm_simulator.recording import Recorded, Recording
from dcgm_simulator.sampler import Sample
from dcgm_simulator.series import SECOND
from dcgm_simulator.versions import Behaviour
from dcgm_simulator.wire import Function

STANDS_STILL_AFTER = 35 * SECOND
"""A value older than this was no longer sampled: the slowest are sampled every 30 s."""
UNASKED: dict[EntityGroup, list[int] | Status] = {
    EntityGroup.SWITCH: [],
    EntityGroup.CPU: Status.MODULE_NOT_LOADED,
    EntityGroup.CPU_CORE: Status.MODULE_NOT_LOADED,
}
"""What is answered about kinds of which the recording says nothing."""


class RecordedMachine(Machine):
    """The machine of a recording."""

    def __init__(self, recording: Recording, behaviour: Behaviour) -> None:
        self.scenario = "recording"
        self.behaviour = behaviour
        self.told = recording
        refused = Status.MODULE_NOT_LOADED in recording.profiling.values()
        self.layout = Layout(
            len(recording.devices), cpus=len(recording.cpus), profiling=not refused
        )
        self.recording = {}
        self.instances, self.down_links = {}, set()
        self.unsupported = recording.unsupported
        self._parts = {
            Entity(*_pair(node["entity"])): Entity(*_pair(node["parent"]))
            for node in recording.hierarchy
        }

    def gpus(self) -> list[int]:
        """Return the ids of the GPUs."""
        return list(self.told.devices)

    def entities(self, group: int) -> list[int]:
        """Return the ids of all entities of a kind.

        Raises StatusError as the engine did.
        """
        if group == EntityGroup.GPU:
            return self.gpus()
        if group in (EntityGroup.GPU_I, EntityGroup.GPU_CI):
            return sorted(part.id for part in self._parts if part.group == group)
        if group == EntityGroup.CPU_CORE and self.told.cpus:
            # Which there are is told by the hierarchy, so that nobody asks.
            return [core for _, first, last, _ in self.told.cpus for core in range(first, last + 1)]
        unasked = UNASKED.get(EntityGroup(group), Status.NOT_SUPPORTED)
        found = self.told.entities.get(EntityGroup(group), unasked)
        if isinstance(found, Status):
            raise StatusError(found)
        return found

    def gpu_of(self, entity: Entity) -> int | None:
        """Return the GPU an entity is, or is a part of."""
        while entity in self._parts:
            entity = self._parts[entity]
        return entity.id if entity.group == EntityGroup.GPU else None

    def instance(self, entity: Entity) -> Instance | None:
        """Return nothing: what is known of an instance are its values."""
        return None

    def restore(self) -> None:
        """Do nothing: a recorded machine is never cut anew."""

    def cut(self, gpu: int, names: tuple[str, ...]) -> None:
        """Refuse: how a recorded GPU would look in other parts is not known."""
        raise ValueError("a recorded machine cannot be cut anew")

    def attributes(self, gpu: int) -> dict[str, Any]:
        """Return what dcgmGetDeviceAttributes told of a GPU.

        Raises StatusError -1 where it told nothing.
        """
        if gpu not in self.told.attributes:
            raise StatusError(Status.BADPARAM)
        told = self.told.attributes[gpu]
        name = {"deviceName": simulated(told["identifiers"]["deviceName"])}
        parts = {part: _without_version(values) for part, values in told.items() if part in PARTS}
        return parts | {"identifiers": parts["identifiers"] | name}

    def link_states(self, gpu: int) -> list[int]:
        """Return the state of each NvLink of a GPU."""
        return [
            LINK_DOWN if (gpu, link) in self.down_links else state
            for link, state in enumerate(self.told.nvlinks.get(gpu, []))
        ]


PARTS = frozenset({"identifiers", "memoryUsage", "powerLimits", "thermalSettings"})
"""Of the attributes, those that every version has."""


def _without_version(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if name != "version"}


def _pair(told: dict[str, int]) -> tuple[int, int]:
    return told["entityGroupId"], told["entityId"]


def simulated(name: str) -> str:
    """Return the name of a model that cannot pass for a real one."""
    return name if is_sentinel(name) or name.endswith(SUFFIX) else name + SUFFIX


class RecordedHardware(Hardware):
    """Answers every field of every entity as it was recorded."""

    def __init__(self, machine: RecordedMachine, start: int) -> None:
        super().__init__(machine, 0, start, still=True)
        self.loads = []
        self._told = machine.told
        self._start = start
        self._of_any = {field: row for (_, field), row in machine.told.values.items()}

    def _find(self, entity: Entity, field: Field) -> Answer:
        if field.id in self._told.poisoned and self._machine.behaviour.empty_string_fails_call:
            return signals.constant("")
        row = self._row_of(entity, field)
        if row is None:
            return Status.NO_DATA
        if row.status:
            return Status(row.status)
        is_name = field.id == NAME and entity.group == EntityGroup.GPU
        return signals.constant(simulated(str(row.value)) if is_name else row.value)

    def _row_of(self, entity: Entity, field: Field) -> Recorded | None:
        if field.is_global:
            return self._of_any.get(field.id)
        return self._told.values.get((entity, field.id))

    def stamp(self, entity: Entity, field: Field, time: int) -> int:
        """Return the time of a sample: what was no longer sampled keeps its age."""
        row = self._row_of(entity, field)
        if row is None or row.age <= STANDS_STILL_AFTER:
            return time
        return self._start - row.age


def inject(recording: Recording, faults: Faults, cache: Cache, start: int) -> None:
    """Put into a new engine what had gone wrong when it was recorded."""
    for gpu in recording.lost:
        faults.lose(gpu, start - STANDS_STILL_AFTER)
    faults.profiling_needs_root = recording.needs_root
    for name, status in recording.refused.items():
        if (function := _function(name)) is not None:
            faults.refused[function.name.lower()] = status
    fields = cache.fields()
    for entity, field, event in recording.events:
        cache.events.expect(entity, fields[field], Sample(start - event.age, event.value))


def _function(name: str) -> Function | None:
    """Return the function that dcgmGetNvLinkLinkStatus or dcgmHealthSet_v2 calls."""
    words = re.sub(r"^dcgm|_v\d+$", "", name).lower()
    return next((f for f in Function if f.name.replace("_", "").lower() == words), None)


# --- how entities relate -----------------------------------------------------------------


@topology.hierarchy.register
def _(machine: RecordedMachine) -> list[list[Any]]:
    return [
        [_pair(node["entity"]), _pair(node["parent"]), list(node["info"].values())]
        for node in machine.told.hierarchy
    ]


@topology.p2p_status.register
def _(machine: RecordedMachine) -> list[list[Any]]:
    return machine.told.peers


@topology.cpu_hierarchy.register
def _(machine: RecordedMachine) -> list[list[Any]]:
    return machine.told.cpus


@topology.profiling_groups.register
def _(machine: RecordedMachine, gpu: int) -> list[dict[str, Any]]:
    told = machine.told.profiling.get(gpu, Status.NOT_SUPPORTED)
    if isinstance(told, Status):
        raise StatusError(told)
    return [{name: group[name] for name in ("majorId", "minorId", "fieldIds")} for group in told]
