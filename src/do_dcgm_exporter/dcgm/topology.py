"""The entities found on this machine and the labels they carry.

Labels and their order are those of the NVIDIA exporters before 4.8.3
(docs/metrics.md); they change only with the topology, so they are rendered once here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.config.settings import DeviceSelection, SelectionMode, Settings
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind

Label = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU by DCGM's id. A part the driver did not tell is empty."""

    id: int
    uuid: str
    pci_bus_id: str
    model: str

    @property
    def entity(self) -> Entity:
        """The GPU as DCGM addresses it."""
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
        """The instance as DCGM addresses it."""
        return Entity(EntityKind.GPU_INSTANCE, self.id)


@dataclass(frozen=True, slots=True)
class ComputeInstance:
    """A MIG compute instance, known only because XIDs may be reported on it."""

    id: int
    gpu_instance_id: int

    @property
    def entity(self) -> Entity:
        """The compute instance as DCGM addresses it."""
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
    """All entities of one machine, each kind by index.

    ``absent`` names the kinds that this engine or machine does not have, with its words.
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
        """Everything that GPUs are cut into."""
        return (*self.gpu_instances, *self.compute_instances)

    def gpu(self, gpu_id: int) -> Gpu:
        """The GPU with DCGM's id ``gpu_id``."""
        return next(gpu for gpu in self.gpus if gpu.id == gpu_id)

    def gpu_instance(self, instance_id: int) -> GpuInstance:
        """The GPU instance with DCGM's entity id ``instance_id``."""
        return next(instance for instance in self.gpu_instances if instance.id == instance_id)

    def gpu_id_of(self, entity: Entity) -> int | None:
        """The GPU that ``entity`` is or is cut from; None for other hardware."""
        if entity.kind is EntityKind.GPU:
            return entity.id
        if entity.kind is EntityKind.GPU_INSTANCE:
            return self.gpu_instance(entity.id).gpu_id
        if entity.kind is EntityKind.COMPUTE_INSTANCE:
            return self.gpu_instance(self._parent_instance(entity.id)).gpu_id
        return None

    def shown_entity(self, entity: Entity) -> Entity:
        """The entity whose labels ``entity`` carries: a compute instance has its parent's."""
        if entity.kind is EntityKind.COMPUTE_INSTANCE:
            return Entity(EntityKind.GPU_INSTANCE, self._parent_instance(entity.id))
        return entity

    def _parent_instance(self, compute_instance_id: int) -> int:
        return next(
            instance.gpu_instance_id
            for instance in self.compute_instances
            if instance.id == compute_instance_id
        )


@dataclass(frozen=True, slots=True)
class Selection:
    """What the user's device options mean on one topology.

    ``entities`` have their fields exported. ``gpus`` are the GPUs in scope, that is
    selected or with a selected instance: they are asked for signs of life and XIDs.
    """

    entities: tuple[Entity, ...]
    gpus: tuple[Gpu, ...]
    missing: tuple[str, ...]


def select(topology: Topology, settings: Settings) -> Selection:
    """Apply ``-d``, ``-s`` and ``-p`` to ``topology``."""
    gpu_entities = list(_selected_gpus(topology, settings.gpus))
    in_scope = {topology.gpu_id_of(entity) for entity in gpu_entities}
    entities = [
        *gpu_entities,
        *_selected_pairs(settings.switches, _switch_entities(topology), _link_entities(topology)),
        *_selected_pairs(settings.cpus, _cpu_entities(topology), _core_entities(topology)),
    ]
    return Selection(
        tuple(sorted(entities)),
        tuple(gpu for gpu in topology.gpus if gpu.id in in_scope),
        tuple(_missing_gpus(topology, settings.gpus)),
    )


def _selected_gpus(topology: Topology, selection: DeviceSelection) -> Iterator[Entity]:
    cut = {instance.gpu_id for instance in topology.gpu_instances}
    for gpu in topology.gpus:
        if selection.mode is SelectionMode.FLEX:
            whole = gpu.id not in cut
        else:
            whole = selection.mode is not SelectionMode.PARTS and _chosen(selection, gpu.id)
        if whole:
            yield gpu.entity
    for instance in topology.gpu_instances:
        if selection.mode is SelectionMode.FLEX or (
            selection.mode is not SelectionMode.WHOLE and _chosen(selection, instance.id)
        ):
            yield instance.entity


def _selected_pairs(
    selection: DeviceSelection, wholes: list[Entity], parts: list[Entity]
) -> Iterator[Entity]:
    """Switches and links, CPUs and cores: here FLEX means both."""
    if selection.mode is not SelectionMode.PARTS:
        yield from (entity for entity in wholes if _chosen(selection, entity.id))
    if selection.mode is not SelectionMode.WHOLE:
        yield from (entity for entity in parts if _chosen(selection, entity.id))


def _missing_gpus(topology: Topology, selection: DeviceSelection) -> Iterator[str]:
    """Sentences about selected indexes that this machine does not have."""
    known = {
        SelectionMode.WHOLE: ("GPU", {gpu.id for gpu in topology.gpus}),
        SelectionMode.PARTS: ("GPU instance", {part.id for part in topology.gpu_instances}),
    }.get(selection.mode)
    if known and selection.indexes:
        name, ids = known
        yield from (
            f"-d names {name} {index}, which this machine does not have"
            for index in sorted(selection.indexes - ids)
        )


def _chosen(selection: DeviceSelection, index: int) -> bool:
    return selection.indexes is None or index in selection.indexes


def _switch_entities(topology: Topology) -> list[Entity]:
    return [Entity(EntityKind.SWITCH, switch) for switch in topology.switches]


def _link_entities(topology: Topology) -> list[Entity]:
    return [Entity(EntityKind.LINK, link.id) for link in topology.links]


def _cpu_entities(topology: Topology) -> list[Entity]:
    return [Entity(EntityKind.CPU, cpu) for cpu in topology.cpus]


def _core_entities(topology: Topology) -> list[Entity]:
    return [Entity(EntityKind.CPU_CORE, core.id) for core in topology.cores]


def entity_labels(topology: Topology, settings: Settings) -> Mapping[Entity, tuple[Label, ...]]:
    """The identifying labels of every entity, in the order they are printed."""
    labels: dict[Entity, tuple[Label, ...]] = {}
    for gpu in topology.gpus:
        labels[gpu.entity] = _gpu_labels(gpu, settings)
    for instance in topology.gpu_instances:
        labels[instance.entity] = (
            *_gpu_labels(topology.gpu(instance.gpu_id), settings),
            ("GPU_I_PROFILE", instance.profile),
            ("GPU_I_ID", str(instance.instance_id)),
        )
    for switch in topology.switches:
        labels[Entity(EntityKind.SWITCH, switch)] = (("nvswitch", f"nvswitch{switch}"),)
    for link in topology.links:
        labels[Entity(EntityKind.LINK, link.id)] = (
            ("nvlink", str(link.index)),
            ("nvswitch", f"nvswitch{link.switch_id}"),
        )
    for cpu in topology.cpus:
        labels[Entity(EntityKind.CPU, cpu)] = (("cpu", str(cpu)),)
    for core in topology.cores:
        labels[Entity(EntityKind.CPU_CORE, core.id)] = (
            ("cpucore", str(core.id)),
            ("cpu", str(core.cpu_id)),
        )
    return labels


def _gpu_labels(gpu: Gpu, settings: Settings) -> tuple[Label, ...]:
    model = gpu.model.replace(" ", "-") if settings.replace_blanks_in_model_name else gpu.model
    return (
        ("gpu", str(gpu.id)),
        ("UUID", gpu.uuid),
        ("pci_bus_id", gpu.pci_bus_id),
        ("device", f"nvidia{gpu.id}"),
        ("modelName", model),
    )
