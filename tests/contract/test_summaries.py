"""Summaries: minimum, maximum and mean of samples that the engine keeps."""

from __future__ import annotations

from typing import Any

import pytest

TEMPERATURE, NAME = 150, 50
UNSUPPORTED, NOT_WATCHED, NO_DATA, BADPARAM = -32, -16, -14, -1
MIN_MAX_SUM_COUNT = 1 | 2 | 8 | 16


def summary(target: Any, handle: Any, field: int, start: int = 0, end: int = 0) -> list[int]:
    found = target.agent.dcgmGetFieldSummary(handle, field, 1, 0, MIN_MAX_SUM_COUNT, start, end)
    assert found.response.summaryCount == 4
    return [value.i64 for value in found.response.values[:4]]


def test_a_summary_is_that_of_the_samples_kept(target: Any, handle: Any) -> None:
    groups = target.watch(handle, [(1, 0)], [TEMPERATURE])
    samples = target.wait_for_samples(handle, groups, 5)
    times = [time for *_, time, _ in samples]
    values = [value for *_, value in samples]
    expected = [min(values), max(values), sum(values), len(values)]
    assert expected == summary(target, handle, TEMPERATURE, times[0], times[-1])
    assert [1, 1] == [summary(target, handle, TEMPERATURE, time, time)[3] for time in times[:2]]
    with target.failing(NO_DATA):
        summary(target, handle, TEMPERATURE, times[0] + 1, times[1] - 1)


@pytest.mark.parametrize(
    ("field", "status"), [(393, NOT_WATCHED), (NAME, UNSUPPORTED), (65000, BADPARAM)]
)
def test_what_has_no_samples_has_no_summary(
    target: Any, handle: Any, field: int, status: int
) -> None:
    target.watch(handle, [(1, 0)], [TEMPERATURE, NAME])
    with target.failing(status):
        summary(target, handle, field)
