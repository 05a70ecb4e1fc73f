"""Cycles follow the engine's samples."""

from __future__ import annotations

import pytest

from do_dcgm_exporter.cadence import pause_after


@pytest.mark.parametrize("sample_age", [None, -7200.0, -0.1, 0.0, 1.0, 2.5, 22.5, 7200.0])
def test_a_cycle_with_new_samples_or_none_keeps_the_interval(sample_age: float | None) -> None:
    assert 20.0 == pause_after(20.0, sample_age)


@pytest.mark.parametrize(
    ("sample_age", "expected"), [(19.9, 1.1), (12.0, 9.0), (2.6, 18.4), (20.1, 1.0), (22.4, 1.0)]
)
def test_a_cycle_with_older_samples_is_followed_by_one_a_second_after_the_next(
    sample_age: float, expected: float
) -> None:
    assert expected == pytest.approx(pause_after(20.0, sample_age))


@pytest.mark.parametrize("interval", [0.1, 1.0, 2.0])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_short_intervals_are_kept(interval: float, share: float) -> None:
    assert interval == pause_after(interval, share * interval)
