"""How old samples are while clocks are set."""

from __future__ import annotations

import pytest
from tests.builders import MICROSECONDS, NOW, Clock, gpu, raw, readings_of

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_ages import Moment, SampleAges
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity

TEMPERATURE, XID = 150, 230


def age_of(
    ages: SampleAges, stamped: float, wall_now: float, now: float, who: Entity | None = None
) -> float:
    """The age of a sample by times in seconds."""
    key = who or gpu(0), TEMPERATURE
    return ages.age(key, int(stamped * MICROSECONDS), Moment(wall_now, now))


def test_a_sample_is_as_old_as_its_timestamp_says() -> None:
    ages = SampleAges()
    assert 3.0 == age_of(ages, 997.0, 1000.0, 100.0)
    assert 8.0 == age_of(ages, 997.0, 1005.0, 105.0)
    assert 2.0 == age_of(ages, 1008.0, 1010.0, 110.0)


@pytest.mark.parametrize("step", [600.0, -600.0, 3.3, -3.3])
def test_a_sample_that_was_read_ages_on_however_the_clock_is_set(step: float) -> None:
    ages = SampleAges()
    age_of(ages, 997.0, 1000.0, 100.0)
    assert 23.0 == age_of(ages, 997.0, 1020.0 + step, 120.0)


@pytest.mark.parametrize("step", [600.0, -600.0])
def test_a_new_one_is_dated_by_the_clock_that_stamped_it(step: float) -> None:
    ages = SampleAges()
    age_of(ages, 997.0, 1000.0, 100.0)
    assert 3.0 == age_of(ages, 1017.0, 1020.0 + step, 120.0)
    assert 4.0 == age_of(ages, 1036.0 + step, 1040.0 + step, 140.0)


def test_while_nobody_sets_the_clock_an_old_one_is_old() -> None:
    ages = SampleAges()
    age_of(ages, 997.0, 1000.0, 100.0)
    assert 400.0 == age_of(ages, 620.0, 1020.0, 120.0)
    assert 399.0 == age_of(ages, 641.0, 1040.0, 140.0)


def test_a_sample_taken_after_the_machine_slept_in_a_reading_is_no_older_than_that() -> None:
    ages = SampleAges(lambda: 3700.0)
    age_of(ages, 4600.0, 1000.0, 100.0)
    assert 1.0 == age_of(ages, 4600.0, 4601.0, 3701.0)


def test_a_sample_of_the_future_is_of_now() -> None:
    ages = SampleAges(lambda: 100.0)
    assert 0.0 == age_of(ages, 1300.0, 1000.0, 100.0)
    assert 20.0 == age_of(ages, 1300.0, 1020.0, 120.0)


def test_fields_and_gpus_are_apart() -> None:
    ages = SampleAges()
    age_of(ages, 997.0, 1000.0, 100.0)
    assert 603.0 == age_of(ages, 1017.0, 1620.0, 120.0, gpu(1))
    assert 603.0 == ages.age((gpu(0), 155), 1017 * MICROSECONDS, Moment(1620.0, 120.0))


def readings_at(seconds: float, wall: float, ages: SampleAges, clock: Clock) -> Readings:
    clock.now = seconds
    return Readings(wall, 60.0, ages)


def test_an_old_sample_does_not_look_young_because_the_clock_was_set_back() -> None:
    clock = Clock()
    ages = SampleAges(clock)
    sample = raw(gpu(0), TEMPERATURE, 41)
    readings_at(0.0, NOW, ages, clock).add([sample])
    for seconds, expected in ((59.0, 41), (61.0, Absence.STALE), (3600.0, Absence.STALE)):
        readings = readings_at(seconds, NOW - 3600.0 + seconds, ages, clock)
        readings.add([sample])
        assert expected == readings.get(gpu(0), TEMPERATURE), seconds


def test_a_new_sample_does_not_look_old_because_the_clock_was_set_ahead() -> None:
    clock = Clock()
    ages = SampleAges(clock)
    for seconds, stamped, expected in (
        (0.0, -1.0, 41),
        (20.0, 19.0, 41),  # sampled a moment before the clock is set ahead by ten minutes
        (80.0, 19.0, Absence.STALE),
    ):
        readings = readings_at(seconds, NOW + seconds + (600.0 if seconds else 0.0), ages, clock)
        readings.add([raw(gpu(0), TEMPERATURE, 41, timestamp=NOW + stamped)])
        assert expected == readings.get(gpu(0), TEMPERATURE), seconds


@pytest.mark.parametrize("step", [7200.0, -7200.0])
def test_a_sample_is_dated_right_if_the_clock_was_set_before_it_in_the_same_reading(
    step: float,
) -> None:
    boot, wall = Clock(), Clock(NOW)
    ages = SampleAges(boot, wall)
    readings_at(0.0, NOW, ages, boot).add([raw(gpu(0), TEMPERATURE, 41)])
    readings = readings_at(20.0, NOW + 20.0, ages, boot)
    wall.now += step
    readings.add([raw(gpu(0), TEMPERATURE, 41, timestamp=NOW + 19.0 + step)])
    assert 41 == readings.get(gpu(0), TEMPERATURE)
    assert 19.0 == readings.taken_at[gpu(0), TEMPERATURE]


def test_the_last_xid_stands_however_long_it_is_the_newest() -> None:
    clock = Clock()
    ages = SampleAges(clock)
    for seconds in (0.0, 1e6):
        readings = readings_at(seconds, NOW, ages, clock)
        readings.add([raw(gpu(0), XID, 79)])
        assert 79 == readings.get(gpu(0), XID)


def test_a_clock_that_runs_ahead_of_ours_makes_no_sample_stale() -> None:
    """An engine on another host may be late or early."""
    assert 41 == readings_of(raw(gpu(0), TEMPERATURE, 41, timestamp=NOW + 300)).get(
        gpu(0), TEMPERATURE
    )
