"""What a page is made of: families of samples, gathered into one snapshot.

Samples are plain values. Label blocks arrive rendered, because the labels of an
entity change only with the topology while its values change every cycle.
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

    # Enum's own is a function in Python, which every look-up of a head would call.
    __hash__ = object.__hash__


class Sample(NamedTuple):
    """One series' value now.

    ``labels`` is the rendered label block without braces (``gpu="0",UUID="…"``),
    ``value`` the number as the page prints it.
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
