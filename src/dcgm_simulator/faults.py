"""The faults that have been injected, and when.

As on real hardware, a sample shows the faults of the moment it was taken: a value that
is set appears with the next sample of a watch, and earlier samples do not change.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from dcgm_simulator.codes import Value
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import NEVER, SECOND
from dcgm_simulator.signals import Source

NOTICED_AFTER = SECOND
"""Microseconds after which engines that look for lost GPUs have noticed one (recorded)."""


@dataclass
class Span:
    """When a fault begins and ends, in µs."""

    start: int
    end: int = NEVER

    def covers(self, time: int) -> bool:
        """Return whether the fault holds at a time."""
        return self.start <= time < self.end


@dataclass
class Override(Span):
    """A value set by hand, or a status instead of one."""

    value: Value = 0
    status: int = 0
    source: Source | None = None
    """A changing value, if any."""


@dataclass
class Faults:
    """All faults injected so far."""

    lost: dict[int, list[Span]] = field(default_factory=lambda: defaultdict(list))
    frozen: dict[int, list[Span]] = field(default_factory=lambda: defaultdict(list))
    stalled: dict[int | None, list[Span]] = field(default_factory=lambda: defaultdict(list))
    """When a GPU (None: any GPU) was not sampled because a call to the driver did not return."""
    overrides: dict[tuple[Entity, int], list[Override]] = field(
        default_factory=lambda: defaultdict(list)
    )
    library_fails: list[Span] = field(default_factory=list)
    """When all failed that NVML does without a device: what is of the host, and profiling."""
    driver_dead: Span | None = None
    """After an XID 119 in the kernel log, the engine no longer asks the driver."""
    refused: dict[str, int] = field(default_factory=dict)
    """Functions that always fail, and the status, by name."""
    slow: dict[str, float] = field(default_factory=dict)
    """Seconds by which answers of a function are delayed, by name."""
    profiling_needs_root: bool = False
    """Whether the driver restricts profiling to administrators, and the engine is not one."""
    lacks_hwmon: bool = False
    """Whether /sys/class/hwmon is missing on the engine's machine."""
    generation: int = 0
    """Grows with every change, to invalidate what was computed before."""

    @property
    def none(self) -> bool:
        """Return whether nothing was ever injected, the case that has to be fast."""
        return not self.generation

    def lose(self, gpu: int, now: int) -> None:
        """Make a GPU fall off the bus."""
        if not covering(self.lost[gpu], now):
            self.lost[gpu].append(Span(now))
        self.generation += 1

    def restore(self, gpu: int, now: int) -> None:
        """Bring a lost GPU back."""
        self._end(self.lost[gpu], now)

    def freeze(self, field_id: int, now: int) -> None:
        """Stop sampling a field; its timestamps stand still."""
        self.frozen[field_id].append(Span(now))
        self.generation += 1

    def thaw(self, field_id: int, now: int) -> None:
        """Sample a frozen field again."""
        self._end(self.frozen[field_id], now)

    def stall(self, gpu: int | None, now: int) -> None:
        """Stop sampling a GPU, or all; what was sampled before stays readable."""
        self.stalled[gpu].append(Span(now + 1))  # a sample of this very moment counts
        self.generation += 1

    def go_on(self, now: int) -> None:
        """Sample all GPUs again."""
        for spans in self.stalled.values():
            self._end(spans, now)

    def stalled_since(self, gpu: int | None, time: int) -> int | None:
        """Return since when nothing of a GPU is sampled at a time, or None."""
        spans = (covering(self.stalled.get(key, ()), time) for key in {gpu, None})
        return min((span.start for span in spans if span), default=None)

    def override(self, entity: Entity, field_id: int, override: Override) -> None:
        """Replace what a field answers."""
        self._end(self.overrides[entity, field_id], override.start)
        self.overrides[entity, field_id].append(override)

    def release(self, entity: Entity, field_id: int, now: int) -> None:
        """End an override."""
        self._end(self.overrides[entity, field_id], now)

    def fail_library(self, now: int) -> None:
        """Let all fail that NVML does without a device."""
        self.library_fails.append(Span(now))
        self.generation += 1

    def kill_driver(self, now: int) -> None:
        """Blank everything, until the engine is restarted."""
        self.driver_dead = self.driver_dead or Span(now)
        self.generation += 1

    def clear(self) -> None:
        """Forget every fault, past ones included."""
        self.lost.clear()
        self.frozen.clear()
        self.stalled.clear()
        self.overrides.clear()
        self.library_fails.clear()
        self.driver_dead = None
        self.refused.clear()
        self.slow.clear()
        self.profiling_needs_root = self.lacks_hwmon = False
        self.generation += 1

    def _end(self, spans: Iterable[Span], now: int) -> None:
        for span in spans:
            span.end = min(span.end, now)
        self.generation += 1

    def lost_since(self, gpu: int | None, time: int) -> int | None:
        """Return since when a GPU is lost at a time, or None."""
        span = covering(self.lost.get(gpu, ()), time) if gpu is not None else None
        return span.start if span else None

    def noticed_lost_since(self, gpu: int | None, time: int) -> int | None:
        """Return since when engines that look for lost GPUs know that one is, or None."""
        since = self.lost_since(gpu, time)
        noticed = None if since is None else since + NOTICED_AFTER
        return noticed if noticed is not None and noticed <= time else None


def covering(spans: Iterable[Span], time: int) -> Span | None:
    """Return the newest span that covers a time."""
    found = None
    for span in spans:
        if span.covers(time):
            found = span
    return found
