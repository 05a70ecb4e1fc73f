"""Summaries of samples, by NVIDIA's source (DcgmCacheManager.cpp, the same 3.1.8 to 4.6.0)."""

from __future__ import annotations

import pytest

from dcgm_simulator.codes import INT64_BLANK, Status, StatusError, sentinel
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import SECOND, Watch
from dcgm_simulator.summaries import ALL_SUMMARIES, Summary, summarize

START = 1_700_000_000 * SECOND
GPU = Entity(1, 0)
TEMPERATURE, POWER, NAME, PIDS = 150, 155, 50, 91
MIN, MAX, AVG, COUNT, INTEGRAL = 0, 1, 2, 4, 5


def summaries_of(kind: str, *values: int | float) -> list[int | float]:
    return summarize(((i * SECOND, value) for i, value in enumerate(values)), kind, ALL_SUMMARIES)


def test_a_summary_has_what_was_asked_for_in_the_order_of_the_bits() -> None:
    samples = [(0, 3), (SECOND, 5), (2 * SECOND, 8)]
    assert [3, 8, 5, 16, 3, 10_000_000, 5] == summarize(samples, "i", ALL_SUMMARIES)
    assert [8, 16] == summarize(samples, "i", Summary.MAX | Summary.SUM)


def test_an_average_of_integers_is_cut_off_towards_zero() -> None:
    assert (1, -1) == (summaries_of("i", 1, 2)[AVG], summaries_of("i", -1, -2)[AVG])


def test_blanks_are_no_numbers_but_count_before_the_last_number() -> None:
    blank = sentinel("d")
    assert isinstance(blank, float)
    found = summaries_of("d", blank, 10.0, blank, 20.0, blank)
    assert [10.0, 20.0, 7.5] == found[MIN : AVG + 1]
    assert found[COUNT] == 4


def test_an_integral_takes_a_blank_for_a_value() -> None:
    blank = sentinel("d")
    assert isinstance(blank, float)
    assert summaries_of("d", 10.0, blank, 20.0)[INTEGRAL] == pytest.approx(blank / 2 * SECOND)


def test_an_integral_of_integers_overflows_as_in_64_bits() -> None:
    # (2**63 - 16 + 20) is negative in 64 bits; times a second it stays out of all bounds.
    assert summaries_of("i", INT64_BLANK, 20)[INTEGRAL] == 2_000_000


def test_only_blanks_are_summarized_as_a_blank() -> None:
    assert [INT64_BLANK] * 7 == summaries_of("i", INT64_BLANK + 2, INT64_BLANK)


@pytest.fixture(params=["3.3.9", "4.2.3", "4.5.3", "4.6.0"])
def host(request: pytest.FixtureRequest) -> Host:
    return Host("h100x1", request.param, clock=lambda: START + 30 * SECOND)


def watch(host: Host, field: int, keep: float = 20.0) -> None:
    host.cache.watch(1, GPU, host.cache.fields()[field], Watch(SECOND, keep, 0), START)


def ask(host: Host, field: int, start: int, end: int, mask: int = Summary.COUNT) -> list[int]:
    _, values = host.field_summary([*GPU, field, mask, start, end])
    numbers: list[int] = values
    return numbers


def test_both_ends_belong_to_the_time_asked_about(host: Host) -> None:
    watch(host, TEMPERATURE)
    first = START + 15 * SECOND
    assert [6] == ask(host, TEMPERATURE, first, first + 5 * SECOND)
    assert [5] == ask(host, TEMPERATURE, first + 1, first + 5 * SECOND)
    assert [5] == ask(host, TEMPERATURE, first, first + 5 * SECOND - 1)


def test_zero_is_no_bound_and_what_is_kept_no_longer_does_not_count(host: Host) -> None:
    watch(host, TEMPERATURE, keep=10.0)
    assert [11] == ask(host, TEMPERATURE, 0, 0)


@pytest.mark.parametrize(
    ("field", "start", "mask", "status"),
    [
        (TEMPERATURE, START + 60 * SECOND, 1, Status.NO_DATA),
        (POWER, 0, 1, Status.NOT_WATCHED),
        (PIDS, 0, 1, Status.FIELD_UNSUPPORTED_BY_API),
        (NAME, 0, 1, Status.FIELD_UNSUPPORTED_BY_API),
        (9999, 0, 1, Status.BADPARAM),
        (TEMPERATURE, 0, 0, Status.BADPARAM),
        (TEMPERATURE, 0, 1 << 7, Status.BADPARAM),
    ],
)
def test_what_cannot_be_summarized_fails(
    host: Host, field: int, start: int, mask: int, status: Status
) -> None:
    watch(host, TEMPERATURE)
    with pytest.raises(StatusError) as failure:
        ask(host, field, start, 0, mask)
    assert failure.value.status == status


def test_what_nobody_watches_any_more_has_its_samples_and_else_is_not_watched(host: Host) -> None:
    watch(host, TEMPERATURE)
    host.cache.unwatch(1, GPU, host.cache.fields()[TEMPERATURE], START + 30 * SECOND)
    assert [21] == ask(host, TEMPERATURE, 0, 0)
    with pytest.raises(StatusError) as failure:
        ask(host, TEMPERATURE, START + 60 * SECOND, 0)
    assert failure.value.status == Status.NOT_WATCHED
