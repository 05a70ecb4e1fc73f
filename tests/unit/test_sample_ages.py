"""How long a sample has been the newest."""

from __future__ import annotations

from tests.builders import NOW, Clock, gpu, raw, readings_of

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_ages import SampleAges
from do_dcgm_exporter.dcgm.decoding import Absence

TEMPERATURE, XID = 150, 230


def test_a_sample_ages_while_it_is_the_newest_and_a_newer_one_is_new() -> None:
    ages = SampleAges()
    field = (gpu(0), TEMPERATURE)
    assert (0.0, 5.0) == (ages.at_least(field, 1, 100.0), ages.at_least(field, 1, 105.0))
    assert (0.0, 3.0) == (ages.at_least(field, 2, 107.0), ages.at_least(field, 2, 110.0))


def test_the_samples_of_other_fields_and_gpus_have_ages_of_their_own() -> None:
    ages = SampleAges()
    ages.at_least((gpu(0), TEMPERATURE), 1, 100.0)
    assert 0.0 == ages.at_least((gpu(1), TEMPERATURE), 1, 160.0)
    assert 0.0 == ages.at_least((gpu(0), 155), 1, 160.0)


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
