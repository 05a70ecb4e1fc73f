"""Define what a page is made of: families of samples, gathered into one snapshot.

Samples are plain values. Their label blocks are already rendered, because labels rarely
change while values change every cycle.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple


class MetricType(Enum):
    """The TYPE of a family, as the text format spells it."""

    GAUGE = "gauge"
    COUNTER = "counter"
    UNTYPED = "untyped"

    # Enum's own hash is written in Python, and every lookup of a head would call it.
    __hash__ = object.__hash__


class Sample(NamedTuple):
    """The current value of one series.

    ``labels`` is the rendered label block without braces (``gpu="0",UUID="…"``),
    ``value`` the number as printed on the page.
    """

    labels: str
    value: str


@dataclass(frozen=True, slots=True)
class Family:
    """All samples of one metric name."""

    name: str
    type: MetricType
    help: str
    samples: tuple[Sample, ...]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The families of one cycle, in the order of the counter set."""

    families: tuple[Family, ...] = ()
