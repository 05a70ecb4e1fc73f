"""One connection at work: what it watches is read, cycle after cycle.

A session is never changed. When the MIG layout, the hardware or the configuration
changes, a second session is opened on a connection of its own, read and published,
and only then is the first one closed: a connection holds one watch per entity and
field, so unwatching on the first would end the second's.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from do_dcgm_exporter.collect.jobs import JobDirectory
from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.losses import Losses
from do_dcgm_exporter.collect.machine import Roster, machine_state
from do_dcgm_exporter.collect.plan import DRIVER_VERSION_FIELD, LIFE_SIGN_FIELD
from do_dcgm_exporter.collect.profiling import ProfilingWatch
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.result import CycleResult, LinkStates
from do_dcgm_exporter.collect.runner import CollectorRunner
from do_dcgm_exporter.collect.sample_ages import SampleAges
from do_dcgm_exporter.collect.samples import Family, Snapshot
from do_dcgm_exporter.collect.selection import Selection
from do_dcgm_exporter.collect.sources.health_watches import HealthCollector
from do_dcgm_exporter.collect.sources.nvlink import NvLinkCollector
from do_dcgm_exporter.collect.sources.xid import XidCollector
from do_dcgm_exporter.config.counters import CounterSet
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.batch_reader import BatchReader
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.discovery import Discovery, Inventory
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import EngineUnavailable
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.dcgm.watcher import Watcher

# What the engine would not watch is asked for again after so many seconds.
_WATCH_AGAIN_AFTER = 60.0

# So many XIDs are remembered for people to look at.
_SHOWN_XIDS = 10


class Collector(Protocol):
    """Turns what a cycle read into families of one source."""

    @property
    def name(self) -> str:
        """The ``collector`` label of its success and duration."""

    def collect(self, counters: CounterSet, readings: Readings) -> Iterable[Family]:
        """Return the families of this source that ``counters`` ask for."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities of one kind and the fields that are read on them together."""

    entities: tuple[Entity, ...]
    field_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Session:
    """A connection with all that was set up on it; ``opening.open_session`` makes one.

    ``stand_ins`` are the fields asked for that the engine lacks and that are computed from
    another one. ``missed_gpus`` are those that the engine refused to watch, as it does lost
    ones. What was sampled of them before stays readable, so their life signs mean nothing.
    """

    engine: HostEngine
    configuration: Configuration
    discovery: Discovery
    inventory: Inventory
    topology: Topology
    selection: Selection
    batches: Sequence[Batch]
    stand_ins: Mapping[int, int]
    unknown_fields: frozenset[int]
    reader: BatchReader
    profiling: ProfilingWatch
    labels: LabelBlocks
    jobs: JobDirectory
    ages: SampleAges
    collectors: Sequence[Collector]
    xids: XidCollector
    health: HealthCollector
    nvlink: NvLinkCollector
    runner: CollectorRunner
    roster: Roster
    missed_gpus: frozenset[int]
    losses: Losses
    watcher: Watcher
    opened_at: float
    clock: Callable[[], float] = time.monotonic

    @property
    def unwatched_gpus(self) -> tuple[int, ...]:
        """The GPUs of which the engine refused to watch some fields, or some part."""
        ids = {self.topology.gpu_id_of(entity) for entity in self.watcher.missed}
        return tuple(sorted(gpu_id for gpu_id in ids if gpu_id is not None))

    def close(self) -> None:
        """Disconnect; the engine forgets everything of this session."""
        self.engine.disconnect()

    def take_over(self) -> None:
        """Note that the session before this one has been closed."""
        self.profiling.take_over()

    def is_outdated(self) -> bool:
        """Return whether other entities exist now than those this session was set up for."""
        if self.discovery.inventory() != self.inventory:
            return True
        return self.profiling.wants_new_connection() or self._misses_what_is_there()

    def _misses_what_is_there(self) -> bool:
        """Return whether a GPU is there of which not all could be watched, or not told who it is.

        One that was lost is set up anew as soon as it answers.
        """
        unknown = {gpu.id for gpu in self.selection.gpus if not gpu.uuid}
        missing = {*self.unwatched_gpus, *unknown} - self.discovery.lost_gpus - self.losses.silent
        were_lost = missing & self.losses.ever
        if any(self.discovery.answers(gpu_id) for gpu_id in were_lost):
            return True
        return missing != were_lost and self.age() > _WATCH_AGAIN_AFTER

    def age(self) -> float:
        """Seconds since the session was opened."""
        return self.clock() - self.opened_at

    def read(self, now: float) -> CycleResult:
        """Run one cycle at ``now`` (Unix seconds). Raises EngineUnavailable."""
        readings = self._readings(now)
        self.profiling.follow(readings)
        self.labels.update(readings, self.jobs.read())
        self.runner.begin()
        families = [
            family
            for collector in self.collectors
            for family in self._families_of(collector, readings)
        ]
        no_states: LinkStates = {}
        nvlink_states = self.runner.run(
            self.nvlink.name, lambda: self.nvlink.collect(readings), no_states
        )
        return CycleResult(
            snapshot=Snapshot(tuple(self._in_page_order(families, readings))),
            gpus=len(self.topology.gpus),
            gpus_up={gpu.id: gpu.id not in readings.lost_gpus for gpu in self.selection.gpus},
            nvlink_states=nvlink_states,
            driver_version=self._driver_version(readings),
            dropped=readings.dropped,
            outcomes=tuple(self.runner.outcomes),
            poisoned_fields=self.reader.poisoned,
            profiling_reason=self.profiling.reason,
            profiling_up={
                gpu_id: up
                for gpu_id, up in self.profiling.up.items()
                if gpu_id not in readings.lost_gpus
            },
            warming_up=self.profiling.warming_up,
            sample_age=self._sample_age(readings),
            machine=machine_state(self.roster, readings, self.xids.log.newest(_SHOWN_XIDS)),
            health_warnings=tuple(self.health.warnings(readings.lost_gpus)),
            unwatched_gpus=tuple(n for n in self.unwatched_gpus if n not in readings.lost_gpus),
        )

    def _readings(self, now: float) -> Readings:
        readings = Readings(now, self.configuration.settings.stale_after, self.ages)
        for batch in self.batches:
            try:
                readings.add(self.reader.read(batch.entities, batch.field_ids))
            except EngineUnavailable:
                self.xids.hold_what_was_told(readings)
                raise
        readings.left_out = {
            **dict.fromkeys(self.unknown_fields, Absence.UNKNOWN_FIELD),
            **dict.fromkeys(self.reader.poisoned, Absence.POISONED),
        }
        readings.dropped[Absence.ENTITIES_ABSENT] += len(self.topology.absent)
        readings.lost_gpus = self.losses.judge(
            readings, self.selection.gpus, self.missed_gpus | self.discovery.lost_gpus
        )
        return readings

    def _families_of(self, collector: Collector, readings: Readings) -> list[Family]:
        counters = self.configuration.counters
        none: list[Family] = []
        return self.runner.run(
            collector.name, lambda: list(collector.collect(counters, readings)), none
        )

    def _in_page_order(self, families: Iterable[Family], readings: Readings) -> Iterator[Family]:
        """Families with samples in the order of the counter set, each series once.

        What no counter asks for comes last.
        """
        by_name = {family.name: family for family in families if family.samples}
        counters = self.configuration.counters.counters
        asked_for = [by_name.pop(c.name) for c in counters if c.name in by_name]
        for family in (*asked_for, *by_name.values()):
            yield _without_duplicates(family, readings)

    def _sample_age(self, readings: Readings) -> float | None:
        """How old the newest profiling samples are, or else the life signs.

        Profiling is watched last, and watched anew when it settles: all other samples are
        taken a few seconds before these.
        """
        life_signs = [(gpu.entity, LIFE_SIGN_FIELD) for gpu in self.selection.gpus]
        for keys in (self.profiling.pace.watched(), life_signs):
            found = (readings.raw[key].timestamp for key in keys if key in readings.raw)
            if newest := max(found, default=0):
                return readings.now - newest / 1e6
        return None

    def _driver_version(self, readings: Readings) -> str:
        for gpu in self.selection.gpus:
            version = readings.get(gpu.entity, DRIVER_VERSION_FIELD)
            if isinstance(version, str):
                return version
        return ""


def _without_duplicates(family: Family, readings: Readings) -> Family:
    unique = {sample.labels: sample for sample in reversed(family.samples)}
    if len(unique) == len(family.samples):
        return family
    readings.dropped[Absence.DUPLICATE] += len(family.samples) - len(unique)
    return Family(family.name, family.type, family.help, tuple(reversed(unique.values())))
