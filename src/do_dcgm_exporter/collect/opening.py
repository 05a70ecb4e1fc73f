"""Set up a session: discover, plan, watch, and equip it with its collectors."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from do_dcgm_exporter.collect.event_logs import EventLogs
from do_dcgm_exporter.collect.identity import entity_labels
from do_dcgm_exporter.collect.jobs import JobDirectory, JobSource
from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.machine import Roster
from do_dcgm_exporter.collect.plan import (
    GPU_KINDS,
    LIFE_SIGN_FIELDS,
    POWER_FIELD,
    XID_FIELD,
    XID_KINDS,
    FieldPlan,
    fields_asked_for,
    integrates_power,
    is_on,
    of_kind,
    plan_fields,
    summarised_fields,
)
from do_dcgm_exporter.collect.profiling import ProfilingWatch
from do_dcgm_exporter.collect.sample_text import Label
from do_dcgm_exporter.collect.sampling import Sampling
from do_dcgm_exporter.collect.selection import Selection, select
from do_dcgm_exporter.collect.session import Collector, Session, host_name
from do_dcgm_exporter.collect.slurm_jobs import SlurmJobs
from do_dcgm_exporter.collect.sources.clock_events import ClockEventCollector
from do_dcgm_exporter.collect.sources.energy import EnergyCollector
from do_dcgm_exporter.collect.sources.fields import FieldCollector, carriers
from do_dcgm_exporter.collect.sources.gpu_info import GpuInfoCollector
from do_dcgm_exporter.collect.sources.health_watches import HealthCollector
from do_dcgm_exporter.collect.sources.nvlink import NvLinkCollector
from do_dcgm_exporter.collect.sources.p2p import P2PCollector
from do_dcgm_exporter.collect.sources.peaks import PeakCollector
from do_dcgm_exporter.collect.sources.xid import XidCollector
from do_dcgm_exporter.collect.usage_file import usage_file
from do_dcgm_exporter.collect.valueless import Valueless
from do_dcgm_exporter.collect.xid_reader import KEPT_FOR, XidReader
from do_dcgm_exporter.config.counters import CounterType
from do_dcgm_exporter.config.settings import Configuration, DeviceSelection, Settings
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.batch_reader import BatchReader
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.conversions import stand_ins
from do_dcgm_exporter.dcgm.discovery import Discovery, Inventory
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Gpu, Topology
from do_dcgm_exporter.dcgm.watcher import Retention, Watcher

# All XIDs of the last ten minutes. If samples were counted instead, a burst would lose some.
_XID_RETENTION = Retention(KEPT_FOR, 0)


def open_session(
    engine: HostEngine,
    configuration: Configuration,
    logs: EventLogs,
    known_gpus: Mapping[int, Gpu],
    clock: Callable[[], float] = time.monotonic,
) -> Session:
    """Discover what ``engine`` has and watch what ``configuration`` asks for.

    ``known_gpus`` are those of the previous session: a lost GPU no longer reports its names.
    Raises EngineUnavailable.
    """
    settings = configuration.settings
    discovery = Discovery(
        engine,
        clock,
        known_gpus,
        logs.inventory,
        settings.collect_interval,
        cpus_selected=settings.cpus != DeviceSelection(),
    )
    inventory = logs.inventory = discovery.inventory()
    topology = discovery.topology(inventory)
    watcher = Watcher(engine)
    scope = _Scope(
        topology,
        select(topology, settings),
        configuration,
        stand_ins(fields_asked_for(configuration.counters), watcher.unknown_of),
        clock,
    )
    return _session(scope, discovery, inventory, scope.begin(watcher), logs)


def _session(
    scope: _Scope, discovery: Discovery, inventory: Inventory, begun: _Begun, logs: EventLogs
) -> Session:
    """Equip a session whose watches have begun with its collectors."""
    topology, configuration, watcher = scope.topology, scope.configuration, begun.watcher
    engine, gpus, clock = watcher.engine, scope.selection.gpus, scope.clock
    shown_name = host_name(configuration.settings)
    labels = _label_blocks(topology, configuration, shown_name)
    xids = scope.xid_collector(engine, labels, logs, begun)
    switches = of_kind(scope.selection.entities, EntityKind.SWITCH)
    health = HealthCollector(engine, topology, labels, gpus, switches, scope.interval, clock)
    return Session(
        engine=engine,
        configuration=configuration,
        discovery=discovery,
        inventory=inventory,
        topology=topology,
        selection=scope.selection,
        watches=begun.watches,
        stand_ins=scope.stand_ins,
        reader=BatchReader(engine, clock),
        valueless=Valueless(engine.versions.engine_release, clock),
        profiling=begun.profiling,
        labels=labels,
        jobs=tuple(_job_sources(configuration.settings, topology)),
        ages=logs.ages,
        collectors=scope.collectors(engine, labels, logs, begun, xids, health),
        xids=xids,
        health=health,
        nvlink=NvLinkCollector(engine, gpus, scope.interval, clock),
        roster=Roster.of(
            topology,
            scope.selection,
            configuration.settings.status_page,
            configuration.counters,
        ),
        missed_gpus=begun.missed_gpus,
        watcher=watcher,
        host_name=shown_name,
        opened_at=clock(),
        clock=clock,
    )


@dataclass(frozen=True, slots=True)
class _Begun:
    """The watches of a session, and the GPUs on which the engine refused the life signs."""

    watcher: Watcher
    watches: tuple[Watch, ...]
    xid_reader: XidReader
    profiling: ProfilingWatch
    missed_gpus: frozenset[int]


@dataclass(frozen=True, slots=True)
class _Scope:
    """The configuration, applied to one topology.

    ``stand_ins`` maps fields that the engine lacks to those they are computed from.
    """

    topology: Topology
    selection: Selection
    configuration: Configuration
    stand_ins: Mapping[int, int]
    clock: Callable[[], float]

    @property
    def interval(self) -> float:
        return self.configuration.settings.collect_interval

    def plans(self) -> Iterator[tuple[FieldPlan, tuple[Entity, ...]]]:
        """Yield a plan for every kind with selected entities, and those entities."""
        for kind in EntityKind:
            entities = of_kind(self.selection.entities, kind)
            if entities:
                yield plan_fields(kind, self.configuration.counters, self.stand_ins), entities

    def begin(self, watcher: Watcher) -> _Begun:
        """Begin all watches."""
        life_signs = self.watch_life_signs(watcher)
        missed_gpus = self.gpus_not_in(life_signs)
        watches = [*life_signs, *self.watch_fields(watcher)]
        xid_reader = XidReader(watcher.engine, self.watch_xids(watcher))
        profiling = self.watch_profiling(watcher)
        watcher.engine.update()
        if not xid_reader.reads_history:
            watches += xid_reader.watches
        return _Begun(watcher, tuple(watches), xid_reader, profiling, missed_gpus)

    def watch_life_signs(self, watcher: Watcher) -> list[Watch]:
        """Watch the life signs of the GPUs in scope."""
        gpus = [gpu.entity for gpu in self.selection.gpus]
        return watcher.watch(gpus, LIFE_SIGN_FIELDS, self.interval)

    def gpus_not_in(self, watches: Iterable[Watch]) -> frozenset[int]:
        """Return the GPUs in scope that are not in ``watches``."""
        watched = {entity for watch in watches for entity in watch.entities}
        return frozenset(gpu.id for gpu in self.selection.gpus if gpu.entity not in watched)

    def watch_fields(self, watcher: Watcher) -> list[Watch]:
        """Watch what the counters ask for, except XIDs and profiling."""
        return [
            watch
            for plan, entities in self.plans()
            for field_ids in (plan.plain, plan.labels)
            for watch in watcher.watch(entities, field_ids, self.interval)
        ] + [
            watch
            for plan, entities in self.plans()
            for field_ids in self.watched_together(plan.sampled)
            for watch in watcher.watch(
                entities, field_ids, self.sampling.interval, self.sampling.retention
            )
        ]

    def watched_together(self, sampled: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
        """Yield fields to sample in one watch each: the samples of power are read by themselves."""
        if not integrates_power(self.configuration.counters):
            yield sampled
            return
        yield tuple(field_id for field_id in sampled if field_id != POWER_FIELD)
        yield tuple(field_id for field_id in sampled if field_id == POWER_FIELD)

    @property
    def sampling(self) -> Sampling:
        """How often to sample what is summarised for each page."""
        settings = self.configuration.settings
        summarised = summarised_fields(self.configuration.counters, self.stand_ins)
        return Sampling(settings.sample_interval, self.interval, summarised)

    def watch_xids(self, watcher: Watcher) -> list[Watch]:
        """Watch field 230 wherever an XID of the GPUs in scope may be reported."""
        entities = [entity for kind in XID_KINDS for entity in self.of_gpus_in_scope(kind)]
        return watcher.watch(entities, [XID_FIELD], self.interval, _XID_RETENTION)

    def watch_profiling(self, watcher: Watcher) -> ProfilingWatch:
        """Watch profiling fields where they are wanted and supported."""
        wanted = {
            entity: plan.profiling
            for plan, entities in self.plans()
            if plan.kind in XID_KINDS and plan.profiling
            for entity in entities
        }
        profiling = ProfilingWatch(
            watcher.engine,
            watcher,
            self.topology,
            self.interval,
            wanted,
            self.clock,
            self.sampling,
        )
        profiling.start()
        return profiling

    def of_gpus_in_scope(self, kind: EntityKind) -> tuple[Entity, ...]:
        """Return all entities of one XID kind on the GPUs in scope, selected or not."""
        in_scope = {gpu.id for gpu in self.selection.gpus}
        parts = (*self.topology.gpus, *self.topology.mig_parts)
        return tuple(
            part.entity
            for part in parts
            if part.entity.kind is kind and self.topology.gpu_id_of(part.entity) in in_scope
        )

    @property
    def on_gpus(self) -> tuple[Entity, ...]:
        """The selected GPUs and GPU instances."""
        return tuple(e for e in self.selection.entities if e.kind in GPU_KINDS)

    def xid_collector(
        self, engine: HostEngine, labels: LabelBlocks, logs: EventLogs, begun: _Begun
    ) -> XidCollector:
        """Make the collector of XIDs, which shows every GPU in scope."""
        shown = sorted({*self.on_gpus, *(gpu.entity for gpu in self.selection.gpus)})
        zero_fill = self.configuration.settings.xid_zero_fill
        reader = begun.xid_reader
        xids = XidCollector(engine, self.topology, labels, logs.xids, reader, shown, zero_fill)
        missed = (gpu.entity for gpu in self.topology.gpus if gpu.id in begun.missed_gpus)
        xids.look_back(entity for entity in missed if entity in begun.watcher.missed)
        return xids

    def collectors(
        self,
        engine: HostEngine,
        labels: LabelBlocks,
        logs: EventLogs,
        begun: _Begun,
        xids: XidCollector,
        health: HealthCollector,
    ) -> tuple[Collector, ...]:
        """Make the collectors, each for its entities."""
        topology, gpus, profiling = self.topology, self.selection.gpus, begun.profiling
        carried = carriers(self.configuration.counters, self.selection.entities)
        collectors: tuple[Collector, ...] = (
            FieldCollector(topology, labels, carried, profiling),
            xids,
            ClockEventCollector(topology, labels, logs.clocks, self.on_gpus),
            health,
            P2PCollector(engine, labels, gpus, self.interval, self.clock),
        )
        if self.sampling.field_ids:
            # Before the fields: of some it shows the mean in place of the newest sample.
            collectors = (self._peak_collector(engine, labels, logs, profiling), *collectors)
        if integrates_power(self.configuration.counters):
            collectors += (self._energy_collector(engine, labels, logs, begun.watches),)
        if self.configuration.settings.label_fields_as_info:
            collectors += (GpuInfoCollector(labels, xids.shown),)
        return collectors

    def _energy_collector(
        self, engine: HostEngine, labels: LabelBlocks, logs: EventLogs, watches: Iterable[Watch]
    ) -> EnergyCollector:
        of_power = [watch for watch in watches if watch.field_ids == (POWER_FIELD,)]
        return EnergyCollector(
            engine,
            self.topology,
            labels,
            logs.energy,
            self.sampling,
            of_power,
            self.on_gpus,
            self.clock,
        )

    def _peak_collector(
        self, engine: HostEngine, labels: LabelBlocks, logs: EventLogs, profiling: ProfilingWatch
    ) -> PeakCollector:
        carried = {
            counter.name: tuple(e for e in self.on_gpus if is_on(e.kind, counter.peak.field))
            for counter in self.configuration.counters.counters
            if counter.peak
        }
        return PeakCollector(
            engine,
            self.topology,
            labels,
            logs.peaks,
            self.sampling,
            carried,
            lambda: profiling.unoffered,
            self.clock,
        )


def _job_sources(settings: Settings, topology: Topology) -> Iterator[JobSource]:
    """Yield where job names are from; what a later source says of a GPU counts."""
    if settings.hpc_job_from_usage:
        yield SlurmJobs(topology, usage_file())
    if settings.hpc_job_mapping_dir:
        yield JobDirectory(settings.hpc_job_mapping_dir)


def _label_blocks(topology: Topology, configuration: Configuration, shown_name: str) -> LabelBlocks:
    settings = configuration.settings
    host: tuple[Label, ...] = ()
    if settings.show_hostname:
        host = ((settings.hostname_label, shown_name),)
    identities = {
        entity: labels + host for entity, labels in entity_labels(topology, settings).items()
    }
    label_counters = [
        counter for counter in configuration.counters.counters if counter.type is CounterType.LABEL
    ]
    return LabelBlocks(topology, identities, label_counters, settings.label_fields_as_info, host)
