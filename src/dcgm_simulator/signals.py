"""Numbers that change: reproducible, smooth, and a little correlated, as on a busy machine.

Every value is a function of the seed, the entity, the field and the time, so a sample can
be computed on demand and is the same for every reader.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

from dcgm_simulator.codes import Value, is_sentinel

PERIODS = (41.0, 127.0, 613.0)
"""Periods, in seconds, of the three waves that make up the load of a GPU."""
WEIGHTS = (0.12, 0.18, 0.15)
PARTS = 16
"""The number of parts of a span in computing its mean; they are short compared with any wave."""
LAG = 8_000_000
"""Microseconds by which temperature lags behind load."""

Source = Callable[[int], Value]
"""The value at a time, in microseconds since 1970."""


class Load:
    """How busy one GPU is: a sum of three waves around its own mean."""

    def __init__(self, seed: int, gpu: int) -> None:
        generator = random.Random(f"{seed}/gpu{gpu}")
        self._mean = generator.uniform(0.45, 0.54)
        self._waves = [
            (
                weight,
                math.tau / (period * generator.uniform(0.8, 1.25)),
                generator.uniform(0, math.tau),
            )
            for weight, period in zip(WEIGHTS, PERIODS, strict=True)
        ]
        self._last: tuple[int, float] = (-1, 0.0)
        self._rests: list[tuple[int, float]] = []

    def rest(self, now: int) -> None:
        """Be idle from now on."""
        if not self._rests or self._rests[-1][1] < math.inf:
            self._rests.append((now, math.inf))
        self._last = (-1, 0.0)

    def go_on(self, now: int) -> None:
        """Be busy again."""
        if self._rests and self._rests[-1][1] == math.inf:
            self._rests[-1] = self._rests[-1][0], now
        self._last = (-1, 0.0)

    def at(self, time: int) -> float:
        """Return the load, between 0 and 1."""
        if any(start <= time < end for start, end in self._rests):
            return 0.0
        if self._last[0] != time:
            seconds = time / 1e6
            waves = sum(w * math.sin(speed * seconds + phase) for w, speed, phase in self._waves)
            self._last = time, min(1.0, max(0.0, self._mean + waves))
        return self._last[1]

    def integral(self, start: int, end: int) -> float:
        """Return the load summed over time, in seconds."""
        rests = ((max(start, a), min(end, b)) for a, b in self._rests if a < end and b > start)
        return self._busy(start, end) - sum(self._busy(a, b) for a, b in rests)

    def _busy(self, start: int, end: float) -> float:
        first, last = start / 1e6, end / 1e6
        waves = sum(
            w / speed * (math.cos(speed * first + phase) - math.cos(speed * last + phase))
            for w, speed, phase in self._waves
        )
        return self._mean * (last - first) + waves


def constant(value: Value) -> Source:
    """Return a source that never changes."""
    return lambda _time: value


def linear(load: Load, kind: str, offset: float, slope: float, lag: int = 0) -> Source:
    """Return a source that follows a GPU's load."""
    if kind == "d":
        return lambda time: max(0.0, offset + slope * load.at(time - lag))
    return lambda time: max(0, round(offset + slope * load.at(time - lag)))


def counter(start: int, rate: float, since: int, name: str) -> Source:
    """Return a source that grows by about `rate` per second from `start`."""
    pace = rate * random.Random(name).uniform(0.7, 1.3)
    return lambda time: start + max(0, int(pace * (time - since) / 1e6))


def energy(load: Load, start: int, offset: float, slope: float, since: int) -> Source:
    """Return a source of the energy in mJ used by a power of offset + slope * load watts."""

    def value(time: int) -> Value:
        seconds = (time - since) / 1e6
        return start + int(1000 * (offset * seconds + slope * load.integral(since, time)))

    return value


def between(kind: str, low: float, high: float, name: str) -> Source:
    """Return a source that wanders slowly between two bounds."""
    generator = random.Random(name)
    speed = math.tau / generator.uniform(90, 400)
    phase = generator.uniform(0, math.tau)

    def value(time: int) -> Value:
        share = 0.5 + 0.5 * math.sin(speed * time / 1e6 + phase)
        number = low + (high - low) * share
        return float(number) if kind == "d" else round(number)

    return value


def mean(source: Source, kind: str, start: int, end: int) -> Value:
    """Return the mean of a source of numbers over a span, from many short parts."""
    part = (end - start) / PARTS
    values = [source(round(start + (number + 0.5) * part)) for number in range(PARTS)]
    numbers = [v for v in values if not isinstance(v, str) and not is_sentinel(v)]
    if len(numbers) < PARTS:
        return next(v for v in values if isinstance(v, str) or is_sentinel(v))
    if min(numbers) == max(numbers):
        return values[0]  # exactly, which a sum divided by their number is not
    total = sum(numbers)
    return total / PARTS if kind == "d" else round(total / PARTS)


def elapsed(since: int) -> Source:
    """Return a source of the seconds since a time, so that a mean reveals its span."""
    return lambda time: (time - since) / 1e6
