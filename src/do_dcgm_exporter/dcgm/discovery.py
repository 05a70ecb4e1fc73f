"""Ask an engine which entities this machine has."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from do_dcgm_exporter.dcgm.answers import MigNode
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.side_call import HARDWARE_CHANGES, SideCall
from do_dcgm_exporter.dcgm.topology import (
    ComputeInstance,
    Core,
    Gpu,
    GpuInstance,
    Link,
    Topology,
)

_Answer = TypeVar("_Answer")

# Seconds until asking again about a kind that this engine or machine lacks: sysmon or NSCQ may
# be installed later.
_ASK_AGAIN_AFTER = 300.0

# Refusals that mean a kind is absent. After any other it is unknown what exists.
_ABSENT = (ReturnCode.NOT_SUPPORTED, ReturnCode.FUNCTION_NOT_FOUND)
# Kinds served by a module that the engine loads only where there is such hardware.
_SERVED_BY_MODULES = (EntityKind.SWITCH, EntityKind.LINK, EntityKind.CPU)

# Grace is the only CPU that DCGM knows. Asked about CPUs elsewhere, the engine complains in its
# log, and 3.3.9 crashes if /sys/class/hwmon does not exist (observed).
_ARCHITECTURE_OF_GRACE = "aarch64"

# DcgmEntityStatus_t (dcgm_structs.h).
_LOST, _DETACHED = 4, 7

# DCGM_FI_DEV_NAME, which on a GPU instance is the profile, such as "3g.40gb".
_NAME_FIELD = 50


@dataclass(frozen=True, slots=True)
class Inventory:
    """Which entities exist, without their identities. Two are equal if nothing has changed."""

    gpu_ids: tuple[int, ...] = ()
    mig_nodes: tuple[MigNode, ...] = ()
    switch_ids: tuple[int, ...] = ()
    link_ids: tuple[int, ...] = ()
    cores_by_cpu: tuple[tuple[int, tuple[int, ...]], ...] = ()


@dataclass(slots=True)
class Discovery:
    """Takes inventories of one engine, in cycles ``interval`` seconds apart.

    ``known_gpus`` and ``last`` are the previous GPUs and inventory, perhaps from another
    connection. ``lost_gpus`` are those that the engine itself reported lost in the last
    inventory, as only 4.5 and later do. ``absent`` says why this machine has none of a kind,
    ``unanswered`` why it is unknown which of a kind exist now, so that the last ones stay.
    """

    engine: HostEngine
    clock: Callable[[], float] = time.monotonic
    known_gpus: Mapping[int, Gpu] = field(default_factory=dict)
    last: Inventory = field(default_factory=Inventory)
    interval: float = 0.0
    cpus_selected: bool = False
    absent: dict[EntityKind, str] = field(default_factory=dict)
    unanswered: dict[EntityKind, str] = field(default_factory=dict)
    lost_gpus: frozenset[int] = frozenset()
    _seen_gpus: set[int] = field(default_factory=set)
    _questions: dict[EntityKind, SideCall[Any]] = field(default_factory=dict)

    def inventory(self) -> Inventory:
        """Return which entities exist: GPUs as of now, the rest at most ten seconds old.

        On a machine with only GPUs this takes two calls, and two more every ten seconds.
        """
        gpu_ids, last = self._gpu_ids(), self.last
        switch_ids = self._entity_ids(EntityKind.SWITCH, last.switch_ids)
        self.last = Inventory(
            gpu_ids=gpu_ids,
            mig_nodes=self._mig_nodes(gpu_ids),
            switch_ids=switch_ids,
            link_ids=self._entity_ids(EntityKind.LINK, last.link_ids) if switch_ids else (),
            cores_by_cpu=self._cores_by_cpu(),
        )
        return self.last

    def topology(self, inventory: Inventory) -> Topology:
        """Return the identities of the entities in ``inventory``.

        What the driver no longer tells about a lost GPU is taken from ``known_gpus``.
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
                ComputeInstance(n.entity.id, n.parent.id, n.compute_id) for n in sorted(parts)
            ),
            switches=inventory.switch_ids,
            links=tuple(self._links(inventory)),
            cpus=tuple(cpu for cpu, _ in inventory.cores_by_cpu),
            cores=tuple(Core(core, cpu) for cpu, cores in inventory.cores_by_cpu for core in cores),
            absent=dict(self.absent),
        )

    def _gpu_ids(self) -> tuple[int, ...]:
        """Return the supported GPUs and the lost ones, which 4.5 and later no longer list.

        Any other GPU off the list is one that DCGM does not support.
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
        """Return whether the driver tells a GPU's UUID, which it does not for a lost one."""
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
        """Return profile names by instance, read from the driver as nothing is watched yet."""
        profiles: dict[Entity, str] = {}
        size = self.engine.entities_per_call
        for start in range(0, len(instances), size):
            for value in self.engine.live(instances[start : start + size], [_NAME_FIELD]):
                if isinstance(value.payload, str) and not value.payload.startswith("<<<"):
                    profiles[value.entity] = value.payload
        return profiles

    def _links(self, inventory: Inventory) -> Iterable[Link]:
        """Unpack link ids: the type is in bits 0-7, the index from bit 8, the switch above it.

        3.x packs the switch's id from bit 16, 4.3.1 and later from bit 24. 4.0.0 to 4.2.3
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

    def _mig_nodes(self, gpu_ids: tuple[int, ...]) -> tuple[MigNode, ...]:
        """Return the MIG hierarchy; if unknown, the last one of GPUs that still exist."""
        before = tuple(_on_gpus(self.last.mig_nodes, gpu_ids))
        nodes = self._ask(EntityKind.GPU_INSTANCE, self.engine.mig_hierarchy, (), before)
        return tuple(sorted(nodes))

    def _entity_ids(self, kind: EntityKind, before: tuple[int, ...]) -> tuple[int, ...]:
        none: tuple[int, ...] = ()
        found = self._ask(kind, lambda: self.engine.entity_ids(kind), none, before)
        return tuple(sorted(set(found)))

    def _cores_by_cpu(self) -> tuple[tuple[int, tuple[int, ...]], ...]:
        if not self.cpus_selected and self.engine.architecture != _ARCHITECTURE_OF_GRACE:
            return ()
        before = dict(self.last.cores_by_cpu)
        cpus = self._entity_ids(EntityKind.CPU, tuple(before))
        if not cpus:
            return ()
        none: Mapping[int, tuple[int, ...]] = {}
        cores = self._ask(EntityKind.CPU_CORE, self.engine.cores_by_cpu, none, before)
        return tuple((cpu, cores.get(cpu, ())) for cpu in cpus)

    def _ask(
        self, kind: EntityKind, ask: Callable[[], _Answer], none: _Answer, before: _Answer
    ) -> _Answer:
        """Return what ``ask`` returns, ``none`` if there is no such kind, ``before`` if unknown."""
        if kind not in self._questions:
            self._questions[kind] = SideCall(ask, HARDWARE_CHANGES, self.interval, self.clock)
        question: SideCall[_Answer] = self._questions[kind]
        self.absent.pop(kind, None)
        self.unanswered.pop(kind, None)
        try:
            answer = question.answer()
        except CallRefused as error:
            is_absent = _means_absent(kind, error)
            (self.absent if is_absent else self.unanswered)[kind] = str(error)
            question.every = _ASK_AGAIN_AFTER if is_absent else HARDWARE_CHANGES
            return none if is_absent else before
        question.every = HARDWARE_CHANGES
        return answer


def _means_absent(kind: EntityKind, refusal: CallRefused) -> bool:
    missing_module = refusal.code == ReturnCode.MODULE_NOT_LOADED and kind in _SERVED_BY_MODULES
    return refusal.code in _ABSENT or missing_module


def _on_gpus(nodes: Iterable[MigNode], gpu_ids: tuple[int, ...]) -> Iterable[MigNode]:
    """Yield GPU instances on ``gpu_ids``, and the compute instances in them."""
    entities = {Entity(EntityKind.GPU, gpu_id) for gpu_id in gpu_ids}
    for node in sorted(nodes):
        if node.parent in entities:
            entities.add(node.entity)
            yield node
