"""When samples are taken: watches, and the history they leave.

Nothing runs in the background. A series remembers since when, until when and how
often it was sampled; which samples exist follows from that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SECOND = 1_000_000
NEVER = 1 << 62


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
        """Return for how many µs samples are kept (DcgmUtilities.cpp: by age only)."""
        by_count = 1.1 * self.interval * self.keep_samples
        return int(max(SECOND, self.keep_age * SECOND, by_count))

    @property
    def keeps_only_newest(self) -> bool:
        """Return whether of events only the newest survives (observed with 0.0 s, 1 sample)."""
        return not self.keep_age and self.keep_samples == 1


@dataclass
class Segment:
    """A stretch of time during which samples are taken at a fixed interval."""

    start: int
    interval: int
    warm: int
    """From when PROF fields have values; before, they are blank."""
    end: int = NEVER

    def last(self, until: int) -> int:
        """Return the time of the last sample not after `until`."""
        return self.start + (min(until, self.end) - self.start) // self.interval * self.interval


def warm_up(start: int, interval: int) -> int:
    """Return from when PROF fields have values (observed: 40 s at 20 s, 1 s at 1 s)."""
    return start + (interval if interval <= SECOND else 2 * interval)


@dataclass
class Series:
    """The samples of one field of one entity; shared by all connections."""

    watches: dict[int, Watch] = field(default_factory=dict)
    """By connection: one connection holds one watch per entity and field."""
    segments: list[Segment] = field(default_factory=list)
    retention: int = SECOND

    def watch(self, connection: int, watch: Watch, now: int) -> None:
        """Start a watch, or replace the one the connection had."""
        self.watches[connection] = watch
        self._reschedule(now)

    def unwatch(self, connection: int, now: int) -> None:
        """End the connection's watch, if any; old samples stay."""
        if self.watches.pop(connection, None) is not None:
            self._reschedule(now)

    def _reschedule(self, now: int) -> None:
        current = self.segments[-1] if self.segments and self.segments[-1].end == NEVER else None
        if not self.watches:
            if current is not None:
                current.end = now
            return
        interval = min(watch.interval for watch in self.watches.values())
        self.retention = max(watch.retention for watch in self.watches.values())
        if current is None:
            self._begin(Segment(now, interval, warm_up(now, interval)))
        elif current.interval != interval:
            last = current.last(now)
            current.end = now
            start = last if now - last < interval else now
            self._begin(Segment(start, interval, min(current.warm, warm_up(now, interval))))

    def _begin(self, segment: Segment) -> None:
        horizon = segment.start - max(self.retention, SECOND)
        self.segments = [old for old in self.segments if old.end >= horizon][-64:]
        self.segments.append(segment)

    def last(self, now: int) -> int | None:
        """Return the time of the newest sample."""
        return self.segments[-1].last(now) if self.segments else None

    def times(self, since: int, until: int) -> list[int]:
        """Return the times of all samples kept from `since` to `until`, both included."""
        newest = self.last(until)
        if newest is None:
            return []
        oldest = max(since, newest - self.retention)
        found: set[int] = set()
        for segment in self.segments:
            skipped = max(0, -(-(oldest - segment.start) // segment.interval))
            first = segment.start + skipped * segment.interval
            found.update(range(first, min(until, segment.end) + 1, segment.interval))
        return sorted(found)

    def is_warm(self, time: int) -> bool:
        """Return whether a PROF sample of that time has a value."""
        segment = next((s for s in reversed(self.segments) if s.start <= time <= s.end), None)
        return segment is not None and time >= segment.warm
