"""The memory of clock event masks."""

from __future__ import annotations

import pytest
from tests.builders import MICROSECONDS, NOW, gpu

from do_dcgm_exporter.collect.clock_log import EVENT_NAMES, ClockLog, events_in

IDLE, CAP = 0x1, 0x4


def at(seconds: float) -> int:
    return int((NOW + seconds) * MICROSECONDS)


def add(log: ClockLog, second: float, mask: int) -> None:
    """Take a mask that was sampled and stamped at the same second."""
    log.add(gpu(0), at(second), mask, NOW + second)


@pytest.fixture
def log() -> ClockLog:
    return ClockLog(window=20.0)


def test_bits_have_the_names_of_nvidias_exporters() -> None:
    names = [
        "gpu_idle",
        "clocks_setting",
        "power_cap",
        "hw_slowdown",
        "sync_boost",
        "sw_thermal",
        "hw_thermal",
        "hw_power_brake",
        "display_clocks",
        "board_limit",
        "reliability",
    ]
    assert names == [next(events_in(1 << bit)) for bit in range(11)]
    assert names == list(EVENT_NAMES.values())


def test_a_mask_names_every_bit_it_knows() -> None:
    assert ["gpu_idle", "power_cap"] == list(events_in(IDLE | CAP | 0x800 | 1 << 40))
    assert [] == list(events_in(0))


def test_the_window_counts_samples_with_the_event(log: ClockLog) -> None:
    for second, mask in ((-30, CAP), (-15, CAP), (-10, CAP | IDLE), (-5, 0)):
        add(log, second, mask)
    assert {"power_cap": 2, "gpu_idle": 1} == dict(log.samples_in_window(gpu(0), NOW))


def test_the_window_moves(log: ClockLog) -> None:
    add(log, 0, CAP)
    assert {"power_cap": 1} == dict(log.samples_in_window(gpu(0), NOW + 20))
    assert {} == dict(log.samples_in_window(gpu(0), NOW + 21))


def test_a_sample_seen_twice_counts_once(log: ClockLog) -> None:
    add(log, 0, 0)
    for mask in (CAP, CAP):
        add(log, 1, mask)
    assert {"power_cap": 1} == dict(log.samples_in_window(gpu(0), NOW + 1))
    assert {"power_cap": 1} == dict(log.started(gpu(0)))


def test_events_are_counted_on_when_the_clock_is_set_back(log: ClockLog) -> None:
    log.add(gpu(0), at(3600), 0, 0.0)
    log.add(gpu(0), at(0), CAP, 5.0)
    assert {"power_cap": 1} == dict(log.started(gpu(0)))
    assert {"power_cap": 1} == dict(log.samples_in_window(gpu(0), 6.0))


def test_the_window_stays_where_it_is_when_the_clock_is_set(log: ClockLog) -> None:
    for second, stamped in ((0.0, 0.0), (5.0, 605.0), (10.0, 10.0)):
        log.add(gpu(0), at(stamped), CAP, second)
    assert {"power_cap": 3} == dict(log.samples_in_window(gpu(0), 20.0))


def test_an_event_begins_when_its_bit_rises(log: ClockLog) -> None:
    masks = (0, CAP, CAP, 0, CAP | IDLE, IDLE, CAP)
    for second, mask in enumerate(masks):
        add(log, second, mask)
    assert {"power_cap": 3, "gpu_idle": 1} == dict(log.started(gpu(0)))


def test_an_event_that_was_there_from_the_first_look_has_not_begun(log: ClockLog) -> None:
    add(log, 0, CAP)
    add(log, 1, CAP)
    assert {} == dict(log.started(gpu(0)))


def test_entities_are_apart(log: ClockLog) -> None:
    add(log, 0, CAP)
    assert {} == dict(log.samples_in_window(gpu(1), NOW))


def test_an_instance_that_is_gone_is_forgotten(log: ClockLog) -> None:
    for second, mask in ((0, 0), (1, CAP)):
        add(log, second, mask)
    log.forget(gpu(0))
    log.forget(gpu(1))
    assert ({}, {}) == (dict(log.started(gpu(0))), dict(log.samples_in_window(gpu(0), NOW)))
