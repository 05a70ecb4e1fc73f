"""The memory of XIDs."""

from __future__ import annotations

import pytest
from tests.builders import MICROSECONDS, NOW, Clock, gpu

from do_dcgm_exporter.collect.xid_log import XidEvent, XidLog
from do_dcgm_exporter.dcgm.xid_texts import xid_text

STARTED = 50.0


def event(second: float, xid: int) -> XidEvent:
    return XidEvent(int((NOW + second) * MICROSECONDS), xid)


@pytest.fixture
def wall_clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def boot_clock() -> Clock:
    return Clock(STARTED)


@pytest.fixture
def log(wall_clock: Clock, boot_clock: Clock) -> XidLog:
    return XidLog(20.0, wall_clock, boot_clock)


def test_an_entity_without_xids_has_none(log: XidLog) -> None:
    history = log.of(gpu(0))
    assert (None, {}, -1) == (history.newest, dict(history.totals), history.read_until)
    assert {} == dict(log.in_window(gpu(0), STARTED))


def test_every_xid_of_a_burst_counts(log: XidLog) -> None:
    log.add(gpu(0), [event(1, 31), event(2, 31), event(3, 43)])
    assert {31: 2, 43: 1} == dict(log.of(gpu(0)).totals)
    assert event(3, 43) == log.of(gpu(0)).newest
    assert {31: event(2, 31).timestamp, 43: event(3, 43).timestamp} == log.of(gpu(0)).newest_by_xid


def test_events_may_come_in_any_order(log: XidLog) -> None:
    log.add(gpu(0), [event(3, 43), event(1, 31)])
    assert event(3, 43) == log.of(gpu(0)).newest


def test_a_replayed_history_counts_nothing_twice(log: XidLog) -> None:
    history = [event(1, 31), event(2, 43)]
    log.add(gpu(0), history)
    log.add(gpu(0), [*history, event(3, 31)])
    assert {31: 2, 43: 1} == dict(log.of(gpu(0)).totals)
    assert event(3, 31).timestamp == log.of(gpu(0)).read_until


def test_xids_from_before_the_start_are_shown_but_not_in_the_totals(log: XidLog) -> None:
    log.add(gpu(0), [event(-5, 31), event(0, 43)])
    assert {43: 1} == dict(log.of(gpu(0)).totals)
    assert {31: 1, 43: 1} == dict(log.in_window(gpu(0), STARTED))
    assert {31, 43} == set(log.of(gpu(0)).newest_by_xid)


@pytest.mark.parametrize("xid", [79, 119, 120])
def test_an_xid_reported_twice_counts_once(log: XidLog, xid: int) -> None:
    log.add(gpu(0), [event(1, xid), event(1.75, xid)])
    assert {xid: 1} == dict(log.of(gpu(0)).totals)
    assert {xid: 1} == dict(log.in_window(gpu(0), STARTED + 2))


def test_the_second_report_may_come_a_cycle_later(log: XidLog) -> None:
    log.add(gpu(0), [event(1, 79)])
    log.add(gpu(0), [event(1, 79), event(1.75, 79)])
    assert {79: 1} == dict(log.of(gpu(0)).totals)


def test_a_second_report_does_not_move_the_last_timestamp(log: XidLog) -> None:
    log.add(gpu(0), [event(1, 79), event(1.75, 79)])
    assert {79: event(1, 79).timestamp} == log.of(gpu(0)).newest_by_xid


def test_another_xid_between_both_reports_changes_nothing(log: XidLog) -> None:
    log.add(gpu(0), [event(1, 79), event(1.5, 31), event(1.75, 79)])
    assert {79: 1, 31: 1} == dict(log.of(gpu(0)).totals)


def test_the_same_xid_later_than_two_seconds_is_another_one(log: XidLog) -> None:
    log.add(gpu(0), [event(1, 79), event(3, 79), event(5.1, 79)])
    assert {79: 2} == dict(log.of(gpu(0)).totals)


def test_other_xids_in_quick_succession_all_count(log: XidLog) -> None:
    log.add(gpu(0), [event(1, 31), event(1.75, 31)])
    assert {31: 2} == dict(log.of(gpu(0)).totals)


def test_the_same_xid_on_two_gpus_is_two(log: XidLog) -> None:
    log.add(gpu(0), [event(1, 79)])
    log.add(gpu(1), [event(1.5, 79)])
    assert ({79: 1}, {79: 1}) == (dict(log.of(gpu(0)).totals), dict(log.of(gpu(1)).totals))


def test_the_window_moves_and_totals_stay(log: XidLog) -> None:
    log.add(gpu(0), [event(1, 31), event(11, 31)])
    assert {31: 2} == dict(log.in_window(gpu(0), STARTED + 21))
    assert {31: 1} == dict(log.in_window(gpu(0), STARTED + 22))
    assert {} == dict(log.in_window(gpu(0), STARTED + 32))
    assert {31: 2} == dict(log.of(gpu(0)).totals)


# The wall clock, which events are stamped by, may be set back.


def test_an_xid_after_the_clock_was_set_back_counts(log: XidLog) -> None:
    log.add(gpu(0), [event(7200, 31)])
    log.note_read([gpu(0)])
    log.add(gpu(0), [event(7200, 31), event(5, 43)])
    assert {31: 1, 43: 1} == dict(log.of(gpu(0)).totals)
    assert event(5, 43) == log.of(gpu(0)).newest


def test_an_xid_counts_if_the_clock_was_set_back_before_the_engine_was_ever_read(
    log: XidLog, wall_clock: Clock, boot_clock: Clock
) -> None:
    wall_clock.now -= 90
    wall_clock.now, boot_clock.now = wall_clock.now + 30, boot_clock.now + 30
    log.add(gpu(0), [event(-95, 31), event(-70, 43)])
    assert {43: 1} == dict(log.of(gpu(0)).totals)


def test_it_counts_too_if_the_clock_was_set_right_again_by_then(
    log: XidLog, wall_clock: Clock
) -> None:
    wall_clock.now -= 90
    log.look_at_the_clocks()
    wall_clock.now += 90
    log.add(gpu(0), [event(-95, 31), event(-70, 43)])
    assert {43: 1} == dict(log.of(gpu(0)).totals)


def test_a_clock_set_ahead_makes_no_new_xid_old(
    log: XidLog, wall_clock: Clock, boot_clock: Clock
) -> None:
    wall_clock.now, boot_clock.now = wall_clock.now + 7200, boot_clock.now + 30
    log.add(gpu(0), [event(-5, 31), event(10, 43), event(7190, 94)])
    assert {43: 1, 94: 1} == dict(log.of(gpu(0)).totals)


def test_an_xid_of_a_time_before_the_start_counts_once_the_engine_was_read(log: XidLog) -> None:
    log.note_read([gpu(0)])
    log.add(gpu(0), [event(-3600, 31)])
    assert {31: 1} == dict(log.of(gpu(0)).totals)


def test_either_of_two_reports_may_be_read_first(log: XidLog) -> None:
    log.add(gpu(0), [event(1.75, 79)])
    log.add(gpu(0), [event(1, 79)])
    assert {79: 1} == dict(log.of(gpu(0)).totals)


def test_the_first_report_may_be_read_an_hour_after_the_second(log: XidLog) -> None:
    """The session of a lost GPU reads its last XID alone, a later one all that are kept."""
    log.add(gpu(0), [event(1.75, 79)])
    assert {} == dict(log.in_window(gpu(0), STARTED + 3600))
    log.add(gpu(0), [event(1, 79), event(1.75, 79)])
    assert {79: 1} == dict(log.of(gpu(0)).totals)


def test_what_left_the_window_long_ago_takes_no_room(
    log: XidLog, wall_clock: Clock, boot_clock: Clock
) -> None:
    for second in range(1300):
        wall_clock.now, boot_clock.now = NOW + second, STARTED + second
        log.add(gpu(0), [event(second, 31)])
    assert {31: 21} == dict(log.in_window(gpu(0), STARTED + 1299))
    assert 1200 == len(log.of(gpu(0)).counted)


def test_the_same_xid_of_a_later_time_is_another_one(log: XidLog) -> None:
    log.add(gpu(0), [event(7200, 79)])
    log.add(gpu(0), [event(5, 79)])
    assert {79: 2} == dict(log.of(gpu(0)).totals)


def test_the_window_does_not_hold_what_is_of_a_time_to_come(log: XidLog) -> None:
    log.add(gpu(0), [event(7200, 31)])
    assert {} == dict(log.in_window(gpu(0), STARTED))


@pytest.mark.parametrize("step", [7200.0, -7200.0, 600.0, -600.0])
@pytest.mark.parametrize("is_stamped_before", [True, False])
def test_a_window_counts_by_a_clock_that_cannot_be_set(
    log: XidLog, wall_clock: Clock, boot_clock: Clock, step: float, is_stamped_before: bool
) -> None:
    """Sampled 15 s after the last reading and 5 s before this one; the clock is set around it."""
    log.add(gpu(0), [event(-10, 43)])
    log.note_read([gpu(0)])
    wall_clock.now, boot_clock.now = NOW + 20 + step, STARTED + 20
    log.add(gpu(0), [event(15 if is_stamped_before else 15 + step, 31)])
    assert {31: 1} == dict(log.in_window(gpu(0), STARTED + 20))
    assert {31: 1} == dict(log.in_window(gpu(0), STARTED + 35))
    assert {} == dict(log.in_window(gpu(0), STARTED + 36))


def test_a_window_is_right_to_an_interval_if_the_clock_was_set_twice(
    log: XidLog, wall_clock: Clock, boot_clock: Clock
) -> None:
    log.note_read([gpu(0)])
    wall_clock.now, boot_clock.now = NOW + 20 - 600, STARTED + 20
    log.add(gpu(0), [event(7200, 31), event(-7200, 43)])
    assert {31: 1, 43: 1} == dict(log.in_window(gpu(0), STARTED + 20))
    assert {} == dict(log.in_window(gpu(0), STARTED + 41))


# A reading may break off after an XID was told.


def test_what_was_held_counts_once_although_it_is_told_again(log: XidLog) -> None:
    log.hold(gpu(0), [event(3, 43)])
    assert {} == dict(log.of(gpu(0)).totals)
    log.add(gpu(0), [event(1, 31), event(3, 43)])
    log.take_held()
    assert {31: 1, 43: 1} == dict(log.of(gpu(0)).totals)
    assert event(3, 43) == log.of(gpu(0)).newest


def test_what_was_held_counts_when_that_engine_has_gone(log: XidLog) -> None:
    log.hold(gpu(0), [event(3, 43)])
    log.take_held()
    log.take_held()
    assert {43: 1} == dict(log.of(gpu(0)).totals)


def test_what_was_known_of_a_gone_instance_is_forgotten_but_not_how_far_it_was_read(
    log: XidLog,
) -> None:
    log.add(gpu(0), [event(1, 31)])
    log.forget(gpu(0))
    log.add(gpu(0), [event(1, 31), event(2, 43)])
    assert {43: 1} == dict(log.of(gpu(0)).totals)
    assert event(2, 43) == log.of(gpu(0)).newest


@pytest.mark.parametrize(
    ("xid", "text"), [(0, "No Error"), (99999, "Unknown Error"), (-1, "Unknown Error")]
)
def test_what_an_xid_means(xid: int, text: str) -> None:
    assert text == xid_text(xid)


def test_the_well_known_xids_have_texts() -> None:
    assert "Unknown Error" not in {xid_text(xid) for xid in (13, 31, 43, 48, 63, 74, 79, 94, 119)}


def test_the_newest_of_all_devices_are_told_with_how_often_they_came(log: XidLog) -> None:
    log.add(gpu(0), [event(-5, 13), event(1, 31), event(2, 31)])
    log.add(gpu(1), [event(3, 43)])
    seen = [(entry.xid, entry.entity, entry.total) for entry in log.newest(10)]
    assert [(43, gpu(1), 1), (31, gpu(0), 2), (13, gpu(0), 0)] == seen
    assert [43] == [entry.xid for entry in log.newest(1)]
