"""Watches, and the times of the samples they cause.

Nothing runs in the background. A series remembers from when to when and how often it was
sampled, which determines its samples.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

SECOND = 1_000_000
NEVER = 1 << 62
REMEMBERED = 64
"""Segments to keep."""


@dataclass(frozen=True)
class Watch:
    """What one connection asked of one field of one entity."""

    interval: int
    """Microseconds."""
    keep_age: float
    """Seconds."""
    keep_samples: int

    @property
    def retention(self) -> int:
        """Return how many µs samples are kept for (DcgmUtilities.cpp: by age only)."""
        by_count = 1.1 * self.interval * self.keep_samples
        return int(max(SECOND, self.keep_age * SECOND, by_count))

    @property
    def keeps_only_newest(self) -> bool:
        """Return whether only the newest event is kept (observed with 0.0 s, 1 sample)."""
        return not self.keep_age and self.keep_samples == 1


@dataclass
class Segment:
    """A stretch of time during which samples are taken at a fixed interval."""

    start: int
    interval: int
    end: int = NEVER
    due: int | None = None
    """When the first sample was due, if the engine slept through it."""

    def last(self, until: int) -> int:
        """Return the time of the last sample not after `until`."""
        return self.start + (min(until, self.end) - self.start) // self.interval * self.interval


@dataclass
class Series:
    """The samples of one field of one entity; shared by all connections."""

    watches: dict[int, Watch] = field(default_factory=dict)
    """By connection, which has one watch per entity and field."""
    segments: list[Segment] = field(default_factory=list)
    retention: int = SECOND
    samples_at_once: bool = True
    """Whether the first watch samples at once, as on GPUs. Elsewhere, a field sampled less than
    an interval ago is not sampled again (DcgmCacheManager::AddEntityFieldWatch)."""

    def watch(self, connection: int, watch: Watch, now: int, wakes: int = 0) -> bool:
        """Start a watch, or replace the connection's.

        Returns whether a first sample is taken at once. Other samples that are due wait until the
        engine `wakes`.
        """
        self.watches[connection] = watch
        return self._reschedule(now, wakes)

    def wake(self, now: int) -> None:
        """Sample now what the engine would have slept through."""
        newest = self.segments[-1] if self.segments else None
        if newest is not None and newest.due is not None and newest.start > now:
            newest.start = max(now, newest.due)

    def next_sample(self, now: int) -> int:
        """Return when the engine plans the next sample."""
        newest = self.segments[-1] if self.watches else None
        if newest is None:
            return NEVER
        return newest.start if newest.start > now else newest.last(now) + newest.interval

    def unwatch(self, connection: int, now: int) -> None:
        """End the connection's watch, if any; earlier samples stay."""
        if self.watches.pop(connection, None) is not None:
            self._reschedule(now)

    def _reschedule(self, now: int, wakes: int = 0) -> bool:
        current = self.segments[-1] if self.segments and self.segments[-1].end == NEVER else None
        if not self.watches:
            if current is not None:
                current.end = now
            return False
        interval = min(watch.interval for watch in self.watches.values())
        self.retention = max(watch.retention for watch in self.watches.values())
        if current is None:
            last = self.last(now)
            if self.samples_at_once or last is None:
                self._begin(Segment(now, interval))
                return True
            due = max(now, last + interval)
            self._begin(Segment(max(due, wakes), interval, due=due))
        elif current.interval != interval:
            last = current.last(now)
            current.end = now
            due = max(now, last + interval)
            sooner = interval < current.interval
            self._begin(Segment(max(due, wakes) if sooner else due, interval, due=due))
        return False

    def _begin(self, segment: Segment) -> None:
        self.segments = [*self.segments[-REMEMBERED:], segment]

    def last(self, now: int) -> int | None:
        """Return the time of the newest sample."""
        begun = next((s for s in reversed(self.segments) if s.start <= now), None)
        return begun.last(now) if begun else None

    def taken(self, after: int, until: int) -> Iterator[int]:
        """Yield the times of all samples later than `after` up to `until`, kept or not."""
        for segment in self.segments:
            if segment.end <= after:
                continue
            skipped = max(0, (after - segment.start) // segment.interval + 1)
            first = segment.start + skipped * segment.interval
            yield from range(first, min(until, segment.end) + 1, segment.interval)

    def times(self, since: int, until: int) -> list[int]:
        """Return the times of all samples kept from `since` to `until`, both included."""
        newest = self.last(until)
        if newest is None:
            return []
        oldest = max(since, newest - self.retention)
        return sorted(set(self.taken(oldest - 1, until)))
