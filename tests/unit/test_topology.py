"""What is on a machine, what a selection means there, and the labels of each entity."""

from __future__ import annotations

import pytest
from tests.builders import compute_instance, gpu, gpu_instance, settings, some_gpu, some_instance

from do_dcgm_exporter.collect.identity import entity_labels
from do_dcgm_exporter.collect.selection import select
from do_dcgm_exporter.config.device_selection import parse_gpu_selection
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import ComputeInstance, Core, Link, Topology

SWITCH, LINK = EntityKind.SWITCH, EntityKind.LINK
CPU, CORE = EntityKind.CPU, EntityKind.CPU_CORE

# GPU 1 is cut into two instances, with NVML's numbers 7 and 9.
MACHINE = Topology(
    gpus=(some_gpu(0), some_gpu(1)),
    gpu_instances=(some_instance(7, 1, 7), some_instance(8, 1, 9)),
    compute_instances=(ComputeInstance(7, 7, 0), ComputeInstance(8, 8, 0)),
    switches=(0, 1),
    links=(Link(0x0000_0003, 0, 0), Link(0x0100_0103, 1, 1)),
    cpus=(0,),
    cores=(Core(0, 0), Core(1, 0)),
)
HARDWARE = (
    *(Entity(SWITCH, number) for number in (0, 1)),
    *(Entity(LINK, number) for number in (0x0000_0003, 0x0100_0103)),
)
PROCESSORS = (Entity(CPU, 0), Entity(CORE, 0), Entity(CORE, 1))


def selected(**selections: str) -> tuple[Entity, ...]:
    changes = {name: parse_gpu_selection(text) for name, text in selections.items()}
    none = parse_gpu_selection("g:99")
    others = {"gpus": none, "switches": none, "cpus": none, **changes}
    return select(MACHINE, settings(**others)).entities


@pytest.mark.parametrize(
    ("selection", "entities"),
    [
        ("f", (gpu(0), gpu_instance(7), gpu_instance(8))),
        ("g", (gpu(0), gpu(1))),
        ("i", (gpu_instance(7), gpu_instance(8))),
        ("g+i", (gpu(0), gpu(1), gpu_instance(7), gpu_instance(8))),
        ("g:1", (gpu(1),)),
        ("g:0-1", (gpu(0), gpu(1))),
        ("g:0,1", (gpu(0), gpu(1))),
        ("i:8", (gpu_instance(8),)),
        ("i:7-9", (gpu_instance(7), gpu_instance(8))),
        ("g:5", ()),
        ("i:0", ()),
        ("c", (compute_instance(7), compute_instance(8))),
        ("c:8", (compute_instance(8),)),
        ("i+c", (gpu_instance(7), gpu_instance(8), compute_instance(7), compute_instance(8))),
        (
            "g+i+c",
            (
                *(gpu(0), gpu(1), gpu_instance(7), gpu_instance(8)),
                *(compute_instance(7), compute_instance(8)),
            ),
        ),
    ],
)
def test_a_selection_of_gpus(selection: str, entities: tuple[Entity, ...]) -> None:
    assert entities == selected(gpus=selection)


@pytest.mark.parametrize(
    ("selection", "entities"),
    [
        ("f", HARDWARE),
        ("g", HARDWARE[:2]),
        ("i", HARDWARE[2:]),
        ("g+i", HARDWARE),
        ("g:1", HARDWARE[1:2]),
    ],
)
def test_a_selection_of_switches_means_switches_and_links(
    selection: str, entities: tuple[Entity, ...]
) -> None:
    assert entities == selected(switches=selection)


@pytest.mark.parametrize(
    ("selection", "entities"),
    [("f", PROCESSORS), ("g", PROCESSORS[:1]), ("i", PROCESSORS[1:]), ("i:1", PROCESSORS[2:])],
)
def test_a_selection_of_cpus_means_cpus_and_cores(
    selection: str, entities: tuple[Entity, ...]
) -> None:
    assert entities == selected(cpus=selection)


def test_by_default_everything_is_selected_once() -> None:
    chosen = select(MACHINE, settings())
    expected = (gpu(0), *HARDWARE[:2], gpu_instance(7), gpu_instance(8), *HARDWARE[2:], *PROCESSORS)
    assert (expected, ()) == (chosen.entities, chosen.missing)


@pytest.mark.parametrize(
    ("selection", "in_scope"),
    [("f", [0, 1]), ("g:0", [0]), ("i", [1]), ("i:8", [1]), ("c", [1]), ("g:9", [])],
)
def test_a_gpu_is_in_scope_if_it_or_a_part_of_it_is_selected(
    selection: str, in_scope: list[int]
) -> None:
    chosen = select(MACHINE, settings(gpus=parse_gpu_selection(selection)))
    assert in_scope == [found.id for found in chosen.gpus]


@pytest.mark.parametrize(
    ("selection", "missing"),
    [
        ("g:0-2", ("-d names GPU 2, which this machine does not have",)),
        (
            "i:6-7,9",
            (
                "-d names GPU instance 6, which this machine does not have",
                "-d names GPU instance 9, which this machine does not have",
            ),
        ),
        ("c:9", ("-d names compute instance 9, which this machine does not have",)),
        ("g", ()),
        ("f", ()),
        ("c", ()),
    ],
)
def test_a_selected_index_that_does_not_exist_is_named(
    selection: str, missing: tuple[str, ...]
) -> None:
    chosen = select(MACHINE, settings(gpus=parse_gpu_selection(selection)))
    assert missing == chosen.missing


@pytest.mark.parametrize(
    ("entity", "owner"),
    [(gpu(1), 1), (gpu_instance(8), 1), (compute_instance(7), 1), (Entity(SWITCH, 0), None)],
)
def test_the_gpu_of_an_entity(entity: Entity, owner: int | None) -> None:
    assert owner == MACHINE.gpu_id_of(entity)


def test_a_compute_instance_is_shown_as_its_gpu_instance() -> None:
    assert gpu_instance(8) == MACHINE.shown_entity(compute_instance(8))
    assert gpu(0) == MACHINE.shown_entity(gpu(0))


# Labels: names and order are those of the NVIDIA exporters.

GPU_0 = (
    ("gpu", "0"),
    ("UUID", "GPU-0"),
    ("pci_bus_id", "00000000:00:00.0"),
    ("device", "nvidia0"),
    ("modelName", "NVIDIA H100 80GB HBM3"),
)
GPU_1 = (
    ("gpu", "1"),
    ("UUID", "GPU-1"),
    ("pci_bus_id", "00000000:01:00.0"),
    ("device", "nvidia1"),
    ("modelName", "NVIDIA H100 80GB HBM3"),
)


@pytest.mark.parametrize(
    ("entity", "labels"),
    [
        (gpu(0), GPU_0),
        (gpu_instance(8), (*GPU_1, ("GPU_I_PROFILE", "1g.10gb"), ("GPU_I_ID", "9"))),
        (Entity(SWITCH, 1), (("nvswitch", "nvswitch1"),)),
        (Entity(LINK, 0x0100_0103), (("nvlink", "1"), ("nvswitch", "nvswitch1"))),
        (Entity(CPU, 0), (("cpu", "0"),)),
        (Entity(CORE, 1), (("cpucore", "1"), ("cpu", "0"))),
    ],
)
def test_labels_of_each_kind(entity: Entity, labels: tuple[tuple[str, str], ...]) -> None:
    assert labels == entity_labels(MACHINE, settings())[entity]


def test_blanks_in_model_names_can_be_replaced() -> None:
    labels = entity_labels(MACHINE, settings(replace_blanks_in_model_name=True))
    assert ("modelName", "NVIDIA-H100-80GB-HBM3") == labels[gpu(0)][-1]
    assert "NVIDIA-H100-80GB-HBM3" == dict(labels[gpu_instance(7)])["modelName"]


def test_every_entity_has_labels_of_its_own() -> None:
    labels = entity_labels(MACHINE, settings())
    assert set(select(MACHINE, settings()).entities) | {gpu(1)} == set(labels)
    assert len(labels) == len(set(labels.values()))
