"""Which entities a machine has, and who they are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builders import Bench, Clock, gpu, gpu_instance, some_gpu

from dcgm_simulator.process import ControlFailed
from do_dcgm_exporter.dcgm.answers import MigNode
from do_dcgm_exporter.dcgm.discovery import Discovery
from do_dcgm_exporter.dcgm.entities import EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable, ReturnCode
from do_dcgm_exporter.dcgm.topology import Core, Gpu, Topology

StartBench = Callable[..., Bench]
every_version = pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.5.3", "4.6.0"])


def discover(discovery: Discovery) -> Topology:
    return discovery.topology(discovery.inventory())


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
    assert {} == topology.absent


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
    started, clock = bench("h100x8"), Clock()
    discovery = Discovery(started.connect(), clock)
    before = discovery.inventory()
    assert before == discovery.inventory()
    started.engine.control("mig", "--gpu", "3", "3g.40gb,3g.40gb")
    assert before == discovery.inventory()
    clock.now = 10.0
    assert before != discovery.inventory()
    started.engine.control("mig", "--gpu", "3", "off")
    clock.now = 20.0
    assert before == discovery.inventory()


def test_another_profile_under_the_same_numbers_is_a_change(bench: StartBench) -> None:
    started, clock = bench("h100x8"), Clock()
    discovery = Discovery(started.connect(), clock)
    found = []
    for profiles in ("3g.40gb,3g.40gb", "4g.40gb,3g.40gb"):
        started.engine.control("mig", "--gpu", "3", profiles)
        found.append(discovery.inventory())
        clock.now += 10.0
    numbers = [[(n.entity, n.parent, n.instance_id) for n in one.mig_nodes] for one in found]
    assert sorted(numbers[0]) == sorted(numbers[1])
    assert found[0] != found[1]


def test_a_kind_that_was_refused_is_asked_for_again_much_later(bench: StartBench) -> None:
    started, clock = bench("h100x1"), Clock()
    discovery = Discovery(started.connect(), clock, cpus_selected=True)

    def calls_of_an_inventory() -> int:
        before = started.calls.calls
        discovery.inventory()
        return started.calls.calls - before

    # GPUs twice each time, instances and switches every 10 s, CPUs first and after 300 s.
    assert [5, 2] == [calls_of_an_inventory(), calls_of_an_inventory()]
    clock.now = 299.0
    assert [4, 2] == [calls_of_an_inventory(), calls_of_an_inventory()]
    clock.now = 309.0
    assert 5 == calls_of_an_inventory()
    assert {EntityKind.CPU} == set(discovery.absent)


def test_cpus_are_asked_for_where_there_can_be_grace_or_they_are_selected(
    bench: StartBench,
) -> None:
    """Elsewhere 3.3.9 may crash on the question (observed), and all releases complain."""
    started = bench("h100x1", "3.3.9")
    started.engine.control("no-hwmon")
    assert () == Discovery(started.connect()).inventory().cores_by_cpu
    assert {} == started.engine.control("status")["log_lines"]
    Discovery(started.connect(), cpus_selected=True).inventory()
    with pytest.raises(ControlFailed):
        started.engine.control("status")  # it has crashed


REFUSALS = (ReturnCode.VERSION_MISMATCH, ReturnCode.GENERIC_ERROR, ReturnCode.TIMEOUT)


@pytest.mark.parametrize("status", REFUSALS)
def test_a_hierarchy_that_is_refused_stands_as_it_was(
    bench: StartBench, status: ReturnCode
) -> None:
    started, clock = bench("h100x8-mig"), Clock()
    discovery = Discovery(started.connect(), clock)
    before = discovery.inventory()
    started.engine.control("refuse-call", "get_gpu_instance_hierarchy", str(status.value))
    clock.now = 10.0
    assert before == discovery.inventory()
    assert {EntityKind.GPU_INSTANCE} == set(discovery.unanswered)
    another = Discovery(started.connect(), clock, last=before)
    assert before == another.inventory()
    started.engine.control("refuse-call", "get_gpu_instance_hierarchy", "0")
    clock.now = 20.0
    assert before == discovery.inventory()
    assert {} == discovery.unanswered


@pytest.mark.parametrize("status", [ReturnCode.NOT_SUPPORTED, ReturnCode.FUNCTION_NOT_FOUND])
def test_an_engine_that_has_no_hierarchy_has_no_instances(
    bench: StartBench, status: ReturnCode
) -> None:
    started, clock = bench("h100x8-mig"), Clock()
    discovery = Discovery(started.connect(), clock)
    discovery.inventory()
    started.engine.control("refuse-call", "get_gpu_instance_hierarchy", str(status.value))
    clock.now = 10.0
    assert () == discovery.inventory().mig_nodes
    assert ({EntityKind.GPU_INSTANCE}, {}) == (set(discovery.absent), discovery.unanswered)


def test_what_stands_of_a_refused_hierarchy_is_on_gpus_that_exist(bench: StartBench) -> None:
    cut, whole = bench("h100x8-mig"), bench("h100x1")
    before = Discovery(cut.connect()).inventory()
    whole.engine.control("refuse-call", "get_gpu_instance_hierarchy", "-12")
    kept = Discovery(whole.connect(), last=before).inventory().mig_nodes
    assert 8 == len(kept)
    assert {0} == {n.parent.id for n in kept if n.entity.kind is EntityKind.GPU_INSTANCE}


@every_version
def test_a_lost_gpu_stays_in_the_inventory_with_the_identity_that_was_known(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    discovery = Discovery(started.connect())
    inventory = discovery.inventory()
    healthy = discovery.topology(inventory).gpus
    started.engine.control("lose-gpu", "3")
    started.pass_time(2)
    later = Discovery(started.connect(), known_gpus={gpu.id: gpu for gpu in healthy})
    for found in (discovery, later):
        assert inventory == found.inventory()
        assert frozenset({3} if version in ("4.5.3", "4.6.0") else ()) == found.lost_gpus
    assert healthy == later.topology(inventory).gpus
    started.engine.control("restore-gpu", "3")
    assert (inventory, frozenset()) == (discovery.inventory(), discovery.lost_gpus)


@every_version
def test_a_gpu_lost_before_is_known_by_its_number_alone(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    started.engine.control("lose-gpu", "3")
    started.pass_time(2)
    found = discover(Discovery(started.connect()))
    assert Gpu(3, "", "", "") == found.gpu(3)
    assert 8 == len({gpu.uuid for gpu in found.gpus})


class Refusing:
    """An engine that tells of a lost GPU as little as DCGM does."""

    entities_per_call = 64
    architecture = "x86_64"

    def __init__(self, *told: str) -> None:
        self.told = told

    def device_identity(self, gpu_id: int) -> tuple[str, ...]:
        if not self.told:
            raise CallRefused("lost")
        return self.told


class Listing(Refusing):
    """An engine that has GPUs 0 and 1 and supports what it is told to."""

    def __init__(self, supported: tuple[int, ...], status: int | None) -> None:
        super().__init__()
        self.supported, self.status = supported, status

    def gpu_ids(self) -> tuple[int, ...]:
        return (0, 1)

    def supported_gpu_ids(self) -> tuple[int, ...]:
        return self.supported

    def gpu_status(self, _gpu_id: int) -> int:
        if self.status is None:
            raise CallRefused("these bindings have no dcgmGetGpuStatus")
        return self.status

    def mig_hierarchy(self) -> tuple[MigNode, ...]:
        return ()

    def entity_ids(self, _kind: EntityKind) -> tuple[int, ...]:
        return ()


@pytest.mark.parametrize(
    ("status", "expected"),
    [(None, (0,)), (0, (0,)), (2, (0,)), (3, (0,)), (6, (0,)), (4, (0, 1)), (7, (0, 1))],
    ids=["3.x", "unknown", "unsupported", "inaccessible", "disabled", "lost", "detached"],
)
def test_a_gpu_that_is_not_supported_is_none_unless_it_is_lost(
    status: int | None, expected: tuple[int, ...]
) -> None:
    engine = Listing((0,), status)
    assert expected == Discovery(engine).inventory().gpu_ids


@pytest.mark.parametrize("status", [None, 2, 3, 6])
def test_a_gpu_that_was_supported_stays(status: int | None) -> None:
    engine = Listing((0, 1), status)
    seen = Discovery(engine)
    seen.inventory()
    engine.supported = (0,)
    for discovery in (seen, Discovery(engine, known_gpus={1: some_gpu(1)})):
        assert (0, 1) == discovery.inventory().gpu_ids
        assert frozenset({1}) == discovery.lost_gpus


def test_a_gpu_in_the_place_of_another_is_not_taken_for_it(bench: StartBench) -> None:
    discovery = Discovery(bench("h100x1").connect(), known_gpus={0: some_gpu(0)})
    (found,) = discover(discovery).gpus
    assert some_gpu(0).uuid != found.uuid
    assert some_gpu(0).pci_bus_id != found.pci_bus_id


def test_an_engine_that_dies_is_not_an_engine_without_entities(bench: StartBench) -> None:
    started = bench("h100x1")
    discovery = Discovery(started.connect())
    started.engine.kill()
    with pytest.raises(EngineUnavailable):
        discovery.inventory()
    assert {} == discovery.absent


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
    known_gpus = {} if known is None else {0: known}
    discovery = Discovery(Refusing(*told), known_gpus=known_gpus)
    assert expected == discovery._gpu(0)


def test_entities_of_an_inventory_are_addressed_by_kind(bench: StartBench) -> None:
    inventory = Discovery(bench("h100x8-mig").connect()).inventory()
    parents = {node.entity: node.parent for node in inventory.mig_nodes}
    assert gpu(1) == parents[gpu_instance(7)]
