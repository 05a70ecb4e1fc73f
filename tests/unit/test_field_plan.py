"""Which fields are watched on which entities."""

from __future__ import annotations

import pytest
from tests.builders import counter_set, gpu, gpu_instance

from do_dcgm_exporter.collect.plan import (
    LIFE_SIGN_FIELDS,
    FieldPlan,
    carries,
    counts_clock_events,
    of_kind,
    plan_fields,
)
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind

GPU, INSTANCE = EntityKind.GPU, EntityKind.GPU_INSTANCE
SWITCH, LINK = EntityKind.SWITCH, EntityKind.LINK
CPU, CORE = EntityKind.CPU, EntityKind.CPU_CORE

ONE_OF_EACH = (
    "DCGM_FI_DRIVER_VERSION, label, x",
    "DCGM_FI_DEV_SERIAL, label, x",
    "DCGM_FI_DEV_GPU_TEMP, gauge, x",
    "DCGM_FI_DEV_XID_ERRORS, gauge, x",
    "DCGM_FI_PROF_SM_ACTIVE, gauge, x",
    "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT, gauge, x",
    "DCGM_FI_DEV_NVSWITCH_LINK_STATUS, gauge, x",
    "DCGM_FI_DEV_CPU_UTIL_TOTAL, gauge, x",
)


def all_fields(plan: FieldPlan) -> tuple[int, ...]:
    return plan.plain + plan.labels + plan.profiling


def test_fields_of_a_gpu_are_kept_apart_by_what_can_go_wrong() -> None:
    plan = plan_fields(GPU, counter_set(*ONE_OF_EACH))
    assert FieldPlan(GPU, plain=(150,), labels=(53,), profiling=(1002,)) == plan


def test_life_signs_are_watched_apart_on_gpus_only() -> None:
    counters = counter_set("DCGM_FI_DRIVER_VERSION, label, x", "DCGM_FI_DEV_PCI_BUSID, label, x")
    assert (1, 57) == tuple(sorted(LIFE_SIGN_FIELDS))
    assert () == all_fields(plan_fields(GPU, counters))
    assert (1, 57) == plan_fields(INSTANCE, counters).labels
    assert (1,) == plan_fields(SWITCH, counters).labels


@pytest.mark.parametrize("kind", [GPU, INSTANCE])
def test_xids_are_never_part_of_a_plan(kind: EntityKind) -> None:
    assert 230 not in all_fields(plan_fields(kind, counter_set()))


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        (GPU, (53, 150, 1002)),
        (INSTANCE, (1, 53, 150, 1002)),
        (SWITCH, (1, 858)),
        (LINK, (1, 870)),
        (CPU, (1, 1100)),
        (CORE, (1, 1100)),
    ],
)
def test_each_kind_gets_the_fields_of_its_levels(kind: EntityKind, fields: tuple[int, ...]) -> None:
    assert fields == tuple(sorted(all_fields(plan_fields(kind, counter_set(*ONE_OF_EACH)))))


def test_counters_of_a_whole_gpu_are_not_asked_of_its_instances() -> None:
    """The engine would log an error for each sample (observed)."""
    counters = counter_set(
        "DCGM_FI_PROF_DRAM_ACTIVE, gauge, x",  # level GPU_I
        "DCGM_FI_PROF_PCIE_TX_BYTES, counter, x",  # level GPU
    )
    assert (1005, 1009) == plan_fields(GPU, counters).profiling
    assert (1005,) == plan_fields(INSTANCE, counters).profiling


def test_a_field_of_no_level_is_a_series_on_gpus_and_a_label_everywhere() -> None:
    (label,) = counter_set("DCGM_FI_DRIVER_VERSION, label, x").counters
    (series,) = counter_set("DCGM_FI_DEV_COUNT, gauge, x").counters
    assert all(carries(kind, label) for kind in (GPU, INSTANCE, SWITCH, LINK, CPU, CORE))
    assert [GPU, INSTANCE] == [
        kind for kind in (GPU, INSTANCE, SWITCH, LINK, CPU, CORE) if carries(kind, series)
    ]


def test_what_the_exporter_counts_itself_is_no_field_of_an_entity() -> None:
    (count,) = counter_set("DCGM_EXP_XID_ERRORS_COUNT, gauge, x").counters
    assert not carries(GPU, count)


@pytest.mark.parametrize("name", ["DCGM_EXP_CLOCK_EVENTS_COUNT", "DCGM_EXP_CLOCK_EVENTS_TOTAL"])
def test_clock_events_need_their_field_although_nobody_asks_for_it(name: str) -> None:
    counters = counter_set(f"{name}, gauge, x")
    assert counts_clock_events(counters)
    assert (112,) == plan_fields(GPU, counters).plain
    assert (112,) == plan_fields(INSTANCE, counters).plain
    assert () == plan_fields(SWITCH, counters).plain


def test_clock_events_do_not_read_their_field_twice() -> None:
    counters = counter_set(
        "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS, gauge, x", "DCGM_EXP_CLOCK_EVENTS_COUNT, gauge, x"
    )
    assert (112,) == plan_fields(GPU, counters).plain


def test_entities_of_a_kind_keep_their_order() -> None:
    entities = [gpu(3), gpu_instance(7), gpu(1), Entity(SWITCH, 0)]
    assert (gpu(3), gpu(1)) == of_kind(entities, GPU)
