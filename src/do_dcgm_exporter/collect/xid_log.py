"""Remembers XIDs: how many, which, when. It outlives connections to the engine.

The engine replays what it has kept to every new connection, so the log knows which
events it has taken of each entity, and takes none twice. Their times need not ascend: the
wall clock, which they are stamped by, may be set back.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from do_dcgm_exporter.dcgm.entities import Entity

# These arrive twice, by NVML event and from the kernel log, 0.75 s apart (observed).
_REPORTED_TWICE = frozenset({79, 119, 120})
_TWICE_WITHIN = 2_000_000

# The engine handles an XID a second (observed) and keeps them for ten minutes: twice as many
# events, and twice as many seconds, are remembered.
_REMEMBERED = 1200


class XidEvent(NamedTuple):
    """An XID and when the engine handled it, in microseconds since 1970."""

    timestamp: int
    xid: int


class SeenXid(NamedTuple):
    """The newest of one XID on one entity, and how often it was counted."""

    timestamp: int
    xid: int
    entity: Entity
    total: int


@dataclass(slots=True)
class XidHistory:
    """What is known of one entity.

    ``taken`` are the events that the engine may tell again, ``counted`` those of them that are
    no second reports, and ``early`` those of a reading that broke off, to be taken with what
    the next one finds. ``was_read`` is whether the engine has told of the entity's XIDs before.
    ``newest_by_xid`` (µs) is in the order of counting.
    """

    taken: deque[XidEvent] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    was_read: bool = False
    counted: deque[XidEvent] = field(default_factory=deque)
    early: set[XidEvent] = field(default_factory=set)
    totals: Tally[int] = field(default_factory=Tally)
    newest_by_xid: dict[int, int] = field(default_factory=dict)

    @property
    def read_until(self) -> int:
        """The timestamp of the event taken last, -1 before the first."""
        return self.taken[-1].timestamp if self.taken else -1

    @property
    def newest(self) -> XidEvent | None:
        """The event counted last."""
        xid = next(reversed(self.newest_by_xid), None)
        return None if xid is None else XidEvent(self.newest_by_xid[xid], xid)

    def count(self, event: XidEvent) -> None:
        """Count ``event``, in everything but the totals."""
        self.counted.append(event)
        self.newest_by_xid.pop(event.xid, None)
        self.newest_by_xid[event.xid] = event.timestamp


class XidLog:
    """XIDs of all entities; the totals begin when it is made.

    An XID from before that is shown as the last one and in the window, but not counted
    in the totals: they would grow by the same XIDs at each restart of this program.
    XIDs have the time of the ``wall_clock``; nobody sets the ``boot_clock`` (both in seconds).
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
        """Find out whether the wall clock was set back: what is new seems to be old then."""
        made_at = self._wall_clock() - (self._boot_clock() - self._made_at)
        self._counting_from = min(self._counting_from, int(made_at * 1e6))

    def of(self, entity: Entity) -> XidHistory:
        """Return the history of ``entity``."""
        return self._histories[entity]

    def add(self, entity: Entity, events: Iterable[XidEvent]) -> None:
        """Take those ``events`` that are new, and those that were held."""
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
        """Keep ``events`` of a reading that broke off; there may be others before them."""
        self._histories[entity].early.update(events)

    def take_held(self) -> None:
        """Take what was held and not told again: that engine has gone."""
        for entity, history in self._histories.items():
            if history.early:
                self.add(entity, ())

    def forget(self, entity: Entity) -> None:
        """Drop what is known of an instance that is gone; its id may be given out again."""
        before = self._histories[entity]
        self._histories[entity] = XidHistory(before.taken, before.was_read)

    def note_read(self, entities: Iterable[Entity]) -> None:
        """Note that the engine has told of the XIDs of ``entities``: what comes next is new."""
        for entity in entities:
            self._histories[entity].was_read = True

    def in_window(self, entity: Entity, now: float) -> Tally[int]:
        """Return how often each XID came within the window before ``now`` (Unix seconds)."""
        counted = self._histories[entity].counted
        # What is ahead by more than that is from before the clock was set back.
        while counted and _distance(counted[0], now) > max(self.window, _REMEMBERED):
            counted.popleft()
        return Tally(event.xid for event in counted if _distance(event, now) <= self.window)

    def newest(self, count: int) -> list[SeenXid]:
        """Return the ``count`` XIDs seen last on all entities, the newest first."""
        seen = (
            SeenXid(timestamp, xid, entity, history.totals[xid])
            for entity, history in self._histories.items()
            for xid, timestamp in history.newest_by_xid.items()
        )
        return sorted(seen, reverse=True)[:count]

    def _count(self, event: XidEvent, history: XidHistory) -> None:
        history.count(event)
        if history.was_read or event.timestamp >= self._counting_from:
            history.totals[event.xid] += 1


def _distance(event: XidEvent, now: float) -> float:
    """Seconds between an event and ``now`` (Unix seconds), whichever comes first."""
    return abs(now - event.timestamp / 1e6)


def _is_second_report(event: XidEvent, history: XidHistory) -> bool:
    """Return whether an XID that is reported twice was counted before, by either report."""
    return event.xid in _REPORTED_TWICE and any(
        counted.xid == event.xid and abs(counted.timestamp - event.timestamp) <= _TWICE_WITHIN
        for counted in history.counted
    )
