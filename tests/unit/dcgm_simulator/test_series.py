"""Which samples exist: a matter of when a watch began and how often it samples."""

from __future__ import annotations

import pytest

from dcgm_simulator.series import SECOND, Series, Watch, warm_up

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


@pytest.mark.parametrize(("interval", "blank"), [(20, 40), (1, 1)])
def test_profiling_is_blank_at_first(interval: int, blank: int) -> None:
    series = Series()
    series.watch(CONNECTION, every(interval), START)
    assert not series.is_warm(START)
    assert warm_up(START, interval * SECOND) == START + blank * SECOND
    assert series.is_warm(START + blank * SECOND)


def test_profiling_that_is_warm_stays_warm_when_watched_more_slowly() -> None:
    series = Series()
    series.watch(CONNECTION, every(1), START)
    series.watch(CONNECTION, every(20), START + 2 * SECOND)
    assert series.is_warm(START + 2 * SECOND)
