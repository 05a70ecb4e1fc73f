"""Read everything that one connection watches, cycle after cycle.

A session never changes. When the MIG layout, the hardware or the configuration does, a
second session is opened on a second connection; that one is read and published before
the first is closed. An engine keeps one watch per connection, entity and field, so on a
shared connection the first session would take the second's watches along.
"""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from do_dcgm_exporter.collect.batches import batches_of
from do_dcgm_exporter.collect.jobs import JobSource
from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.lost_gpus import Losses, engine_stalled, stalled_gpus
from do_dcgm_exporter.collect.machine import Roster, machine_state
from do_dcgm_exporter.collect.plan import DRIVER_VERSION_FIELD, LIFE_SIGN_FIELD, XID_FIELD
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
from do_dcgm_exporter.collect.vain_samples import end_vain_samples
from do_dcgm_exporter.collect.valueless import Valueless
from do_dcgm_exporter.config.counters import CounterSet
from do_dcgm_exporter.config.settings import Configuration, Settings
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.batch_reader import BatchReader
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.discovery import Discovery, Inventory
from do_dcgm_exporter.dcgm.errors import CallRefused
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.dcgm.watcher import Watcher

# Seconds after which watches that the engine refused are tried again.
_WATCH_AGAIN_AFTER = 60.0

# How many XIDs the status page lists.
_SHOWN_XIDS = 10


def host_name(settings: Settings) -> str:
    """Return the host name to show, or nothing if it is not to be shown."""
    return socket.gethostname() if settings.show_hostname else ""


class Collector(Protocol):
    """Turns the readings of a cycle into the families of one source."""

    @property
    def name(self) -> str:
        """Its ``collector`` label in the exporter's own metrics."""

    def collect(self, counters: CounterSet, readings: Readings) -> Iterable[Family]:
        """Return the families of this source that ``counters`` ask for."""


@dataclass(frozen=True, slots=True)
class Session:
    """A connection and everything set up on it; ``opening.open_session`` makes one.

    ``stand_ins`` maps wanted fields that the engine lacks to those they are computed from.
    ``missed_gpus`` are those the engine refused to watch, as it does with lost GPUs. Their
    earlier samples stay readable, so their life signs mean nothing.
    """

    engine: HostEngine
    configuration: Configuration
    discovery: Discovery
    inventory: Inventory
    topology: Topology
    selection: Selection
    watches: Sequence[Watch]
    stand_ins: Mapping[int, int]
    reader: BatchReader
    valueless: Valueless
    profiling: ProfilingWatch
    labels: LabelBlocks
    jobs: Sequence[JobSource]
    ages: SampleAges
    collectors: Sequence[Collector]
    xids: XidCollector
    health: HealthCollector
    nvlink: NvLinkCollector
    roster: Roster
    missed_gpus: frozenset[int]
    watcher: Watcher
    host_name: str
    opened_at: float
    clock: Callable[[], float] = time.monotonic
    runner: CollectorRunner = field(default_factory=CollectorRunner)
    losses: Losses = field(default_factory=Losses)

    @property
    def unknown_fields(self) -> frozenset[int]:
        """The fields asked for that the engine does not know."""
        return frozenset(self.watcher.unknown)

    @property
    def unwatched_gpus(self) -> tuple[int, ...]:
        """The GPUs that the engine watches only in part: not all fields, or not all instances."""
        ids = {self.topology.gpu_id_of(entity) for entity in self.watcher.missed}
        return tuple(sorted(gpu_id for gpu_id in ids if gpu_id is not None))

    def close(self) -> None:
        """Disconnect, upon which the engine drops everything this session made."""
        self.engine.disconnect()

    def take_over(self) -> None:
        """Note that the previous session is closed."""
        self.profiling.take_over()

    def is_outdated(self) -> bool:
        """Return whether the machine is no longer what this session was set up for."""
        if self.discovery.inventory() != self.inventory:
            return True
        if self.host_name != host_name(self.configuration.settings):
            return True
        return self.profiling.wants_new_connection() or self._misses_what_is_there()

    def _misses_what_is_there(self) -> bool:
        """Return whether a GPU is there that is watched only in part, or has no known identity.

        For a GPU that was lost, a new session is opened as soon as it answers.
        """
        unknown = {gpu.id for gpu in self.selection.gpus if not gpu.uuid}
        missing = {*self.unwatched_gpus, *unknown} - self.discovery.lost_gpus - self.losses.silent
        if self.valueless.has_lost_watches and self.age() > _WATCH_AGAIN_AFTER:
            return True
        were_lost = missing & self.losses.ever
        if any(self.discovery.answers(gpu_id) for gpu_id in were_lost):
            return True
        return missing != were_lost and self.age() > _WATCH_AGAIN_AFTER

    def age(self) -> float:
        """Seconds since the session was opened."""
        return self.clock() - self.opened_at

    def read(self, now: float) -> CycleResult:
        """Run one cycle at ``now`` (Unix seconds).

        Raises EngineUnavailable, and EngineStalled if no GPU has a current value. In that case
        nothing else is asked: calls that need the driver would not return either.
        """
        readings = Readings(now, self.configuration.settings.stale_after, self.ages)
        try:
            return self._read(readings)
        except Exception:
            # The engine may be gone, and the XIDs it reported with it.
            self.xids.hold_what_was_told(readings)
            raise

    def _read(self, readings: Readings) -> CycleResult:
        self._fill(readings)
        stalled = stalled_gpus(readings, self.selection.gpus, self.topology.gpu_id_of)
        if stalled and len(stalled | readings.lost_gpus) == len(self.selection.gpus):
            self.xids.follow(readings)  # events arrive nevertheless
            raise engine_stalled(readings)
        self.profiling.follow(readings)
        self.runner.begin()
        self.labels.update(readings, self._jobs())
        families = [
            family
            for collector in self.collectors
            for family in self._families_of(collector, readings)
        ]
        self.runner.run("discovery", self._discovered, None)
        no_states: LinkStates = {}
        nvlink_states = self.runner.run(
            self.nvlink.name, lambda: self.nvlink.collect(readings), no_states
        )
        snapshot = Snapshot(tuple(self._in_page_order(families, readings)))
        return self._result(readings, snapshot, nvlink_states, stalled)

    def _result(
        self,
        readings: Readings,
        snapshot: Snapshot,
        nvlink_states: LinkStates,
        stalled: frozenset[int],
    ) -> CycleResult:
        return CycleResult(
            snapshot=snapshot,
            gpus=len(self.topology.gpus),
            gpus_up={
                gpu.id: gpu.id not in readings.lost_gpus | stalled for gpu in self.selection.gpus
            },
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
            stalled_gpus=stalled,
            stale_after=readings.stale_after,
        )

    def _fill(self, readings: Readings) -> None:
        readings.add(self.xids.reader.read(readings.now))
        self._read_watches(readings)
        readings.left_out = {
            **dict.fromkeys(self.unknown_fields, Absence.UNKNOWN_FIELD),
            **dict.fromkeys(self.reader.poisoned, Absence.POISONED),
        }
        readings.dropped[Absence.ENTITIES_ABSENT] += len(self.topology.absent)
        readings.lost_gpus = self.losses.judge(
            readings, self.selection.gpus, self.missed_gpus | self.discovery.lost_gpus
        )
        if readings.lost_gpus:
            self._let_rest(readings.lost_gpus)
        end_vain_samples(self.watcher, self.watches, readings)

    def _let_rest(self, lost: frozenset[int]) -> None:
        """Stop sampling lost GPUs, except for life signs and XIDs, which show their return."""
        watches = [
            watch
            for watch in (*self.watches, *self.profiling.pace.watches)
            if not {XID_FIELD, LIFE_SIGN_FIELD}.intersection(watch.field_ids)
        ]
        parts = {entity for watch in watches for entity in watch.entities}
        self.watcher.rest((e for e in parts if self.topology.gpu_id_of(e) in lost), watches)

    def _read_watches(self, readings: Readings) -> None:
        left_alone = self.valueless.left_alone()
        watches = (*self.watches, *self.profiling.pace.watches)
        for batch in batches_of(watches, left_alone):
            values = list(self.reader.read(batch.entities, batch.field_ids))
            self.valueless.note(values)
            readings.add(values)
        readings.add(left_alone.values())

    def _discovered(self) -> None:
        """Raise CallRefused if the engine does not list the entities of some kind."""
        for refusal in self.discovery.unanswered.values():
            raise CallRefused(refusal)

    def _jobs(self) -> Mapping[str, tuple[str, ...]]:
        none: Mapping[str, tuple[str, ...]] = {}
        return self.runner.run("jobs", self._jobs_of_all_sources, none) if self.jobs else none

    def _jobs_of_all_sources(self) -> Mapping[str, tuple[str, ...]]:
        return {place: names for source in self.jobs for place, names in source.read().items()}

    def _families_of(self, collector: Collector, readings: Readings) -> list[Family]:
        counters = self.configuration.counters
        none: list[Family] = []
        return self.runner.run(
            collector.name, lambda: list(collector.collect(counters, readings)), none
        )

    def _in_page_order(self, families: Iterable[Family], readings: Readings) -> Iterator[Family]:
        """Yield families with samples in the order of the counter set, without duplicate series.

        Families that no counter asks for come last.
        """
        by_name = {family.name: family for family in families if family.samples}
        counters = self.configuration.counters.counters
        asked_for = [by_name.pop(c.name) for c in counters if c.name in by_name]
        for family in (*asked_for, *by_name.values()):
            yield _without_duplicates(family, readings)

    def _sample_age(self, readings: Readings) -> float | None:
        """Return the age of the newest profiling samples or, without any, of the life signs.

        Profiling is watched last and again once it has settled, so all other samples are a
        few seconds older than these. What is summarised is sampled too often to tell when the
        rest is.
        """
        pace = self.profiling.pace
        profiling = (key for key in pace.watched() if key[1] not in pace.sampling.field_ids)
        life_signs = [(gpu.entity, LIFE_SIGN_FIELD) for gpu in self.selection.gpus]
        for keys in (profiling, life_signs):
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
