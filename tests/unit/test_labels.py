"""Label blocks as they are printed."""

from __future__ import annotations

from collections.abc import Sequence

from tests.builders import counter_set, gpu, gpu_instance, raw, readings_of, some_gpu, some_instance

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.sample_text import Label
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Topology

SWITCH = Entity(EntityKind.SWITCH, 0)
CPU = Entity(EntityKind.CPU, 0)
TOPOLOGY = Topology(
    gpus=(some_gpu(0), some_gpu(1)),
    gpu_instances=(some_instance(7, 1, 9),),
    switches=(0,),
    cpus=(0,),
)
IDENTITIES: dict[Entity, tuple[Label, ...]] = {
    gpu(0): (("gpu", "0"), ("Hostname", "droplet")),
    gpu(1): (("gpu", "1"), ("Hostname", "droplet")),
    gpu_instance(7): (("gpu", "1"), ("GPU_I_ID", "9"), ("Hostname", "droplet")),
    SWITCH: (("nvswitch", "nvswitch0"), ("Hostname", "droplet")),
    CPU: (("cpu", "0"),),
}
DRIVER = "DCGM_FI_DRIVER_VERSION, label, x"


def blocks_with(*lines: str, as_info: bool = False) -> LabelBlocks:
    counters: Sequence[object] = counter_set(*lines).counters if lines else ()
    return LabelBlocks(TOPOLOGY, IDENTITIES, counters, as_info)


def test_a_block_is_the_identity_of_the_entity() -> None:
    blocks = blocks_with()
    blocks.update(readings_of(), {})
    assert ('gpu="0",Hostname="droplet"',) == blocks.of(gpu(0))


def test_label_counters_follow_sorted_by_name() -> None:
    blocks = blocks_with("DCGM_FI_DEV_SERIAL, label, x", "DCGM_FI_DEV_BRAND, label, x", DRIVER)
    blocks.update(
        readings_of(
            raw(gpu(0), 1, "535.216.01"), raw(gpu(0), 51, "NVIDIA"), raw(gpu(0), 53, "1652")
        ),
        {},
    )
    expected = (
        'gpu="0",Hostname="droplet",DCGM_FI_DEV_BRAND="NVIDIA",'
        'DCGM_FI_DEV_SERIAL="1652",DCGM_FI_DRIVER_VERSION="535.216.01"'
    )
    assert (expected,) == blocks.of(gpu(0))


def test_a_number_can_be_a_label() -> None:
    blocks = blocks_with("DCGM_FI_DEV_MINOR_NUMBER, label, x")
    blocks.update(readings_of(raw(gpu(0), 55, 3)), {})
    assert ('gpu="0",Hostname="droplet",DCGM_FI_DEV_MINOR_NUMBER="3"',) == blocks.of(gpu(0))


def test_a_label_without_a_value_is_left_out() -> None:
    blocks = blocks_with(DRIVER)
    blocks.update(readings_of(raw(gpu(0), 1, "<<<NULL>>>")), {})
    assert ('gpu="0",Hostname="droplet"',) == blocks.of(gpu(0))


def test_a_label_is_on_the_entities_that_carry_it() -> None:
    blocks = blocks_with(DRIVER, "DCGM_FI_DEV_SERIAL, label, x")
    everywhere = (gpu(0), SWITCH, CPU)
    blocks.update(readings_of(*(raw(e, f, "v") for e in everywhere for f in (1, 53))), {})
    assert ('nvswitch="nvswitch0",Hostname="droplet",DCGM_FI_DRIVER_VERSION="v"',) == blocks.of(
        SWITCH
    )
    assert ('cpu="0",DCGM_FI_DRIVER_VERSION="v"',) == blocks.of(CPU)


def test_a_label_follows_its_value() -> None:
    blocks = blocks_with(DRIVER)
    for version in ("535", "550"):
        blocks.update(readings_of(raw(gpu(0), 1, version)), {})
        assert f'DCGM_FI_DRIVER_VERSION="{version}"' in blocks.of(gpu(0))[0]


def test_what_is_on_a_lost_gpu_keeps_its_labels() -> None:
    blocks = blocks_with(DRIVER)
    everywhere = (gpu(0), gpu(1), gpu_instance(7))
    blocks.update(readings_of(*(raw(entity, 1, "535") for entity in everywhere)), {"1": ("a",)})
    before = [blocks.of(entity) for entity in everywhere]
    blank = readings_of(raw(gpu(0), 1, "535"))
    blank.lost_gpus = frozenset({1})
    blocks.update(blank, {})
    assert before == [blocks.of(entity) for entity in everywhere]


def test_further_labels_are_sorted_among_the_label_counters_and_attributes_come_last() -> None:
    blocks = blocks_with(DRIVER)
    blocks.update(readings_of(raw(gpu(0), 1, "535")), {"0": ("job",)})
    expected = (
        'gpu="0",Hostname="droplet",DCGM_FI_DRIVER_VERSION="535",window_size_in_ms="20000",'
        'xid="79",err_code="79",err_msg="x",hpc_job="job"'
    )
    labels = (("xid", "79"), ("window_size_in_ms", "20000"))
    attributes = (("err_code", "79"), ("err_msg", "x"))
    assert (expected,) == blocks.with_labels(gpu(0), labels, attributes)


def test_each_job_has_a_block_of_its_own() -> None:
    blocks = blocks_with()
    blocks.update(readings_of(), {"0": ("a", "b")})
    assert (
        'gpu="0",Hostname="droplet",hpc_job="a"',
        'gpu="0",Hostname="droplet",hpc_job="b"',
    ) == blocks.of(gpu(0))
    assert ('gpu="1",Hostname="droplet"',) == blocks.of(gpu(1))


def test_a_job_of_an_instance_is_found_by_gpu_and_nvml_number() -> None:
    blocks = blocks_with()
    blocks.update(readings_of(), {"1.9": ("mig",), "7": ("not a gpu",), "1": ("whole",)})
    assert blocks.of(gpu_instance(7))[0].endswith('hpc_job="mig"')
    assert blocks.of(gpu(1))[0].endswith('hpc_job="whole"')
    assert "hpc_job" not in blocks.of(SWITCH)[0]


def test_a_job_that_ends_takes_its_label_along() -> None:
    blocks = blocks_with()
    blocks.update(readings_of(), {"0": ("a",)})
    blocks.update(readings_of(), {})
    assert ('gpu="0",Hostname="droplet"',) == blocks.of(gpu(0))


def test_job_names_are_escaped() -> None:
    blocks = blocks_with()
    blocks.update(readings_of(), {"0": ('a"b\\',)})
    assert blocks.of(gpu(0))[0].endswith(r',hpc_job="a\"b\\"')


def test_as_info_label_counters_stand_on_the_info_block_alone() -> None:
    blocks = blocks_with(DRIVER, as_info=True)
    everywhere = (gpu(0), gpu_instance(7), SWITCH)
    blocks.update(readings_of(*(raw(entity, 1, "535") for entity in everywhere)), {"0": ("a",)})
    assert ('gpu="0",Hostname="droplet",hpc_job="a"',) == blocks.of(gpu(0))
    assert ('gpu="0",Hostname="droplet",xid="79",hpc_job="a"',) == blocks.with_labels(
        gpu(0), (("xid", "79"),)
    )
    assert 'gpu="0",Hostname="droplet",DCGM_FI_DRIVER_VERSION="535"' == blocks.info_of(gpu(0))
    assert blocks.info_of(gpu_instance(7)).endswith(',DCGM_FI_DRIVER_VERSION="535"')
    assert ('nvswitch="nvswitch0",Hostname="droplet"',) == blocks.of(SWITCH)


def test_as_info_a_changed_value_changes_the_info_block_alone() -> None:
    blocks = blocks_with(DRIVER, as_info=True)
    seen = []
    for version in ("535", "550"):
        blocks.update(readings_of(raw(gpu(0), 1, version)), {})
        seen.append((blocks.of(gpu(0)), blocks.info_of(gpu(0))))
    (before, info_before), (after, info_after) = seen
    assert before == after
    assert (info_before, info_after) == tuple(
        f'gpu="0",Hostname="droplet",DCGM_FI_DRIVER_VERSION="{v}"' for v in ("535", "550")
    )


def test_as_info_a_label_that_only_switches_have_stays_on_them() -> None:
    blocks = blocks_with("DCGM_FI_DEV_NVSWITCH_PHYS_ID, label, x", as_info=True)
    blocks.update(readings_of(raw(SWITCH, 863, 4), raw(gpu(0), 863, 4)), {})
    assert blocks.of(SWITCH)[0].endswith(',DCGM_FI_DEV_NVSWITCH_PHYS_ID="4"')
    assert 'gpu="0",Hostname="droplet"' == blocks.info_of(gpu(0))


def test_a_lost_gpu_keeps_its_info() -> None:
    blocks = blocks_with(DRIVER, as_info=True)
    blocks.update(readings_of(raw(gpu(1), 1, "535")), {})
    blank = readings_of()
    blank.lost_gpus = frozenset({1})
    blocks.update(blank, {})
    assert blocks.info_of(gpu(1)).endswith(',DCGM_FI_DRIVER_VERSION="535"')
