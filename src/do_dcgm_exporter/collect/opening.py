"""Set a session up: discover, plan, watch, and equip it with its collectors."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.collect.event_logs import EventLogs
from do_dcgm_exporter.collect.identity import entity_labels
from do_dcgm_exporter.collect.jobs import JobDirectory
from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.losses import Losses
from do_dcgm_exporter.collect.machine import Roster
from do_dcgm_exporter.collect.plan import (
    GPU_KINDS,
    LIFE_SIGN_FIELDS,
    XID_FIELD,
    XID_KINDS,
    FieldPlan,
    fields_asked_for,
    of_kind,
    plan_fields,
)
from do_dcgm_exporter.collect.profiling import ProfilingWatch
from do_dcgm_exporter.collect.runner import CollectorRunner
from do_dcgm_exporter.collect.sample_text import Label
from do_dcgm_exporter.collect.selection import Selection, select
from do_dcgm_exporter.collect.session import Batch, Collector, Session
from do_dcgm_exporter.collect.sources.clock_events import ClockEventCollector
from do_dcgm_exporter.collect.sources.fields import FieldCollector, carriers
from do_dcgm_exporter.collect.sources.gpu_info import GpuInfoCollector
from do_dcgm_exporter.collect.sources.health_watches import HealthCollector
from do_dcgm_exporter.collect.sources.nvlink import NvLinkCollector
from do_dcgm_exporter.collect.sources.p2p import P2PCollector
from do_dcgm_exporter.collect.sources.xid import KEPT_FOR, XidCollector
from do_dcgm_exporter.config.counters import CounterType
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.batch_reader import BatchReader
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.conversions import stand_ins
from do_dcgm_exporter.dcgm.discovery import Discovery, Inventory
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Gpu, Topology
from do_dcgm_exporter.dcgm.watcher import Retention, Watcher

# All XIDs of the last ten minutes: fewer samples would keep only the newest of a burst.
_XID_RETENTION = Retention(KEPT_FOR, 0)


def open_session(
    engine: HostEngine,
    configuration: Configuration,
    logs: EventLogs,
    known_gpus: Mapping[int, Gpu],
    clock: Callable[[], float] = time.monotonic,
) -> Session:
    """Discover what ``engine`` has and watch what ``configuration`` asks for.

    ``known_gpus`` are those of the session before, for what a lost GPU no longer tells.
    Raises EngineUnavailable.
    """
    discovery = Discovery(engine, clock, known_gpus)
    inventory = discovery.inventory()
    topology = discovery.topology(inventory)
    watcher = Watcher(engine)
    scope = _Scope(
        topology,
        select(topology, configuration.settings),
        configuration,
        stand_ins(fields_asked_for(configuration.counters), watcher.unknown_of),
        clock,
    )
    missed_gpus = scope.gpus_other_than(scope.watch_life_signs(watcher))
    scope.watch_fields(watcher)
    xid_watches = scope.watch_xids(watcher)
    profiling = scope.watch_profiling(engine, watcher)
    engine.update()
    return _session(scope, discovery, inventory, watcher, profiling, logs, missed_gpus, xid_watches)


def _session(
    scope: _Scope,
    discovery: Discovery,
    inventory: Inventory,
    watcher: Watcher,
    profiling: ProfilingWatch,
    logs: EventLogs,
    missed_gpus: frozenset[int],
    xid_watches: Sequence[Watch],
) -> Session:
    """Equip a session whose watches have begun with its collectors."""
    engine, topology, configuration = watcher.engine, scope.topology, scope.configuration
    labels = _label_blocks(topology, configuration)
    xids = scope.xid_collector(engine, labels, logs, xid_watches)
    xids.look_back(gpu.entity for gpu in topology.gpus if gpu.id in missed_gpus)
    gpus, clock = scope.selection.gpus, scope.clock
    health = HealthCollector(engine, topology, labels, gpus, clock)
    return Session(
        engine=engine,
        configuration=configuration,
        discovery=discovery,
        inventory=inventory,
        topology=topology,
        selection=scope.selection,
        batches=tuple(scope.batches(watcher.unknown, missed_gpus)),
        stand_ins=scope.stand_ins,
        unknown_fields=frozenset(watcher.unknown),
        reader=BatchReader(engine, clock),
        profiling=profiling,
        labels=labels,
        jobs=JobDirectory(configuration.settings.hpc_job_mapping_dir),
        ages=logs.ages,
        collectors=scope.collectors(engine, labels, logs, profiling, xids, health),
        xids=xids,
        health=health,
        nvlink=NvLinkCollector(engine, gpus),
        runner=CollectorRunner(),
        roster=Roster.of(topology, scope.selection, keep=configuration.settings.status_page),
        missed_gpus=missed_gpus,
        losses=Losses(),
        watcher=watcher,
        opened_at=clock(),
        clock=clock,
    )


_NOTHING: tuple[tuple[int, ...], tuple[Entity, ...]] = ((), ())


@dataclass(frozen=True, slots=True)
class _Scope:
    """What is asked for on which entities of one topology.

    ``stand_ins`` are fields that the engine lacks, with those they are computed from.
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

    def watch_life_signs(self, watcher: Watcher) -> set[Entity]:
        """Watch the life signs of the GPUs in scope; the answer is those that are watched."""
        gpus = [gpu.entity for gpu in self.selection.gpus]
        watches = watcher.watch(gpus, LIFE_SIGN_FIELDS, self.interval)
        return {entity for watch in watches for entity in watch.entities}

    def gpus_other_than(self, watched: Container[Entity]) -> frozenset[int]:
        """Return the GPUs in scope that are not among ``watched``."""
        return frozenset(gpu.id for gpu in self.selection.gpus if gpu.entity not in watched)

    def watch_fields(self, watcher: Watcher) -> None:
        """Watch what the counters ask for, but for XIDs and profiling."""
        for plan, entities in self.plans():
            watcher.watch(entities, plan.plain, self.interval)
            watcher.watch(entities, plan.labels, self.interval)

    def watch_xids(self, watcher: Watcher) -> list[Watch]:
        """Watch field 230 wherever an XID of the GPUs in scope may be reported."""
        entities = [entity for kind in XID_KINDS for entity in self.of_gpus_in_scope(kind)]
        return watcher.watch(entities, [XID_FIELD], self.interval, _XID_RETENTION)

    def watch_profiling(self, engine: HostEngine, watcher: Watcher) -> ProfilingWatch:
        """Watch profiling fields where they are asked for and offered."""
        wanted = {
            entity: plan.profiling
            for plan, entities in self.plans()
            if plan.kind in GPU_KINDS and plan.profiling
            for entity in entities
        }
        profiling = ProfilingWatch(
            engine, watcher, self.topology, self.interval, wanted, self.clock
        )
        profiling.start()
        return profiling

    def of_gpus_in_scope(self, kind: EntityKind) -> tuple[Entity, ...]:
        """All entities of one XID kind on the GPUs in scope, selected or not."""
        in_scope = {gpu.id for gpu in self.selection.gpus}
        parts = (*self.topology.gpus, *self.topology.mig_parts)
        return tuple(
            part.entity
            for part in parts
            if part.entity.kind is kind and self.topology.gpu_id_of(part.entity) in in_scope
        )

    def batches(self, unknown: Container[int], missed: Container[int]) -> Iterator[Batch]:
        """One batch per kind: with its fields, the signs of life and the XIDs of the kind.

        What is on ``missed`` GPUs is not watched, and reading it would fill the engine's log.
        """
        planned = {plan.kind: (plan.all_fields, entities) for plan, entities in self.plans()}
        for kind in EntityKind:
            field_ids, entities = planned.get(kind, _NOTHING)
            if kind in XID_KINDS:
                entities = self.of_gpus_in_scope(kind)
                field_ids = (*field_ids, XID_FIELD)
            if kind is EntityKind.GPU:
                field_ids = (*field_ids, *LIFE_SIGN_FIELDS)
            known = tuple(field_id for field_id in field_ids if field_id not in unknown)
            watched = tuple(e for e in entities if self.topology.gpu_id_of(e) not in missed)
            if watched and known:
                yield Batch(watched, known)

    @property
    def on_gpus(self) -> tuple[Entity, ...]:
        """The selected GPUs and GPU instances."""
        return tuple(e for e in self.selection.entities if e.kind in GPU_KINDS)

    def xid_collector(
        self, engine: HostEngine, labels: LabelBlocks, logs: EventLogs, watches: Sequence[Watch]
    ) -> XidCollector:
        """Make the follower of field 230, which shows every GPU in scope."""
        shown = sorted({*self.on_gpus, *(gpu.entity for gpu in self.selection.gpus)})
        zero_fill = self.configuration.settings.xid_zero_fill
        return XidCollector(engine, self.topology, labels, logs.xids, watches, shown, zero_fill)

    def collectors(
        self,
        engine: HostEngine,
        labels: LabelBlocks,
        logs: EventLogs,
        profiling: ProfilingWatch,
        xids: XidCollector,
        health: HealthCollector,
    ) -> tuple[Collector, ...]:
        """Make the collectors, each with the entities it is about."""
        topology, gpus = self.topology, self.selection.gpus
        carried = carriers(self.configuration.counters, self.selection.entities)
        collectors: tuple[Collector, ...] = (
            FieldCollector(topology, labels, carried, profiling),
            xids,
            ClockEventCollector(topology, labels, logs.clocks, self.on_gpus),
            health,
            P2PCollector(engine, labels, gpus),
        )
        if self.configuration.settings.label_fields_as_info:
            collectors += (GpuInfoCollector(labels, xids.shown),)
        return collectors


def _label_blocks(topology: Topology, configuration: Configuration) -> LabelBlocks:
    settings = configuration.settings
    host: tuple[Label, ...] = ()
    if settings.show_hostname:
        host = ((settings.hostname_label, socket.gethostname()),)
    identities = {
        entity: labels + host for entity, labels in entity_labels(topology, settings).items()
    }
    label_counters = [
        counter for counter in configuration.counters.counters if counter.type is CounterType.LABEL
    ]
    return LabelBlocks(topology, identities, label_counters, settings.label_fields_as_info)
