"""One connection at work: what it watches is read, cycle after cycle.

A session is never changed. When the MIG layout, the hardware or the configuration
changes, a second session is opened on a connection of its own, read and published,
and only then is the first one closed: a connection holds one watch per entity and
field, so unwatching on the first would end the second's.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from do_dcgm_exporter.collectors.nvlink import LinkStates, NvLinkCollector
from do_dcgm_exporter.counters import CounterSet
from do_dcgm_exporter.dcgm.batch_reader import BatchReader
from do_dcgm_exporter.dcgm.discovery import Discovery, Inventory
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import EngineUnavailable
from do_dcgm_exporter.dcgm.hostengine import HostEngine
from do_dcgm_exporter.dcgm.values import Nothing
from do_dcgm_exporter.field_plan import DRIVER_VERSION_FIELD, LIFE_SIGN_FIELD
from do_dcgm_exporter.hpc_jobs import read_jobs
from do_dcgm_exporter.labels import LabelBlocks
from do_dcgm_exporter.profiling import ProfilingWatch
from do_dcgm_exporter.readings import Readings
from do_dcgm_exporter.run_configuration import Configuration
from do_dcgm_exporter.samples import Family, Snapshot
from do_dcgm_exporter.topology import Gpu, Selection, Topology

_log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")


class Collector(Protocol):
    """Turns what a cycle read into families of one source."""

    @property
    def name(self) -> str:
        """The ``collector`` label of its success and duration."""

    def collect(self, counters: CounterSet, readings: Readings) -> Iterable[Family]:
        """The families of this source that ``counters`` ask for."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities of one kind and the fields that are read on them together."""

    entities: tuple[Entity, ...]
    field_ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class CollectorOutcome:
    """How one collector did in a cycle."""

    name: str
    succeeded: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class CycleResult:
    """All that one cycle found out.

    ``gpus_up`` is by GPU id. ``dropped`` counts values that are not on the page, by reason.
    """

    snapshot: Snapshot
    gpus_up: Mapping[int, bool]
    nvlink_states: LinkStates
    driver_version: str
    dropped: Mapping[Nothing, int]
    outcomes: tuple[CollectorOutcome, ...]
    poisoned_fields: frozenset[int]
    profiling_reason: str
    warming_up: bool


@dataclass(frozen=True, slots=True)
class Session:
    """A connection with all that was set up on it; ``session_setup.open_session`` makes one."""

    engine: HostEngine
    configuration: Configuration
    discovery: Discovery
    inventory: Inventory
    topology: Topology
    selection: Selection
    batches: Sequence[Batch]
    refused_fields: Mapping[int, str]
    reader: BatchReader
    profiling: ProfilingWatch
    labels: LabelBlocks
    collectors: Sequence[Collector]
    nvlink: NvLinkCollector

    def close(self) -> None:
        """Disconnect; the engine forgets everything of this session."""
        self.engine.disconnect()

    def is_outdated(self) -> bool:
        """Whether other entities exist now than those this session was set up for."""
        return self.discovery.inventory() != self.inventory

    def read(self, now: float) -> CycleResult:
        """Run one cycle at ``now`` (Unix seconds). Raises EngineUnavailable."""
        readings = self._readings(now)
        self.profiling.follow(readings)
        self.labels.update(readings, self._jobs())
        outcomes: list[CollectorOutcome] = []
        families = [
            family
            for collector in self.collectors
            for family in self._families_of(collector, readings, outcomes)
        ]
        no_states: LinkStates = {}
        nvlink_states = _attempt(
            self.nvlink.name, lambda: self.nvlink.collect(readings), no_states, outcomes
        )
        return CycleResult(
            snapshot=Snapshot(tuple(self._in_page_order(families, readings))),
            gpus_up={gpu.id: gpu.id not in readings.lost_gpus for gpu in self.selection.gpus},
            nvlink_states=nvlink_states,
            driver_version=self._driver_version(readings),
            dropped=readings.dropped,
            outcomes=tuple(outcomes),
            poisoned_fields=self.reader.poisoned,
            profiling_reason=self.profiling.reason,
            warming_up=self.profiling.warming_up,
        )

    def _readings(self, now: float) -> Readings:
        readings = Readings(now, self.configuration.settings.stale_after)
        for batch in self.batches:
            readings.add(self.reader.read(batch.entities, batch.field_ids))
        readings.left_out = {
            **dict.fromkeys(self.refused_fields, Nothing.UNKNOWN_FIELD),
            **dict.fromkeys(self.reader.poisoned, Nothing.POISONED),
        }
        readings.dropped[Nothing.ENTITIES_ABSENT] += len(self.topology.absent)
        readings.lost_gpus = frozenset(
            gpu.id for gpu in self.selection.gpus if _is_lost(gpu, readings)
        )
        return readings

    def _families_of(
        self, collector: Collector, readings: Readings, outcomes: list[CollectorOutcome]
    ) -> list[Family]:
        counters = self.configuration.counters
        return _attempt(
            collector.name, lambda: list(collector.collect(counters, readings)), [], outcomes
        )

    def _in_page_order(self, families: Iterable[Family], readings: Readings) -> Iterator[Family]:
        """Families with samples in the order of the counter set, each series once."""
        by_name = {family.name: family for family in families}
        for counter in self.configuration.counters.counters:
            family = by_name.get(counter.name)
            if family is not None and family.samples:
                yield _without_duplicates(family, readings)

    def _jobs(self) -> Mapping[str, tuple[str, ...]]:
        directory = self.configuration.settings.hpc_job_mapping_dir
        return read_jobs(directory) if directory else {}

    def _driver_version(self, readings: Readings) -> str:
        for gpu in self.selection.gpus:
            version = readings.get(gpu.entity, DRIVER_VERSION_FIELD)
            if isinstance(version, str):
                return version
        return ""


def _attempt(
    name: str,
    collect: Callable[[], _Answer],
    nothing: _Answer,
    outcomes: list[CollectorOutcome],
) -> _Answer:
    """Run one collector, time it and note how it did; a failure gives ``nothing``."""
    started = time.perf_counter()
    try:
        answer = collect()
    except EngineUnavailable:
        raise
    except Exception:  # noqa: BLE001
        # The one place for any exception: a source that fails must not take the others along.
        _log.exception("a collector failed (collector=%s)", name)
        outcomes.append(CollectorOutcome(name, False, time.perf_counter() - started))
        return nothing
    outcomes.append(CollectorOutcome(name, True, time.perf_counter() - started))
    return answer


def _is_lost(gpu: Gpu, readings: Readings) -> bool:
    """Whether the driver has lost ``gpu``: its bus id, alone of its names, turns blank."""
    return readings.get(gpu.entity, LIFE_SIGN_FIELD) is Nothing.BLANK


def _without_duplicates(family: Family, readings: Readings) -> Family:
    unique = {sample.labels: sample for sample in reversed(family.samples)}
    if len(unique) == len(family.samples):
        return family
    readings.dropped[Nothing.DUPLICATE] += len(family.samples) - len(unique)
    return Family(family.name, family.type, family.help, tuple(reversed(unique.values())))
