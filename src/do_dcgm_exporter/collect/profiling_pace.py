"""Sample profiling fields at the collect interval, and faster until values come.

With GPM a value is the mean between the newest sample of a GPU's counters and one at
least an update interval older (DcgmGpmManager.cpp). The engine therefore has three habits,
all tried on 3.3.9, 4.2.3, 4.5.3 and 4.6.0:

* A new watch has no earlier sample to compare with, so its first value takes one or two
  intervals. Until there are values, the fields are sampled every second.
* Watching again changes how often the engine samples but not how far back it looks, and it
  keeps no samples that old, so values vanish for good. Nor does it last: when another client's
  watch ends, the engine returns to the interval that was asked for first. Any change therefore
  takes an unwatch first. The one blank sample that follows is bridged (profiling_values.py).
* Before 4.4, once any client's watch ends, the engine keeps samples for 30 s at most. At
  intervals of 15 s or more that is too short. Watching again restores it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.sampling import Sampling
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused, GpuIsLost
from do_dcgm_exporter.dcgm.watcher import Retention, Watcher

_log = logging.getLogger(__name__)

WARM_UP_INTERVAL = 1.0
# An entity that has been blank for this many seconds will not have values soon.
_WARM_UP_LIMIT = 10.0
# At most two samples before the newest one are needed, and the engine may be late.
_INTERVALS_KEPT = 4
# From this release on the engine keeps two intervals, whatever its clients ask for.
_KEEPS_ENOUGH = (4, 4)


@dataclass(slots=True)
class ProfilingPace:
    """Sets the intervals of ``watches``.

    What is summarised follows ``sampling``, all else ``interval``. ``refused`` are the entities
    that the engine refused to watch at another interval.
    """

    engine: HostEngine
    watcher: Watcher
    interval: float
    clock: Callable[[], float]
    sampling: Sampling = field(default_factory=Sampling)
    watches: list[Watch] = field(default_factory=list)
    refused: set[Entity] = field(default_factory=set)
    _waiting_for: frozenset[Entity] = frozenset()
    _waiting_since: float = 0.0
    _hastened: list[Watch] = field(default_factory=list)
    _given_up: set[Entity] = field(default_factory=set)
    _has_been_read: bool = False

    @property
    def warming_up(self) -> bool:
        """Whether values have yet to come."""
        return bool(self._waiting_for or (self.watches and not self._has_been_read))

    def watched(self) -> Iterator[tuple[Entity, int]]:
        """Yield every entity and field that is watched."""
        for watch in self.watches:
            yield from ((e, field_id) for e in watch.entities for field_id in watch.field_ids)

    def watch(self, entities: Sequence[Entity], field_ids: Sequence[int]) -> None:
        """Begin to watch at the usual interval, as another session's samples may be enough."""
        summarised = [id_ for id_ in field_ids if id_ in self.sampling.field_ids]
        others = [id_ for id_ in field_ids if id_ not in self.sampling.field_ids]
        for ids in filter(None, (summarised, others)):
            usual, kept = self._interval_of(ids), self._retention_of(ids)
            self.watches += self.watcher.watch(entities, ids, usual, kept)

    def follow(self, blank: Collection[Entity], absent: Collection[Entity]) -> None:
        """Act on a reading: ``blank`` entities had no value, ``absent`` ones have none to show."""
        self._has_been_read = True
        if self._waiting_for:
            missing = self._waiting_for.intersection(blank)
            if not missing or self.clock() - self._waiting_since > _WARM_UP_LIMIT:
                self._given_up |= missing
                self._settle()
            return
        self._given_up &= set(blank)
        hopeful = frozenset(absent).difference(self._given_up)
        if hopeful:
            self._hasten(hopeful)
        elif forgotten := set(blank).difference(self._given_up):
            self.renew(forgotten)

    def renew(self, entities: Collection[Entity] | None = None) -> None:
        """Make the engine keep samples long enough again, for ``entities`` or for all."""
        if self._waiting_for or self.engine.versions.engine_release >= _KEEPS_ENOUGH:
            return
        for watch in self.watches:
            if entities is None or not set(watch.entities).isdisjoint(entities):
                self._change(watch, self._interval_of(watch.field_ids))

    def _interval_of(self, field_ids: Collection[int]) -> float:
        return self.sampling.interval if self.sampling.has(field_ids) else self.interval

    def _retention_of(self, field_ids: Collection[int]) -> Retention:
        # The engine counts whole seconds.
        kept = Retention(float(math.ceil(_INTERVALS_KEPT * self._interval_of(field_ids))), 0)
        return max(kept, self.sampling.retention) if self.sampling.has(field_ids) else kept

    def _hasten(self, entities: frozenset[Entity]) -> None:
        self._waiting_for = entities
        self._waiting_since = self.clock()
        slow = [w for w in self.watches if self._interval_of(w.field_ids) > WARM_UP_INTERVAL]
        if slow:
            self._hastened = [w for watch in slow for w in self._parts(watch, entities)]
            for watch in self._hastened:
                self._restart(watch, WARM_UP_INTERVAL)
            # Otherwise the engine sleeps until its next due sample, up to ten seconds.
            self.engine.update()

    def _parts(self, watch: Watch, entities: frozenset[Entity]) -> Iterator[Watch]:
        """Yield ``watch`` of ``entities`` alone, with groups of its own if it has others."""
        chosen = [entity for entity in watch.entities if entity in entities]
        if len(chosen) == len(watch.entities):
            yield watch
        elif chosen:
            usual, kept = self._interval_of(watch.field_ids), self._retention_of(watch.field_ids)
            yield from self.watcher.watch(chosen, watch.field_ids, usual, kept)

    def _settle(self) -> None:
        for watch in self._hastened:
            self._restart(watch, self._interval_of(watch.field_ids))
            if watch not in self.watches:
                self.watcher.release(watch)
        self._hastened = []
        self._waiting_for = frozenset()

    def _restart(self, watch: Watch, interval: float) -> None:
        try:
            self.engine.unwatch(watch)
        except CallRefused as error:
            _log.warning("profiling fields keep their interval: %s", error)
            return
        self._change(watch, interval)

    def _change(self, watch: Watch, interval: float) -> None:
        kept = self._retention_of(watch.field_ids)
        try:
            self.engine.watch(watch, interval, kept.seconds, kept.samples)
            self.watcher.keep_at_rest(watch)
        except GpuIsLost:
            # The engine rolled back the whole watch; watch everything but the lost GPU again.
            for part in self.watcher.watch(watch.entities, watch.field_ids, interval, kept):
                self.watcher.release(part)
        except CallRefused as error:
            _log.warning("profiling fields are not watched every %g s: %s", interval, error)
            self.refused.update(watch.entities)
            self._given_up.update(watch.entities)
