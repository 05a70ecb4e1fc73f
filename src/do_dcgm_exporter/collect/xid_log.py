"""Remember which XIDs occurred, when and how often, across connections to the engine.

The engine replays the events it keeps to every new connection, so the log remembers which
events of each entity it has taken, and takes none twice. Timestamps may go backwards, because
the wall clock they come from may be set back; windows go by a clock that cannot be set.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from do_dcgm_exporter.collect.sample_ages import Moment, age_at
from do_dcgm_exporter.dcgm.entities import Entity

# These are reported twice, by NVML and from the kernel log, 0.75 s apart (observed); the limit
# is in microseconds.
_REPORTED_TWICE = frozenset({79, 119, 120})
_TWICE_WITHIN = 2_000_000

# The engine handles one XID a second (observed) and keeps XIDs for ten minutes. The log
# remembers twice as many events, and events for twice as many seconds.
_REMEMBERED = 1200


class XidEvent(NamedTuple):
    """An XID and when the engine handled it, in microseconds since 1970."""

    timestamp: int
    xid: int


class CountedXid(NamedTuple):
    """An event that was counted, and when it happened by the clock that cannot be set."""

    event: XidEvent
    at: float


class SeenXid(NamedTuple):
    """The newest occurrence of an XID on an entity, and how often it was counted."""

    timestamp: int
    xid: int
    entity: Entity
    total: int


@dataclass(slots=True)
class XidHistory:
    """The XIDs of one entity.

    ``taken`` are the events that the engine may replay, ``counted`` those that are not second
    reports, and ``early`` those of a reading that broke off, to be taken with the next one.
    ``read`` is when the engine last reported on the entity's XIDs, None before the first time.
    ``newest_by_xid`` (µs) is in counting order.
    """

    taken: deque[XidEvent] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    read: Moment | None = None
    counted: deque[CountedXid] = field(default_factory=deque)
    early: set[XidEvent] = field(default_factory=set)
    totals: Tally[int] = field(default_factory=Tally)
    newest_by_xid: dict[int, int] = field(default_factory=dict)

    @property
    def read_until(self) -> int:
        """The timestamp (µs) of the event taken last, -1 before the first."""
        return self.taken[-1].timestamp if self.taken else -1

    @property
    def newest(self) -> XidEvent | None:
        """The event counted last."""
        xid = next(reversed(self.newest_by_xid), None)
        return None if xid is None else XidEvent(self.newest_by_xid[xid], xid)

    def count(self, event: XidEvent, now: Moment) -> None:
        """Count ``event`` everywhere but in the totals."""
        age = age_at(now, self.read, event.timestamp / 1e6)
        if self.read is not None:
            # It is new since then, however often the clock was set.
            age = min(max(age, 0.0), now.boot - self.read.boot)
        self.counted.append(CountedXid(event, now.boot - age))
        self.newest_by_xid.pop(event.xid, None)
        self.newest_by_xid[event.xid] = event.timestamp


class XidLog:
    """The XIDs of all entities, with totals that start when the log is created.

    An earlier XID is shown as the last one and counted in the window but not in the totals,
    which would otherwise grow by the same XIDs at each restart of this program.
    XIDs are stamped by ``wall_clock``; ``boot_clock`` cannot be set (both in seconds).
    """

    def __init__(
        self, window: float, wall_clock: Callable[[], float], boot_clock: Callable[[], float]
    ) -> None:
        self.window = window
        self._wall_clock = wall_clock
        self._boot_clock = boot_clock
        self._made_at = boot_clock()
        self._counting_from = int(wall_clock() * 1e6)
        self._histories: defaultdict[Entity, XidHistory] = defaultdict(XidHistory)

    def look_at_the_clocks(self) -> None:
        """Notice when the wall clock was set back, as new XIDs then look old."""
        made_at = self._wall_clock() - (self._boot_clock() - self._made_at)
        self._counting_from = min(self._counting_from, int(made_at * 1e6))

    def of(self, entity: Entity) -> XidHistory:
        """Return the history of ``entity``."""
        return self._histories[entity]

    def add(self, entity: Entity, events: Iterable[XidEvent]) -> None:
        """Take those of ``events`` that are new, and those that were held."""
        self.look_at_the_clocks()
        history = self._histories[entity]
        found = sorted({*events, *history.early})
        history.early.clear()
        for event in found:
            if event in history.taken:
                continue
            history.taken.append(event)
            if not _is_second_report(event, history):
                self._count(event, history)

    def hold(self, entity: Entity, events: Iterable[XidEvent]) -> None:
        """Hold ``events`` of a reading that broke off, as earlier ones may be missing."""
        self._histories[entity].early.update(events)

    def take_held(self) -> None:
        """Take held events that were not replayed, because their engine is gone."""
        for entity, history in self._histories.items():
            if history.early:
                self.add(entity, ())

    def forget(self, entity: Entity) -> None:
        """Drop the counts of an instance that is gone, as its id may be reused."""
        before = self._histories[entity]
        self._histories[entity] = XidHistory(before.taken, before.read)

    def note_read(self, entities: Iterable[Entity]) -> None:
        """Note that the engine has reported on ``entities``, so that further XIDs are new."""
        now = self._now()
        for entity in entities:
            self._histories[entity].read = now

    def in_window(self, entity: Entity, now: float) -> Tally[int]:
        """Return how often each XID occurred in the window before ``now`` by the boot clock."""
        counted = self._histories[entity].counted
        # Its second report may be read as late as the engine forgets it.
        while len(counted) > _REMEMBERED and now - counted[0].at > self.window:
            counted.popleft()
        # What the first reading tells may seem to be yet to come, if the clock was set back.
        return Tally(known.event.xid for known in counted if abs(now - known.at) <= self.window)

    def newest(self, count: int) -> list[SeenXid]:
        """Return the ``count`` newest XIDs on all entities, newest first."""
        seen = (
            SeenXid(timestamp, xid, entity, history.totals[xid])
            for entity, history in self._histories.items()
            for xid, timestamp in history.newest_by_xid.items()
        )
        return sorted(seen, reverse=True)[:count]

    def _now(self) -> Moment:
        return Moment(self._wall_clock(), self._boot_clock())

    def _count(self, event: XidEvent, history: XidHistory) -> None:
        history.count(event, self._now())
        if history.read is not None or event.timestamp >= self._counting_from:
            history.totals[event.xid] += 1


def _is_second_report(event: XidEvent, history: XidHistory) -> bool:
    """Return whether ``event`` repeats one that was already counted."""
    return event.xid in _REPORTED_TWICE and any(
        known.xid == event.xid and abs(known.timestamp - event.timestamp) <= _TWICE_WITHIN
        for known, _ in history.counted
    )
