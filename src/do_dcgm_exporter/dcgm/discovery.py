"""Ask an engine which entities this machine has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from do_dcgm_exporter.dcgm.answers import MigNode
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused
from do_dcgm_exporter.dcgm.topology import (
    ComputeInstance,
    Core,
    Gpu,
    GpuInstance,
    Link,
    Topology,
)

_Answer = TypeVar("_Answer")

# How long a kind that the engine refused is not asked for again: sysmon or NSCQ
# may come with a package, not within a cycle.
_ASK_AGAIN_AFTER = 300.0

# DcgmEntityStatus_t (dcgm_structs.h).
_LOST, _DETACHED = 4, 7

# DCGM_FI_DEV_NAME: on a GPU instance it is the profile, such as "3g.40gb".
_NAME_FIELD = 50


@dataclass(frozen=True, slots=True)
class Inventory:
    """Which entities exist, without who they are; equal while nothing has changed."""

    gpu_ids: tuple[int, ...] = ()
    mig_nodes: tuple[MigNode, ...] = ()
    switch_ids: tuple[int, ...] = ()
    link_ids: tuple[int, ...] = ()
    cores_by_cpu: tuple[tuple[int, tuple[int, ...]], ...] = ()


@dataclass(slots=True)
class Discovery:
    """Takes inventories of one engine, remembering which kinds it refused.

    ``known_gpus`` are GPUs that were there before. ``lost_gpus`` are those that the engine
    itself knew to be lost at the last inventory, as only 4.5 and later do.
    """

    engine: HostEngine
    clock: Callable[[], float] = time.monotonic
    known_gpus: Mapping[int, Gpu] = field(default_factory=dict)
    absent: dict[EntityKind, str] = field(default_factory=dict)
    lost_gpus: frozenset[int] = frozenset()
    _seen_gpus: set[int] = field(default_factory=set)
    _refused_at: dict[EntityKind, float] = field(default_factory=dict)

    def inventory(self) -> Inventory:
        """Return which entities exist now: four calls on a machine with GPUs alone."""
        switch_ids = self._entity_ids(EntityKind.SWITCH)
        return Inventory(
            gpu_ids=self._gpu_ids(),
            mig_nodes=self._ask(EntityKind.GPU_INSTANCE, self.engine.mig_hierarchy, ()),
            switch_ids=switch_ids,
            link_ids=self._entity_ids(EntityKind.LINK) if switch_ids else (),
            cores_by_cpu=tuple(self._cores().items()),
        )

    def topology(self, inventory: Inventory) -> Topology:
        """Return who the entities of ``inventory`` are.

        What a lost GPU's driver no longer tells is taken from the GPUs known before.
        """
        instances = [n for n in inventory.mig_nodes if n.entity.kind is EntityKind.GPU_INSTANCE]
        parts = [n for n in inventory.mig_nodes if n.entity.kind is EntityKind.COMPUTE_INSTANCE]
        profiles = self._profiles([node.entity for node in instances])
        return Topology(
            gpus=tuple(self._gpu(gpu_id) for gpu_id in inventory.gpu_ids),
            gpu_instances=tuple(
                GpuInstance(n.entity.id, n.parent.id, n.instance_id, profiles.get(n.entity, ""))
                for n in sorted(instances)
            ),
            compute_instances=tuple(
                ComputeInstance(n.entity.id, n.parent.id) for n in sorted(parts)
            ),
            switches=inventory.switch_ids,
            links=tuple(self._links(inventory)),
            cpus=tuple(cpu for cpu, _ in inventory.cores_by_cpu),
            cores=tuple(Core(core, cpu) for cpu, cores in inventory.cores_by_cpu for core in cores),
            absent=dict(self.absent),
        )

    def _gpu_ids(self) -> tuple[int, ...]:
        """Return the supported GPUs and the lost ones, which 4.5 and later no longer list.

        What else is not listed never was: a GPU that DCGM does not support.
        """
        supported = self.engine.supported_gpu_ids()
        unlisted = set(self.engine.gpu_ids()).difference(supported)
        self.lost_gpus = frozenset(gpu_id for gpu_id in unlisted if self._is_lost(gpu_id))
        self._seen_gpus.update(supported)
        return tuple(sorted({*supported, *self.lost_gpus}))

    def _is_lost(self, gpu_id: int) -> bool:
        if gpu_id in self._seen_gpus or gpu_id in self.known_gpus:
            return True
        try:
            return self.engine.gpu_status(gpu_id) in (_LOST, _DETACHED)
        except CallRefused:
            return False

    def answers(self, gpu_id: int) -> bool:
        """Return whether the driver tells who a GPU is, which it does not of a lost one."""
        try:
            uuid = self.engine.device_identity(gpu_id).uuid
        except CallRefused:
            return False
        return bool(uuid) and not uuid.startswith("<<<")

    def _gpu(self, gpu_id: int) -> Gpu:
        known = self.known_gpus.get(gpu_id)
        try:
            told = self.engine.device_identity(gpu_id)
        except CallRefused:
            return known or Gpu(gpu_id, "", "", "")
        uuid, pci_bus_id, model = ("" if text.startswith("<<<") else text for text in told)
        if known is not None and uuid in ("", known.uuid):
            return Gpu(gpu_id, known.uuid, pci_bus_id or known.pci_bus_id, model or known.model)
        return Gpu(gpu_id, uuid, pci_bus_id, model)

    def _profiles(self, instances: list[Entity]) -> Mapping[Entity, str]:
        """Profile names by instance, asked of the driver: nothing is watched yet."""
        profiles: dict[Entity, str] = {}
        size = self.engine.entities_per_call
        for start in range(0, len(instances), size):
            for value in self.engine.live(instances[start : start + size], [_NAME_FIELD]):
                if isinstance(value.payload, str) and not value.payload.startswith("<<<"):
                    profiles[value.entity] = value.payload
        return profiles

    def _links(self, inventory: Inventory) -> Iterable[Link]:
        """Unpack link ids: type in bits 0-7, index from bit 8, the switch where there is room.

        3.x packs the switch's id from bit 16, 4.3.1 and later from bit 24; 4.0.0 to 4.2.3
        lose it, so that links of several switches cannot be told apart.
        """
        release = self.engine.versions.engine_release
        if (4,) <= release < (4, 3):
            if len(inventory.switch_ids) > 1:
                self.absent[EntityKind.LINK] = "this engine's link ids do not name the switch"
                return
            only = inventory.switch_ids[0] if inventory.switch_ids else 0
            yield from (Link(raw, only, raw >> 8 & 0xFFFF) for raw in inventory.link_ids)
        elif release < (4,):
            yield from (Link(raw, raw >> 16, raw >> 8 & 0xFF) for raw in inventory.link_ids)
        else:
            yield from (Link(raw, raw >> 24, raw >> 8 & 0xFFFF) for raw in inventory.link_ids)

    def _entity_ids(self, kind: EntityKind) -> tuple[int, ...]:
        none: tuple[int, ...] = ()
        return tuple(sorted(set(self._ask(kind, lambda: self.engine.entity_ids(kind), none))))

    def _cores(self) -> Mapping[int, tuple[int, ...]]:
        cpus = self._entity_ids(EntityKind.CPU)
        if not cpus:
            return {}
        none: Mapping[int, tuple[int, ...]] = {}
        cores = self._ask(EntityKind.CPU_CORE, self.engine.cores_by_cpu, none)
        return {cpu: cores.get(cpu, ()) for cpu in cpus}

    def _ask(self, kind: EntityKind, ask: Callable[[], _Answer], none: _Answer) -> _Answer:
        refused_at = self._refused_at.get(kind)
        if refused_at is not None and self.clock() - refused_at < _ASK_AGAIN_AFTER:
            return none
        try:
            answer = ask()
        except CallRefused as error:
            self._refused_at[kind] = self.clock()
            self.absent[kind] = str(error)
            return none
        self._refused_at.pop(kind, None)
        self.absent.pop(kind, None)
        return answer
