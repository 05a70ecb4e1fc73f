"""Which entities a machine has, and who they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builders import Bench, Clock, gpu, gpu_instance, some_gpu

from do_dcgm_exporter.dcgm.discovery import Discovery
from do_dcgm_exporter.dcgm.entities import EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable
from do_dcgm_exporter.dcgm.topology import Core, Gpu, Topology

StartBench = Callable[..., Bench]
every_version = pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.5.3", "4.6.0"])


def discover(discovery: Discovery, *known: Gpu) -> Topology:
    return discovery.topology(discovery.inventory(), {gpu.id: gpu for gpu in known})


@every_version
def test_a_machine_with_gpus_alone(bench: StartBench, version: str) -> None:
    topology = discover(Discovery(bench("h100x8", version).connect()))
    assert list(range(8)) == [found.id for found in topology.gpus]
    assert 8 == len({found.uuid for found in topology.gpus})
    assert ((), (), (), (), ()) == (
        topology.gpu_instances,
        topology.switches,
        topology.links,
        topology.cpus,
        topology.cores,
    )
    assert {EntityKind.CPU} == set(topology.absent)


@every_version
def test_instances_have_their_gpu_number_and_profile(bench: StartBench, version: str) -> None:
    topology = discover(Discovery(bench("h100x8-mig", version).connect()))
    assert [0, 1, 2, 3, 7, 8, 9, 10] == [found.id for found in topology.gpu_instances]
    assert [0] * 4 + [1] * 4 == [found.gpu_id for found in topology.gpu_instances]
    profiles = ["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"]
    for number in (0, 1):
        cut = [found for found in topology.gpu_instances if found.gpu_id == number]
        assert profiles == sorted(found.profile for found in cut)
        assert 4 == len({found.instance_id for found in cut})
    assert [found.id for found in topology.gpu_instances] == [
        part.gpu_instance_id for part in topology.compute_instances
    ]


@pytest.mark.parametrize("version", ["3.3.9", "4.5.3", "4.6.0"])
def test_links_belong_to_their_switches(bench: StartBench, version: str) -> None:
    topology = discover(Discovery(bench("hgx", version).connect()))
    assert (0, 1, 2, 3) == topology.switches
    pairs = {(link.switch_id, link.index) for link in topology.links}
    assert {(switch, index) for switch in range(4) for index in range(64)} == pairs
    assert len(topology.links) == len(pairs)


def test_links_that_do_not_name_their_switch_are_absent(bench: StartBench) -> None:
    topology = discover(Discovery(bench("hgx", "4.2.3").connect()))
    assert ((0, 1, 2, 3), ()) == (topology.switches, topology.links)
    assert "this engine's link ids do not name the switch" == topology.absent[EntityKind.LINK]


@every_version
def test_cores_belong_to_their_cpus(bench: StartBench, version: str) -> None:
    topology = discover(Discovery(bench("grace", version).connect()))
    assert (0, 1) == topology.cpus
    assert tuple(Core(core, core // 72) for core in range(144)) == topology.cores


def test_a_change_shows_in_the_inventory(bench: StartBench) -> None:
    started = bench("h100x8")
    discovery = Discovery(started.connect())
    before = discovery.inventory()
    assert before == discovery.inventory()
    started.engine.control("mig", "--gpu", "3", "3g.40gb,3g.40gb")
    after = discovery.inventory()
    assert before != after
    started.engine.control("mig", "--gpu", "3", "off")
    assert before == discovery.inventory()


def test_another_profile_under_the_same_numbers_is_a_change(bench: StartBench) -> None:
    started = bench("h100x8")
    discovery = Discovery(started.connect())
    found = []
    for profiles in ("3g.40gb,3g.40gb", "4g.40gb,3g.40gb"):
        started.engine.control("mig", "--gpu", "3", profiles)
        found.append(discovery.inventory())
    numbers = [[(n.entity, n.parent, n.instance_id) for n in one.mig_nodes] for one in found]
    assert sorted(numbers[0]) == sorted(numbers[1])
    assert found[0] != found[1]


def test_a_kind_that_was_refused_is_asked_for_again_much_later(bench: StartBench) -> None:
    started, clock = bench("h100x1"), Clock()
    discovery = Discovery(started.connect(), clock)

    def calls_of_an_inventory() -> int:
        before = started.calls.calls
        discovery.inventory()
        return started.calls.calls - before

    # GPUs, instances, switches; CPUs are asked for the first time and after 300 s.
    assert [4, 3] == [calls_of_an_inventory(), calls_of_an_inventory()]
    clock.now = 299.0
    assert 3 == calls_of_an_inventory()
    clock.now = 300.0
    assert 4 == calls_of_an_inventory()


def test_a_lost_gpu_keeps_the_identity_that_was_known(bench: StartBench) -> None:
    started = bench("h100x8")
    discovery = Discovery(started.connect())
    healthy = discover(discovery)
    started.engine.control("lose-gpu", "3")
    assert healthy.gpus == discover(discovery, *healthy.gpus).gpus


def test_a_gpu_in_the_place_of_another_is_not_taken_for_it(bench: StartBench) -> None:
    discovery = Discovery(bench("h100x1").connect())
    (found,) = discover(discovery, some_gpu(0)).gpus
    assert some_gpu(0).uuid != found.uuid
    assert some_gpu(0).pci_bus_id != found.pci_bus_id


def test_an_engine_that_dies_is_not_an_engine_without_entities(bench: StartBench) -> None:
    started = bench("h100x1")
    discovery = Discovery(started.connect())
    started.engine.kill()
    with pytest.raises(EngineUnavailable):
        discovery.inventory()
    assert {} == discovery.absent


class Refusing:
    """An engine that tells of a lost GPU as little as DCGM does."""

    entities_per_call = 64

    def __init__(self, *told: str) -> None:
        self.told = told

    def device_identity(self, gpu_id: int) -> tuple[str, ...]:
        if not self.told:
            raise CallRefused("lost")
        return self.told


@pytest.mark.parametrize(
    ("told", "known", "expected"),
    [
        ((), some_gpu(0), some_gpu(0)),
        ((), None, Gpu(0, "", "", "")),
        (("<<<NULL>>>", "<<<NULL>>>", "<<<NULL>>>"), None, Gpu(0, "", "", "")),
        (("<<<NULL>>>", "<<<NULL>>>", "<<<NULL>>>"), some_gpu(0), some_gpu(0)),
        (("GPU-0", "<<<NULL>>>", "NVIDIA H100 80GB HBM3"), some_gpu(0), some_gpu(0)),
        (("GPU-0", "new", ""), some_gpu(0), Gpu(0, "GPU-0", "new", "NVIDIA H100 80GB HBM3")),
        (("GPU-X", "<<<NULL>>>", "A100"), some_gpu(0), Gpu(0, "GPU-X", "", "A100")),
    ],
)
def test_what_a_driver_does_not_tell_any_more_is_taken_from_what_was_known(
    told: tuple[str, ...], known: Gpu | None, expected: Gpu
) -> None:
    discovery = Discovery(Refusing(*told))  # type: ignore[arg-type]
    assert expected == discovery._gpu(0, known)


def test_entities_of_an_inventory_are_addressed_by_kind(bench: StartBench) -> None:
    inventory = Discovery(bench("h100x8-mig").connect()).inventory()
    parents = {node.entity: node.parent for node in inventory.mig_nodes}
    assert gpu(1) == parents[gpu_instance(7)]
