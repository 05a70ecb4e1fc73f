"""Remembers XIDs: how many, which, when. It outlives connections to the engine.

The engine replays what it has kept to every new connection, so the log knows which
events it has taken of each entity, and takes none twice. Their times need not ascend: the
wall clock, which they are stamped by, may be set back.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from do_dcgm_exporter.dcgm.entities import Entity

# These arrive twice, by NVML event and from the kernel log, 0.75 s apart (observed).
_REPORTED_TWICE = frozenset({79, 119, 120})
_TWICE_WITHIN = 2_000_000

# The engine handles an XID a second (observed) and keeps them for ten minutes.
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

    ``read_until`` is the timestamp of the event taken last, ``taken`` those that the engine
    may tell again; ``was_read`` is whether the engine has answered for the entity before.
    ``counted`` are those of ``taken`` that are no second reports, and
    ``early`` those of a reading that broke off, to be taken with what the next one finds.
    """

    read_until: int = -1
    taken: deque[XidEvent] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    was_read: bool = False
    counted: deque[XidEvent] = field(default_factory=lambda: deque(maxlen=_REMEMBERED))
    early: set[XidEvent] = field(default_factory=set)
    recent: deque[XidEvent] = field(default_factory=deque)
    totals: Tally[int] = field(default_factory=Tally)
    newest_by_xid: dict[int, int] = field(default_factory=dict)
    newest: XidEvent | None = None


class XidLog:
    """XIDs of all entities. ``counting_from`` (µs) is where the totals begin.

    An XID from before that is shown as the last one and in the window, but not counted
    in the totals: they would grow by the same XIDs at each restart of this program.
    """

    def __init__(self, counting_from: int, window: float) -> None:
        self._counting_from = counting_from
        self.window = window
        self._histories: defaultdict[Entity, XidHistory] = defaultdict(XidHistory)

    def of(self, entity: Entity) -> XidHistory:
        """The history of ``entity``."""
        return self._histories[entity]

    def add(self, entity: Entity, events: Iterable[XidEvent]) -> None:
        """Take those ``events`` that are new, and those that were held."""
        history = self._histories[entity]
        found = sorted({*events, *history.early})
        history.early.clear()
        for event in found:
            if event in history.taken:
                continue
            history.taken.append(event)
            history.read_until = event.timestamp
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
        self._histories[entity] = XidHistory(before.read_until, before.taken, before.was_read)

    def note_read(self, entities: Iterable[Entity]) -> None:
        """Note that the engine has answered for ``entities``: what comes next is new."""
        for entity in entities:
            self._histories[entity].was_read = True

    def in_window(self, entity: Entity, now: float) -> Tally[int]:
        """How often each XID came within the window before ``now`` (Unix seconds)."""
        recent = self._histories[entity].recent
        # What is ahead by more than the window is from before the clock was set back.
        while recent and abs(now - recent[0].timestamp / 1e6) > self.window:
            recent.popleft()
        return Tally(event.xid for event in recent)

    def newest(self, count: int) -> list[SeenXid]:
        """The ``count`` XIDs seen last on all entities, the newest first."""
        seen = (
            SeenXid(timestamp, xid, entity, history.totals[xid])
            for entity, history in self._histories.items()
            for xid, timestamp in history.newest_by_xid.items()
        )
        return sorted(seen, reverse=True)[:count]

    def _count(self, event: XidEvent, history: XidHistory) -> None:
        history.counted.append(event)
        history.newest = event
        history.newest_by_xid[event.xid] = event.timestamp
        history.recent.append(event)
        if history.was_read or event.timestamp >= self._counting_from:
            history.totals[event.xid] += 1


def _is_second_report(event: XidEvent, history: XidHistory) -> bool:
    """Whether an XID that is reported twice was counted already; either report may come first."""
    return event.xid in _REPORTED_TWICE and any(
        counted.xid == event.xid and abs(counted.timestamp - event.timestamp) <= _TWICE_WITHIN
        for counted in history.counted
    )
