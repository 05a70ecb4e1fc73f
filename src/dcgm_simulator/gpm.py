"""Profiling through GPM: which samples of the counters exist, and what a value spans.

An engine samples the counters of an entity and keeps some of the samples. A value is the
mean between the newest one and a baseline at least an update interval older; without a
baseline it is blank. The watches determine how often samples are taken and how long they are
kept, by the rules of DcgmGpmManager.cpp and DcgmWatchTable.cpp, which this file repeats.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from dcgm_simulator.series import NEVER, SECOND, Series, Watch
from dcgm_simulator.versions import Behaviour, GpmRetention

DEFAULT_AGE = 30 * SECOND
"""DCGM_MAX_AGE_USEC_DEFAULT: whenever a watch ends, the age of its field is capped at this."""
SLACK = 3
"""Samples are kept this many times longer than a watch asks for."""
REMEMBERED = 1024


class Span(NamedTuple):
    """What one reading of a field covers, in µs; without a baseline it is blank."""

    time: int
    baseline: int | None
    newest: int


@dataclass
class GpmField:
    """The watches of a field of one entity, and its readings."""

    watches: dict[int, tuple[int, int]] = field(default_factory=dict)
    """Interval and age by connection, as first asked for: watching again changes neither."""
    interval: int = NEVER
    age: int = 0
    spans: deque[Span] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    read_until: int = -1

    def add(self, connection: int, interval: int, age: int) -> None:
        """Add a watch; this never lengthens the interval nor shortens the age."""
        self.interval = min(self.interval, interval)
        self.age = max(self.age, age)
        self.watches.setdefault(connection, (interval, age))

    def remove(self, connection: int) -> None:
        """End a watch: the others now decide, but no sample is kept longer than the default."""
        if self.watches.pop(connection, None) is not None:
            self.interval = min((own for own, _ in self.watches.values()), default=NEVER)
            self.age = min((own for _, own in self.watches.values()), default=DEFAULT_AGE)
            self.age = min(self.age, DEFAULT_AGE)


@dataclass
class GpmEntity:
    """The counters of one GPU or instance."""

    behaviour: Behaviour
    is_lost: Callable[[int], bool]
    """Whether the hardware does not answer at a time."""
    fields: dict[int, GpmField] = field(default_factory=dict)
    samples: list[int] = field(default_factory=list)
    """Times of the samples that are kept, oldest first."""

    def watch(self, connection: int, field_id: int, watch: Watch, now: int) -> None:
        """Watch a field for a connection."""
        own = self.fields.setdefault(field_id, GpmField())
        if not own.watches:
            own.read_until = min(own.read_until, now - 1)
        by_count = SLACK * watch.keep_samples * self.longest_interval
        own.add(connection, watch.interval, max(SECOND, int(watch.keep_age) * SECOND, by_count))

    @property
    def longest_interval(self) -> int:
        """The longest interval of any field, 0 without a watch."""
        return max((f.interval for f in self.fields.values() if f.watches), default=0)

    @property
    def age(self) -> int:
        """How long samples are kept."""
        by_watches = max((f.age for f in self.fields.values() if f.watches), default=0)
        longest = self.longest_interval
        if self.behaviour.gpm_retention is GpmRetention.WATCHES:
            return by_watches
        if self.behaviour.gpm_retention is GpmRetention.WATCHES_OR_TWO_INTERVALS:
            return max(2 * longest, by_watches)
        return 2 * longest + min(longest, SECOND)

    def is_settled(self, until: int) -> bool:
        """Return whether all readings due up to a time have been taken."""
        return all(own.read_until >= until for own in self.fields.values())

    def settle(self, series: Mapping[int, Series], until: int) -> None:
        """Take all readings due up to a time, except those too old to matter."""
        for time, field_id in sorted(self._due(series, until)):
            self._read(field_id, time)
        for own in self.fields.values():
            own.read_until = max(own.read_until, until)

    def _due(self, series: Mapping[int, Series], until: int) -> Iterator[tuple[int, int]]:
        matters = until - 3 * (self.age + 2 * self.longest_interval)
        for field_id, own in self.fields.items():
            after = max(own.read_until, min(matters, until - series[field_id].retention))
            yield from ((time, field_id) for time in series[field_id].taken(after, until))

    def _read(self, field_id: int, time: int) -> None:
        own, lost = self.fields[field_id], self.is_lost(time)
        del self.samples[: bisect_right(self.samples, time - self.age)]
        if not self.samples or time - self.samples[-1] >= own.interval:
            if lost:
                if not self.behaviour.freezes_profiling_of_lost_gpu:
                    own.spans.append(Span(time, None, time))
                return
            self.samples.append(time)
        newest = self.samples[-1]
        older = bisect_right(self.samples, newest - own.interval)
        found = older >= self.behaviour.gpm_samples_before
        own.spans.append(Span(time, self.samples[older - 1] if found else None, newest))

    def shift(self, microseconds: int) -> None:
        """Move all times, after the wall clock was set."""
        self.samples = [time + microseconds for time in self.samples]
        for own in self.fields.values():
            own.read_until += microseconds
            moved = (
                Span(s.time + microseconds, s.baseline and s.baseline + microseconds,
                     s.newest + microseconds)
                for s in own.spans
            )  # fmt: skip
            own.spans = deque(moved, maxlen=REMEMBERED)

    def span(self, field_id: int, time: int) -> Span | None:
        """Return what the reading of a field at a time covers."""
        own = self.fields.get(field_id)
        spans = reversed(own.spans) if own else iter(())
        return next((span for span in spans if span.time <= time), None)
