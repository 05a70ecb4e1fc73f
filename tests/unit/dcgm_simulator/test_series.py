"""Which samples exist: a matter of when a watch began and how often it samples."""

from __future__ import annotations

import pytest

from dcgm_simulator.series import SECOND, Series, Watch

START = 1_700_000_000 * SECOND
CONNECTION, OTHER = 1, 2


def every(seconds: float, keep_age: float = 600.0, keep_samples: int = 0) -> Watch:
    return Watch(int(seconds * SECOND), keep_age, keep_samples)


def test_newest_sample_is_the_last_multiple_of_the_interval() -> None:
    series = Series()
    series.watch(CONNECTION, every(20), START)
    assert series.last(START + 59 * SECOND) == START + 40 * SECOND


def test_the_most_frequent_watch_decides() -> None:
    series = Series()
    series.watch(CONNECTION, every(20), START)
    series.watch(OTHER, every(1), START + 5 * SECOND)
    assert series.last(START + 9 * SECOND) == START + 9 * SECOND
    series.unwatch(OTHER, START + 10 * SECOND)
    assert series.last(START + 29 * SECOND) == START + 10 * SECOND
    assert series.last(START + 30 * SECOND) == START + 30 * SECOND


def test_watching_anew_at_the_same_interval_changes_no_sample() -> None:
    series = Series()
    series.watch(CONNECTION, every(20), START)
    series.watch(CONNECTION, every(20), START + 7 * SECOND)
    assert series.times(START, START + 50 * SECOND) == [
        START, START + 20 * SECOND, START + 40 * SECOND,
    ]  # fmt: skip


def test_nothing_is_sampled_after_the_last_unwatch() -> None:
    series = Series()
    series.watch(CONNECTION, every(1), START)
    series.unwatch(CONNECTION, START + 3 * SECOND)
    assert series.last(START + 100 * SECOND) == START + 3 * SECOND
    assert len(series.times(0, START + 100 * SECOND)) == 4


def test_a_pause_leaves_a_gap() -> None:
    series = Series()
    series.watch(CONNECTION, every(1), START)
    series.unwatch(CONNECTION, START + 2 * SECOND)
    series.watch(CONNECTION, every(1), START + 10 * SECOND)
    seconds = [(time - START) // SECOND for time in series.times(0, START + 12 * SECOND)]
    assert seconds == [0, 1, 2, 10, 11, 12]


@pytest.mark.parametrize(
    ("watch", "kept"),
    [(every(1, 0.0, 1), 2), (every(1, 5.0, 0), 6), (every(1, 0.0, 10), 12)],
    ids=["at least a second", "by age", "1.1 x interval x samples"],
)
def test_retention_is_by_age(watch: Watch, kept: int) -> None:
    series = Series()
    series.watch(CONNECTION, watch, START)
    assert len(series.times(0, START + 100 * SECOND)) == kept


def test_a_shorter_interval_begins_when_the_engine_wakes() -> None:
    """Its thread sleeps until what was due before, unless somebody has it update."""
    for wakes_at, asked, expected in ((8, False, 8), (8, True, 6), (2, False, 6)):
        series = Series()
        series.watch(CONNECTION, every(20), START)
        now = START + 6 * SECOND
        assert series.next_sample(now) == START + 20 * SECOND
        assert not series.watch(CONNECTION, every(1), now, START + wakes_at * SECOND)
        if asked:
            series.wake(now)
        times = list(series.taken(START, START + 9 * SECOND))
        assert times[0] == START + expected * SECOND, (wakes_at, asked)
        assert times[-1] == START + 9 * SECOND


@pytest.mark.parametrize(("at_once", "next_sample"), [(True, 7), (False, 20)])
def test_watched_anew_a_gpu_is_sampled_at_once_and_others_when_it_is_due(
    at_once: bool, next_sample: int
) -> None:
    series = Series(samples_at_once=at_once)
    series.watch(CONNECTION, every(20), START)
    series.unwatch(CONNECTION, START + 5 * SECOND)
    series.watch(CONNECTION, every(20), START + 7 * SECOND)
    assert series.last(START + 6 * SECOND) == START
    assert list(series.taken(START, START + 25 * SECOND)) == [START + next_sample * SECOND]
