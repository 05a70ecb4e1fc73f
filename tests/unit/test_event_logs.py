"""The logs that outlive connections, sessions and configurations."""

from __future__ import annotations

import pytest
from tests.builders import (
    MICROSECONDS,
    NOW,
    Clock,
    compute_instance,
    gpu,
    gpu_instance,
    settings,
    some_gpu,
    some_instance,
)

from do_dcgm_exporter.collect.event_logs import EventLogs
from do_dcgm_exporter.collect.xid_log import XidEvent
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.topology import ComputeInstance, Topology

LATER = int((NOW + 1) * MICROSECONDS)
BEFORE = Topology(
    gpus=(some_gpu(0),),
    gpu_instances=(some_instance(0, 0, 7), some_instance(1, 0, 9)),
    compute_instances=(ComputeInstance(0, 0, 0), ComputeInstance(1, 1, 0)),
)
EVERYTHING = (gpu(0), gpu_instance(0), gpu_instance(1), compute_instance(0), compute_instance(1))


@pytest.fixture
def logs() -> EventLogs:
    """Logs with one event on every entity."""
    logs = EventLogs.starting_now(settings(), Clock(NOW))
    for entity in EVERYTHING:
        logs.xids.add(entity, [XidEvent(LATER, 31)])
        logs.clocks.add(entity, LATER, 0, 0.0)
        logs.clocks.add(entity, LATER + 1, 4, 1.0)
    return logs


def remembered(logs: EventLogs) -> set[Entity]:
    of_xids = {entity for entity in EVERYTHING if logs.xids.of(entity).newest is not None}
    of_clocks = {entity for entity in EVERYTHING if logs.clocks.started(entity)}
    assert of_xids == of_clocks
    return of_xids


def test_windows_are_those_of_the_settings(logs: EventLogs) -> None:
    logs.adjust(settings(xid_window=60.0, clock_events_window=30.0), BEFORE, BEFORE)
    assert (60.0, 30.0) == (logs.xids.window, logs.clocks.window)


def test_the_same_entities_are_remembered(logs: EventLogs) -> None:
    logs.adjust(settings(), BEFORE, BEFORE)
    assert set(EVERYTHING) == remembered(logs)


def test_gpus_are_remembered_whatever_becomes_of_their_instances(logs: EventLogs) -> None:
    logs.adjust(settings(), BEFORE, Topology(gpus=BEFORE.gpus))
    assert {gpu(0)} == remembered(logs)


def test_an_instance_of_another_shape_is_another_one(logs: EventLogs) -> None:
    after = Topology(
        gpus=BEFORE.gpus,
        gpu_instances=(BEFORE.gpu_instances[0], some_instance(1, 0, 10)),
        compute_instances=BEFORE.compute_instances,
    )
    logs.adjust(settings(), BEFORE, after)
    assert set(EVERYTHING) - {gpu_instance(1)} == remembered(logs)
