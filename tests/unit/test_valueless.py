"""What has no value is read now and then only."""

from __future__ import annotations

import pytest
from tests.builders import Clock, gpu, raw

from do_dcgm_exporter.collect.valueless import Valueless
from do_dcgm_exporter.dcgm.errors import ReturnCode

OLD, NEW = (4, 3, 1), (4, 4, 1)
NO_DATA, NOT_SUPPORTED = ReturnCode.NO_DATA, ReturnCode.NOT_SUPPORTED
KEY = (gpu(0), 522)


def without(field_id: int, status: int) -> Valueless:
    """Thirty seconds after the first reading without a value."""
    clock = Clock()
    valueless = Valueless(OLD, clock)
    for clock.now in (0.0, 20.0, 29.0):
        assert {} == valueless.left_alone()
        valueless.note([raw(gpu(0), field_id, 0, status=status)])
    clock.now = 30.0
    return valueless


def test_it_is_left_alone_after_a_while_and_counts_as_it_was() -> None:
    valueless = without(522, NO_DATA)
    assert {KEY: raw(gpu(0), 522, 0, status=NO_DATA)} == valueless.left_alone()


def test_it_is_read_again_after_five_minutes() -> None:
    valueless, clock = without(522, NO_DATA), Clock()
    valueless.clock = clock
    clock.now = 328.0
    assert {KEY} == set(valueless.left_alone())
    clock.now = 329.0
    assert {} == valueless.left_alone()
    valueless.note([raw(gpu(0), 522, 0, status=NO_DATA)])
    assert {KEY} == set(valueless.left_alone())


def test_a_value_that_comes_is_read_from_then_on() -> None:
    valueless = without(522, NO_DATA)
    valueless.note([raw(gpu(0), 522, 7)])
    assert {} == valueless.left_alone()


@pytest.mark.parametrize("field_id", [1, 57, 230, 857])
def test_events_and_losses_are_looked_for_in_every_cycle(field_id: int) -> None:
    assert {} == without(field_id, NO_DATA).left_alone()


@pytest.mark.parametrize(
    ("release", "status", "is_left_alone"),
    [(OLD, NOT_SUPPORTED, True), (NEW, NOT_SUPPORTED, True), (NEW, NO_DATA, False)],
)
def test_only_what_the_engine_complains_of_is_left_alone(
    release: tuple[int, ...], status: int, is_left_alone: bool
) -> None:
    clock = Clock()
    valueless = Valueless(release, clock)
    for clock.now in (0.0, 30.0):
        valueless.note([raw(gpu(0), 522, 0, status=status)])
    assert is_left_alone is bool(valueless.left_alone())
