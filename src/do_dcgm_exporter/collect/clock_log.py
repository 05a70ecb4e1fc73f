"""Remembers the clock event masks the cycles have seen. It outlives connections."""

from __future__ import annotations

from collections import Counter as Tally
from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from do_dcgm_exporter.dcgm.entities import Entity

# Bits of field 112 (dcgm_fields.h, DCGM_CLOCKS_EVENT_REASON_*); the last two come with
# newer drivers.
EVENT_NAMES = {
    0x001: "gpu_idle",
    0x002: "clocks_setting",
    0x004: "power_cap",
    0x008: "hw_slowdown",
    0x010: "sync_boost",
    0x020: "sw_thermal",
    0x040: "hw_thermal",
    0x080: "hw_power_brake",
    0x100: "display_clocks",
    0x200: "board_limit",
    0x400: "reliability",
}


def events_in(mask: int) -> Iterator[str]:
    """Return the names of the bits set in ``mask``; unknown bits have none."""
    return (name for bit, name in EVENT_NAMES.items() if mask & bit)


class _MaskSample(NamedTuple):
    timestamp: int
    taken_at: float
    mask: int


@dataclass(slots=True)
class _History:
    recent: deque[_MaskSample] = field(default_factory=deque)
    newest: _MaskSample | None = None
    started: Tally[str] = field(default_factory=Tally)


class ClockLog:
    """Masks of all entities within ``window`` seconds, and how often each event has begun."""

    def __init__(self, window: float) -> None:
        self.window = window
        self._histories: defaultdict[Entity, _History] = defaultdict(_History)

    def add(self, entity: Entity, timestamp: int, mask: int, taken_at: float) -> None:
        """Take the mask of ``timestamp`` (µs) unless it is the one taken last.

        ``taken_at`` is when it was sampled by the clock of sample ages (seconds), since the
        clock that timestamps come from may be set.
        """
        history = self._histories[entity]
        before = history.newest
        if before is not None:
            if timestamp == before.timestamp:
                return
            history.started.update(events_in(mask & ~before.mask))
        history.newest = _MaskSample(timestamp, taken_at, mask)
        history.recent.append(history.newest)

    def forget(self, entity: Entity) -> None:
        """Drop what is known of an instance that is gone; its id may be given out again."""
        self._histories.pop(entity, None)

    def samples_in_window(self, entity: Entity, now: float) -> Tally[str]:
        """In how many samples of the window before ``now`` each event was on.

        ``now`` is by the clock of sample ages.
        """
        recent = self._histories[entity].recent
        while recent and now - recent[0].taken_at > self.window:
            recent.popleft()
        return Tally(name for sample in recent for name in events_in(sample.mask))

    def started(self, entity: Entity) -> Tally[str]:
        """Return how often each event has begun while it was looked at."""
        return self._histories[entity].started
