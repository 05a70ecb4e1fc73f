"""Watch profiling fields: quickly until values come, then at the collect interval.

A profiling field stays blank for the first two or three of its own intervals: 40 s at
20 s (observed on 3.3.9 and 4.2.3). Watched every second it has a value after one or
two, and watching it anew at the collect interval leaves no gap.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.dcgm.watcher import LATEST_ONLY, Watcher

_log = logging.getLogger(__name__)

WARM_UP_INTERVAL = 1.0
# A field that is blank for so long is one the GPU lists and does not have.
_WARM_UP_LIMIT = 10.0
# The profiling module comes with a package, or its hardware is in use by a profiler.
RETRY_AFTER = 300.0


@dataclass(slots=True)
class ProfilingWatch:
    """The profiling fields of one connection.

    ``wanted`` are the fields asked for on each entity. ``unoffered`` names those that an
    entity's GPU does not list, ``reason`` why a GPU lists none at all.
    """

    engine: HostEngine
    watcher: Watcher
    topology: Topology
    interval: float
    wanted: Mapping[Entity, Sequence[int]]
    clock: Callable[[], float] = time.monotonic
    reason: str = ""
    unoffered: frozenset[tuple[Entity, int]] = frozenset()
    _by_fields: Mapping[tuple[int, ...], Sequence[Entity]] = field(default_factory=dict)
    _watches: list[Watch] = field(default_factory=list)
    _started_at: float = 0.0
    _warming_up: bool = False
    _was_refused: bool = False

    @property
    def warming_up(self) -> bool:
        """Whether values have yet to come; the next cycle should not wait an interval."""
        return self._warming_up

    def start(self) -> None:
        """Watch what the GPUs offer."""
        self._started_at = self.clock()
        offered = self._offered_by_gpu()
        by_fields: dict[tuple[int, ...], list[Entity]] = {}
        unoffered = set()
        for entity, wanted in self.wanted.items():
            has = offered.get(self.topology.gpu_id_of(entity), frozenset())
            chosen = tuple(field_id for field_id in wanted if field_id in has)
            unoffered |= {(entity, field_id) for field_id in wanted if field_id not in has}
            if chosen:
                by_fields.setdefault(chosen, []).append(entity)
        self.unoffered = frozenset(unoffered)
        if by_fields == self._by_fields:
            return  # asked again in vain; groups made anew each time would fill the engine
        self._by_fields = by_fields
        warm_up = min(WARM_UP_INTERVAL, self.interval)
        self._watches = [
            watch
            for field_ids, entities in by_fields.items()
            for watch in self.watcher.watch(entities, field_ids, warm_up)
        ]
        self._warming_up = bool(self._watches)
        self._note_refusals()

    def wants_new_connection(self) -> bool:
        """Whether what was offered was not watched, long enough ago to be asked for anew.

        Not on this connection: every attempt leaves a group in the engine, which has few.
        """
        return self._was_refused and self.clock() - self._started_at > RETRY_AFTER

    def follow(self, readings: Readings) -> None:
        """Settle to the collect interval once values have come, or ask again much later."""
        elapsed = self.clock() - self._started_at
        if self._warming_up:
            if self._has_values(readings) or elapsed > _WARM_UP_LIMIT:
                self._settle()
        elif self.reason and not self._was_refused and elapsed > RETRY_AFTER:
            self.start()

    def _note_refusals(self) -> None:
        """Give the reason where the engine offers fields and watches none of them.

        The profiling module may go between the two. Lost GPUs are told of by themselves.
        """
        watched = {entity for watch in self._watches for entity in watch.entities}
        offered = {entity for entities in self._by_fields.values() for entity in entities}
        refused = self._gpu_ids(offered - watched - self.watcher.missed)
        self._was_refused = bool(refused)
        if refused:
            gpus = ", ".join(map(str, refused))
            refusal = f"no profiling metrics on GPU {gpus}: the engine offers and refuses them"
            _log.warning("%s", refusal)
            self.reason = "; ".join(filter(None, (self.reason, refusal)))

    def _settle(self) -> None:
        self._warming_up = False
        if self.interval <= WARM_UP_INTERVAL:
            return  # watched at the interval from the start
        for watch in self._watches:
            try:
                self.engine.watch(watch, self.interval, LATEST_ONLY.seconds, LATEST_ONLY.samples)
            except CallRefused as error:
                # It goes on at the interval it has; the other fields have nothing to do with it.
                _log.warning("profiling fields keep their watch of one second: %s", error)

    def _has_values(self, readings: Readings) -> bool:
        return any(
            isinstance(readings.get(entity, field_id), int | float)
            for watch in self._watches
            for entity in watch.entities
            for field_id in watch.field_ids
        )

    def _offered_by_gpu(self) -> Mapping[int | None, frozenset[int]]:
        """Profiling fields by GPU; a GPU that offers none is left out."""
        offered: dict[int | None, frozenset[int]] = {}
        refused: dict[int, str] = {}
        for gpu_id in self._gpu_ids(self.wanted):
            try:
                offered[gpu_id] = self.engine.profiling_field_ids(gpu_id)
            except CallRefused as error:
                refused[gpu_id] = str(error)
        refusal = ""
        if refused:
            gpus = ", ".join(map(str, refused))
            refusal = f"no profiling metrics on GPU {gpus}: {next(iter(refused.values()))}"
        if refusal != self.reason:
            _log.log(
                logging.WARNING if refusal else logging.INFO,
                "%s",
                refusal or "profiling metrics are available now",
            )
        self.reason = refusal
        return offered

    def _gpu_ids(self, entities: Iterable[Entity]) -> Sequence[int]:
        ids = {self.topology.gpu_id_of(entity) for entity in entities}
        return sorted(gpu_id for gpu_id in ids if gpu_id is not None)
