"""Describe the entities of one machine, and which belongs to which."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.entities import Entity, EntityKind


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU by DCGM's id. Whatever the driver did not tell is empty."""

    id: int
    uuid: str
    pci_bus_id: str
    model: str

    @property
    def entity(self) -> Entity:
        """The GPU's DCGM entity."""
        return Entity(EntityKind.GPU, self.id)


@dataclass(frozen=True, slots=True)
class GpuInstance:
    """A MIG GPU instance; ``instance_id`` is NVML's number on its GPU."""

    id: int
    gpu_id: int
    instance_id: int
    profile: str

    @property
    def entity(self) -> Entity:
        """The instance's DCGM entity."""
        return Entity(EntityKind.GPU_INSTANCE, self.id)


@dataclass(frozen=True, slots=True)
class ComputeInstance:
    """A MIG compute instance; ``instance_id`` is NVML's number in its GPU instance."""

    id: int
    gpu_instance_id: int
    instance_id: int

    @property
    def entity(self) -> Entity:
        """The compute instance's DCGM entity."""
        return Entity(EntityKind.COMPUTE_INSTANCE, self.id)


@dataclass(frozen=True, slots=True)
class Link:
    """An NvSwitch's link; ``id`` is DCGM's packed entity id."""

    id: int
    switch_id: int
    index: int


@dataclass(frozen=True, slots=True)
class Core:
    """A CPU core and the CPU it belongs to."""

    id: int
    cpu_id: int


@dataclass(frozen=True, slots=True)
class Topology:
    """All entities of one machine, each kind sorted by id.

    ``absent`` says why this engine or machine lacks a kind.
    """

    gpus: tuple[Gpu, ...] = ()
    gpu_instances: tuple[GpuInstance, ...] = ()
    compute_instances: tuple[ComputeInstance, ...] = ()
    switches: tuple[int, ...] = ()
    links: tuple[Link, ...] = ()
    cpus: tuple[int, ...] = ()
    cores: tuple[Core, ...] = ()
    absent: Mapping[EntityKind, str] = field(default_factory=dict)

    @property
    def mig_parts(self) -> tuple[GpuInstance | ComputeInstance, ...]:
        """All GPU instances and compute instances."""
        return (*self.gpu_instances, *self.compute_instances)

    def gpu(self, gpu_id: int) -> Gpu:
        """Return the GPU with DCGM's id ``gpu_id``."""
        return next(gpu for gpu in self.gpus if gpu.id == gpu_id)

    def gpu_instance(self, instance_id: int) -> GpuInstance:
        """Return the GPU instance with DCGM's entity id ``instance_id``."""
        return next(instance for instance in self.gpu_instances if instance.id == instance_id)

    def compute_instance(self, instance_id: int) -> ComputeInstance:
        """Return the compute instance with DCGM's entity id ``instance_id``."""
        return next(instance for instance in self.compute_instances if instance.id == instance_id)

    def gpu_id_of(self, entity: Entity) -> int | None:
        """Return the id of the GPU that ``entity`` is or is part of, None for other hardware."""
        if entity.kind is EntityKind.GPU:
            return entity.id
        if entity.kind is EntityKind.GPU_INSTANCE:
            return self.gpu_instance(entity.id).gpu_id
        if entity.kind is EntityKind.COMPUTE_INSTANCE:
            return self.gpu_instance(self.compute_instance(entity.id).gpu_instance_id).gpu_id
        return None

    def shown_entity(self, entity: Entity) -> Entity:
        """Return the entity that XIDs are reported on: its parent for a compute instance."""
        if entity.kind is EntityKind.COMPUTE_INSTANCE:
            parent = self.compute_instance(entity.id).gpu_instance_id
            return Entity(EntityKind.GPU_INSTANCE, parent)
        return entity
