"""Give every entity its identifying labels.

The labels and their order are those of the NVIDIA exporters before 4.8.3 (docs/metrics.md).
They change only with the topology.
"""

from __future__ import annotations

from collections.abc import Mapping

from do_dcgm_exporter.collect.sample_text import Label
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Gpu, Topology


def entity_labels(topology: Topology, settings: Settings) -> Mapping[Entity, tuple[Label, ...]]:
    """Return the identifying labels of every entity, in the order they are printed."""
    labels: dict[Entity, tuple[Label, ...]] = {}
    for gpu in topology.gpus:
        labels[gpu.entity] = _gpu_labels(gpu, settings)
    for instance in topology.gpu_instances:
        labels[instance.entity] = (
            *_gpu_labels(topology.gpu(instance.gpu_id), settings),
            ("GPU_I_PROFILE", instance.profile),
            ("GPU_I_ID", str(instance.instance_id)),
        )
    for part in topology.compute_instances if "c" in settings.gpus.mode.value else ():
        labels[part.entity] = (
            *labels[topology.gpu_instance(part.gpu_instance_id).entity],
            ("GPU_CI_ID", str(part.instance_id)),
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
