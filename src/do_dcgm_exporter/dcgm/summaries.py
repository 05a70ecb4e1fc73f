"""What the engine says the samples of a field come to, and what that is worth.

All releases from 3.1.8 to 4.6.0 compute alike (GetInt64SummaryData and GetFp64SummaryData in
DcgmCacheManager.cpp). Minimum, maximum and sum leave blanks out, but the count has those before
the last number, and an average is cut to a whole number for integers. So the mean is made here,
and only where no blank was counted. A mean below the minimum tells, and so does the integral: one
that begins with a blank is out of all bounds, except that an integer blank is lost in 64 bits if
the time to the next sample happens to be a multiple of 4 µs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from do_dcgm_exporter.dcgm.decoding import RawValue, Reading, read_value
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import ReturnCode

# DCGM_SUMMARY_MIN, _MAX, _SUM, _COUNT and _INTEGRAL; answers come in this order.
SUMMARY_MASK = 1 | 2 | 8 | 16 | 32

# Sums and integrals are made of as many roundings as there are samples.
_ROUNDING = 1e-6

Number = int | float


@dataclass(frozen=True, slots=True)
class Summary:
    """Lowest and highest sample, and the mean of all, None if blanks may be among them."""

    lowest: Reading
    highest: Reading
    mean: float | None

    @property
    def has_blanks(self) -> bool:
        """Whether there are numbers, and blanks among them."""
        return self.mean is None and isinstance(self.highest, int | float)

    def without_mean(self) -> Summary:
        """Return the extremes alone."""
        return replace(self, mean=None)


def read_summary(
    entity: Entity, field_id: int, answers: Sequence[Number], microseconds: int
) -> Summary:
    """Judge the ``answers`` of a summary of samples that span ``microseconds`` at most."""
    lowest, highest = (
        read_value(RawValue(entity, field_id, ReturnCode.OK, 0, answer)) for answer in answers[:2]
    )
    _, _, total, count, integral = answers
    if not isinstance(lowest, int | float) or not isinstance(highest, int | float):
        return Summary(lowest, highest, None)
    largest = max(abs(lowest), abs(highest))
    mean, slack = total / count, largest * _ROUNDING
    has_blanks = abs(integral) > largest * microseconds * (1 + _ROUNDING)
    if has_blanks or not lowest - slack <= mean <= highest + slack:
        return Summary(lowest, highest, None)
    return Summary(lowest, highest, min(max(mean, lowest), highest))
