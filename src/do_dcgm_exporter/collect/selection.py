"""Apply the device options ``-d``, ``-s`` and ``-p`` to the entities of a machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.config.settings import DeviceSelection, SelectionMode, Settings
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import ComputeInstance, Gpu, GpuInstance, Topology


@dataclass(frozen=True, slots=True)
class Selection:
    """The device options, applied to one topology.

    The fields of ``entities`` are exported. ``gpus`` are the GPUs in scope, selected
    themselves or through an instance: their life signs and XIDs are read. ``missing`` has a
    sentence for each selected index that does not exist.
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
    if selection.mode is SelectionMode.FLEX:
        cut = {instance.gpu_id for instance in topology.gpu_instances}
        yield from (gpu.entity for gpu in topology.gpus if gpu.id not in cut)
        yield from (instance.entity for instance in topology.gpu_instances)
        return
    parts: Mapping[str, Sequence[Gpu | GpuInstance | ComputeInstance]] = {
        "g": topology.gpus,
        "i": topology.gpu_instances,
        "c": topology.compute_instances,
    }
    for letter in selection.mode.value.split("+"):
        yield from (part.entity for part in parts[letter] if _chosen(selection, part.id))


def _selected_pairs(
    selection: DeviceSelection, wholes: list[Entity], parts: list[Entity]
) -> Iterator[Entity]:
    """Select among switches and links, or CPUs and cores, where FLEX means both."""
    if selection.mode is not SelectionMode.PARTS:
        yield from (entity for entity in wholes if _chosen(selection, entity.id))
    if selection.mode is not SelectionMode.WHOLE:
        yield from (entity for entity in parts if _chosen(selection, entity.id))


def _missing_gpus(topology: Topology, selection: DeviceSelection) -> Iterator[str]:
    """Yield a sentence for each selected index that this machine does not have."""
    known = {
        SelectionMode.WHOLE: ("GPU", {gpu.id for gpu in topology.gpus}),
        SelectionMode.PARTS: ("GPU instance", {part.id for part in topology.gpu_instances}),
        SelectionMode.COMPUTE: (
            "compute instance",
            {part.id for part in topology.compute_instances},
        ),
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
