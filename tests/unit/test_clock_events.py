"""The families about clock events."""

from __future__ import annotations

import pytest
from tests.builders import (
    NOW,
    Series,
    counter_set,
    gpu,
    gpu_instance,
    labels_of,
    raw,
    readings_of,
    series_of,
    some_gpu,
    some_instance,
)

from do_dcgm_exporter.collect.clock_log import EVENT_NAMES, ClockLog
from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.samples import MetricType
from do_dcgm_exporter.collect.sources.clock_events import ClockEventCollector
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.topology import Topology

COUNT, TOTAL = "DCGM_EXP_CLOCK_EVENTS_COUNT", "DCGM_EXP_CLOCK_EVENTS_TOTAL"
COUNTERS = counter_set(f"{COUNT}, gauge, x", f"{TOTAL}, counter, x")
IDLE, CAP = 0x1, 0x4
TOPOLOGY = Topology(gpus=(some_gpu(0), some_gpu(1)), gpu_instances=(some_instance(7, 1, 9),))
ENTITIES = (gpu(0), gpu(1), gpu_instance(7))


def collector_of(log: ClockLog) -> ClockEventCollector:
    labels = LabelBlocks(TOPOLOGY, {entity: (("id", str(entity.id)),) for entity in ENTITIES}, [])
    labels.update(readings_of(), {})
    return ClockEventCollector(TOPOLOGY, labels, log, ENTITIES)


def masks(*values: int, second: float = 0.0) -> Readings:
    """The readings of a cycle with the masks of the entities in turn."""
    at = NOW + second
    raws = (raw(entity, 112, mask, timestamp=at) for entity, mask in zip(ENTITIES, values))
    return readings_of(*raws, now=at)


@pytest.fixture
def collector() -> ClockEventCollector:
    return collector_of(ClockLog(window=20.0))


def collect(collector: ClockEventCollector, readings: Readings, name: str) -> Series:
    return series_of(list(collector.collect(COUNTERS, readings)), name)


def events(series: Series, entity_id: str = "0") -> dict[str, int]:
    """Values other than 0 by event, of one entity."""
    found = {}
    for block, value in series.items():
        labels = labels_of(block)
        if labels["id"] == entity_id and value != "0":
            found[labels["clock_event"]] = int(value)
    return found


def test_each_event_in_the_window_has_a_series(collector: ClockEventCollector) -> None:
    assert {
        'id="0",clock_event="gpu_idle",window_size_in_ms="20000"': "1",
        'id="0",clock_event="power_cap",window_size_in_ms="20000"': "1",
    } == collect(collector, masks(IDLE | CAP), COUNT)


def test_an_entity_without_events_has_one_series_of_zero(collector: ClockEventCollector) -> None:
    assert {'id="0",window_size_in_ms="20000"': "0"} == collect(collector, masks(0), COUNT)


def test_samples_of_the_window_add_up(collector: ClockEventCollector) -> None:
    for second in (0, 10):
        collect(collector, masks(CAP, second=second), COUNT)
    assert {"power_cap": 3} == events(collect(collector, masks(CAP, second=20), COUNT))
    assert {"power_cap": 2} == events(collect(collector, masks(0, second=30), COUNT))


def test_a_sample_that_is_read_twice_counts_once(collector: ClockEventCollector) -> None:
    collect(collector, masks(0), TOTAL)
    late = readings_of(raw(gpu(0), 112, CAP, timestamp=NOW + 1), now=NOW + 2)
    for _ in range(2):
        assert {"power_cap": 1} == events(collect(collector, late, TOTAL))
        assert {"power_cap": 1} == events(collect(collector, late, COUNT))


def test_totals_count_beginnings(collector: ClockEventCollector) -> None:
    for second, mask in enumerate((CAP, CAP, 0, CAP, IDLE, CAP)):
        series = collect(collector, masks(mask, second=second), TOTAL)
    assert {"power_cap": 2, "gpu_idle": 1} == events(series)


def test_totals_are_there_for_every_event_from_the_start(collector: ClockEventCollector) -> None:
    series = collect(collector, masks(0), TOTAL)
    assert {f'id="0",clock_event="{name}"': "0" for name in EVENT_NAMES.values()} == series


def test_totals_outlive_the_session() -> None:
    log = ClockLog(window=20.0)
    collect(collector_of(log), masks(0), TOTAL)
    collect(collector_of(log), masks(CAP, second=1), TOTAL)
    assert {"power_cap": 1} == events(collect(collector_of(log), masks(0, second=2), TOTAL))


def test_a_gpu_and_its_instance_are_counted_apart(collector: ClockEventCollector) -> None:
    series = collect(collector, masks(0, IDLE, CAP), COUNT)
    assert ({}, {"gpu_idle": 1}, {"power_cap": 1}) == (
        events(series, "0"),
        events(series, "1"),
        events(series, "7"),
    )


def test_an_entity_without_a_mask_is_left_out_and_counted(collector: ClockEventCollector) -> None:
    readings = readings_of(raw(gpu(0), 112, CAP), raw(gpu(1), 112, 0x7FFFFFFFFFFFFFF2))
    assert ["0"] == [labels_of(block)["id"] for block in collect(collector, readings, COUNT)]
    assert {Absence.NOT_SUPPORTED: 1, Absence.NOT_WATCHED: 1} == dict(readings.dropped)


def test_a_lost_gpu_has_no_clock_events_and_neither_have_its_instances(
    collector: ClockEventCollector,
) -> None:
    readings = masks(0, CAP, CAP)
    readings.lost_gpus = frozenset({1})
    assert ["0"] == [labels_of(block)["id"] for block in collect(collector, readings, COUNT)]
    assert 2 == readings.dropped[Absence.GPU_LOST]


def test_families_are_what_the_counters_say(collector: ClockEventCollector) -> None:
    families = list(collector.collect(COUNTERS, masks(0)))
    assert [(COUNT, MetricType.GAUGE), (TOTAL, MetricType.COUNTER)] == [
        (family.name, family.type) for family in families
    ]


def test_without_its_counters_nothing_is_collected_or_missed(
    collector: ClockEventCollector,
) -> None:
    readings = readings_of()
    assert [] == list(collector.collect(counter_set("DCGM_FI_DEV_GPU_TEMP, gauge, x"), readings))
    assert {} == dict(readings.dropped)
