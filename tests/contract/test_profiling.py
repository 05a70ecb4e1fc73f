"""Profiling through GPM: when a watch has values, and what takes them away."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from tests.waiting import wait_until

GPU, GPU_CI = 1, 5
GRAPHICS_ACTIVE, DRAM_ACTIVE, PCIE_SENT, NVLINK_RECEIVED = 1001, 1005, 1009, 1012
FP64_BLANK = 140737488355328.0
ONLY_NEWEST, SOME_TIME = (0.0, 1), (60.0, 0)
"""How long and how many samples a watch keeps."""
QUICK, SLOW = 0.2, 1.0
"""Intervals in seconds."""

pytestmark = pytest.mark.scenario("h100x8")


def newest(target: Any, handle: Any, gpu: int) -> tuple[int, bool]:
    """When the newest sample was taken, and whether it has a value."""
    value = target.one(handle, GRAPHICS_ACTIVE, (GPU, gpu))
    assert value.status == 0
    return value.ts, value.value.dbl < FP64_BLANK


def wait_for_value(target: Any, handle: Any, gpu: int) -> None:
    wait_until(lambda: newest(target, handle, gpu)[1], "a profiling value")


def next_samples(target: Any, handle: Any, gpu: int, count: int) -> list[bool]:
    """Wait for so many samples; whether each has a value."""
    before, found = newest(target, handle, gpu)[0], []
    for _ in range(count):
        before, has_value = wait_until(
            lambda after=before: (look := newest(target, handle, gpu))[0] > after and look,
            "another sample",
        )
        found.append(has_value)
    return found


def kept_samples(target: Any, handle: Any, groups: tuple[Any, Any], count: int) -> list[bool]:
    """Wait for so many samples since the beginning; whether each has a value."""
    samples = target.wait_for_samples(handle, groups, count)
    doubles = (struct.unpack("d", struct.pack("q", bits))[0] for *_, bits in samples[:count])
    return [double < FP64_BLANK for double in doubles]


def test_a_new_watch_needs_two_samples_before_a_value_and_since_4_5_one(
    target: Any, handle: Any
) -> None:
    groups = target.watch(handle, [(GPU, 3)], [GRAPHICS_ACTIVE], QUICK, keep=SOME_TIME)
    blank = 2 if target.version < (4, 5) else 1
    expected = [False] * blank + [True] * (4 - blank)
    assert kept_samples(target, handle, groups, 4) == expected


def test_the_first_sample_is_blank_and_not_missing(target: Any, handle: Any) -> None:
    target.watch(handle, [(GPU, 7)], [GRAPHICS_ACTIVE], 60.0)
    assert not newest(target, handle, 7)[1]


def test_watching_anew_more_slowly_turns_it_blank_for_ever(target: Any, handle: Any) -> None:
    target.watch(handle, [(GPU, 4)], [GRAPHICS_ACTIVE], QUICK, keep=ONLY_NEWEST)
    wait_for_value(target, handle, 4)
    target.watch(handle, [(GPU, 4)], [GRAPHICS_ACTIVE], 3.0, keep=ONLY_NEWEST)
    # One may have been due, and one more has a sample that is old enough to compare with.
    assert next_samples(target, handle, 4, 4)[2:] == [False, False]


def test_watching_anew_with_a_long_memory_keeps_values_before_4_6(target: Any, handle: Any) -> None:
    groups = target.watch(handle, [(GPU, 5)], [GRAPHICS_ACTIVE], QUICK, keep=SOME_TIME)
    wait_for_value(target, handle, 5)
    target.agent.dcgmWatchFields(handle, *groups, 3_000_000, *SOME_TIME)
    keeps = target.version < (4, 6)
    assert next_samples(target, handle, 5, 4)[2:] == [keeps, keeps]


def test_unwatching_first_costs_one_blank_sample(target: Any, handle: Any) -> None:
    groups = target.watch(handle, [(GPU, 6)], [GRAPHICS_ACTIVE], QUICK, keep=SOME_TIME)
    wait_for_value(target, handle, 6)
    target.agent.dcgmUnwatchFields(handle, *groups)
    target.agent.dcgmWatchFields(handle, *groups, 1_000_000, *SOME_TIME)
    assert not newest(target, handle, 6)[1]
    assert all(next_samples(target, handle, 6, 4)[1:])


def test_another_client_that_watches_more_quickly_costs_one_value_since_4_6(target: Any) -> None:
    """Samples are kept for two intervals there, of which the shorter one decides."""
    first, second = target.connect(), target.connect()
    target.watch(first, [(GPU, 2)], [GRAPHICS_ACTIVE], SLOW, keep=SOME_TIME)
    wait_for_value(target, first, 2)
    target.watch(second, [(GPU, 2)], [GRAPHICS_ACTIVE], QUICK, keep=SOME_TIME)
    blank = next_samples(target, first, 2, 6).count(False)
    assert blank == (1 if target.version >= (4, 6) else 0)
    target.agent.dcgmDisconnect(second)
    assert all(next_samples(target, first, 2, 3))


@pytest.mark.scenario("h100x8-mig")
def test_a_gpu_that_is_cut_has_values_and_its_compute_instances_those_of_their_own(
    target: Any, handle: Any
) -> None:
    fields = [GRAPHICS_ACTIVE, DRAM_ACTIVE, PCIE_SENT, NVLINK_RECEIVED]
    parts = [(GPU, 0), (GPU_CI, 0)]
    target.watch(handle, parts, fields, QUICK)

    def found() -> dict[tuple[int, int], list[bool]]:
        values = target.latest(handle, parts, fields)
        has = [value.status == 0 and value.value.dbl < FP64_BLANK for value in values]
        return dict(zip(parts, (has[:4], has[4:]), strict=True))

    wait_until(lambda: found()[GPU, 0][0] and found()[GPU_CI, 0][0], "profiling values")
    assert found() == {(GPU, 0): [True] * 4, (GPU_CI, 0): [True, False, False, False]}
