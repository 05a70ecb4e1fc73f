"""What the samples of a field come to, as dcgmGetFieldSummary tells it.

All releases from 3.1.8 to 4.6.0 compute alike (GetInt64SummaryData and GetFp64SummaryData in
DcgmCacheManager.cpp). They skip blanks, but not everywhere: blanks before the last number count
as samples, so an average is too low after one, and an integral takes a blank for the value
where an area begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag
from typing import NamedTuple

from dcgm_simulator.codes import Value, is_sentinel, sentinel


class Summary(IntFlag):
    """What can be asked for, DCGM_SUMMARY_*."""

    MIN = 1
    MAX = 2
    AVG = 4
    SUM = 8
    COUNT = 16
    INTEGRAL = 32
    DIFF = 64


ALL_SUMMARIES = sum(Summary)

Number = int | float


class Stamped(NamedTuple):
    """A number or a blank, and when it was taken, in µs."""

    timestamp: int
    value: Number


def summarize(samples: Iterable[tuple[int, Value]], kind: str, mask: int) -> list[Number]:
    """Return what the mask asks for, in the order of its bits; blanks where all is blank."""
    taken = [Stamped(time, value) for time, value in samples if not isinstance(value, str)]
    places = [index for index, one in enumerate(taken) if not is_sentinel(one.value)]
    wanted = [one for one in Summary if mask & one]
    if not places:
        return [_number(sentinel(kind)) for _ in wanted]
    values = [taken[index].value for index in places]
    total, count = sum(values), places[-1] + 1
    found: dict[Summary, Number] = {
        Summary.MIN: min(values),
        Summary.MAX: max(values),
        Summary.AVG: _quotient(total, count),
        Summary.SUM: total,
        Summary.COUNT: count,
        Summary.INTEGRAL: sum(_areas(taken, places)),
        Summary.DIFF: values[-1] - values[0],
    }
    return [_wrapped(found[one]) if kind == "i" else float(found[one]) for one in wanted]


def _areas(taken: list[Stamped], places: list[int]) -> Iterable[Number]:
    """Yield the area before each number but the first sample."""
    for index in places:
        if index:
            before, here = taken[index - 1], taken[index]
            height = _quotient(_wrapped(before.value + here.value), 2)
            yield _wrapped(height * (here.timestamp - before.timestamp))


def _quotient(number: Number, divisor: int) -> Number:
    """Divide as C does: integers towards zero."""
    if isinstance(number, float):
        return number / divisor
    return abs(number) // divisor * (1 if number >= 0 else -1)


def _wrapped(number: Number) -> Number:
    """Return what is left of a number in 64 bits."""
    if isinstance(number, float):
        return number
    return (number + 2**63) % 2**64 - 2**63


def _number(value: Value) -> Number:
    assert not isinstance(value, str), "only numbers are summarized"
    return value
