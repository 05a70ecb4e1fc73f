"""Watch profiling fields where GPUs offer them, and notice where they are missing.

profiling_pace.py decides how often they are sampled, profiling_values.py what to show in place
of a blank sample.
"""

from __future__ import annotations

import logging
import time
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.profiling_pace import ProfilingPace
from do_dcgm_exporter.collect.profiling_values import ProfilingValues
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sampling import Sampling
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Reading
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.dcgm.watcher import Watcher

_log = logging.getLogger(__name__)

# The profiling module may be installed later, or a profiler may be using the hardware. In seconds.
RETRY_AFTER = 300.0
# A single reading may be blank; this many in a row are reported.
_BLANK_READINGS = 3
# The two fields are sampled at different moments; this many readings in a row are no accident.
_IDLE_READINGS = 3
_GPU_UTILIZATION = 203  # DCGM_FI_DEV_GPU_UTIL, %
_ENGINE_ACTIVE = 1001  # DCGM_FI_PROF_GR_ENGINE_ACTIVE, 0 to 1
_HIGH_UTILIZATION = 50

_REFUSED = "the engine offers them but refuses to watch them"
_NEEDS_ROOT = (
    "the driver keeps them for administrators and the engine does not run as root: run"
    " nvidia-dcgm as root, or load the driver with NVreg_RestrictProfilingToAdminUsers=0"
)


@dataclass(slots=True)
class ProfilingWatch:
    """The profiling fields of one connection.

    ``wanted`` are the fields asked for on each entity. ``unoffered`` names those that an
    entity's GPU does not list.
    """

    engine: HostEngine
    watcher: Watcher
    topology: Topology
    interval: float
    wanted: Mapping[Entity, Sequence[int]]
    clock: Callable[[], float] = time.monotonic
    sampling: Sampling = field(default_factory=Sampling)
    unoffered: frozenset[tuple[Entity, int]] = frozenset()
    pace: ProfilingPace = field(init=False)
    values: ProfilingValues = field(init=False)
    _unavailable: str = ""
    _refused: Sequence[int] = ()
    _blank: Sequence[int] = ()
    _by_fields: Mapping[tuple[int, ...], Sequence[Entity]] = field(default_factory=dict)
    _blank_readings: Tally[Entity] = field(default_factory=Tally)
    _idle_readings: Tally[Entity] = field(default_factory=Tally)
    _started_at: float = 0.0
    _blank_since: float = 0.0

    def __post_init__(self) -> None:
        self.pace = self._new_pace()
        self.values = ProfilingValues(self.topology)

    @property
    def warming_up(self) -> bool:
        """Whether values have yet to come."""
        return self.pace.warming_up

    @property
    def reason(self) -> str:
        """Why profiling metrics are missing, empty if they are not."""
        found = [self._unavailable]
        if self._refused:
            gpus = _names(self._refused)
            found.append(f"no profiling metrics on {gpus}: {self._why_refused}")
        if self._blank:
            found.append(f"profiling metrics of {_names(self._blank)} stay blank")
        if idle := self._gpu_ids(e for e, n in self._idle_readings.items() if n >= _IDLE_READINGS):
            found.append(
                f"profiling metrics of {_names(idle)} stand at 0 although DCGM_FI_DEV_GPU_UTIL is"
                " high: another profiler may hold the counters, or nvidia-dcgm needs a restart"
            )
        return "; ".join(filter(None, found))

    @property
    def up(self) -> Mapping[int, bool]:
        """By GPU that offers any field asked for: whether it has values."""
        offering = self._gpu_ids(e for entities in self._by_fields.values() for e in entities)
        missing = {*self._refused, *self._blank}
        return {gpu_id: gpu_id not in missing for gpu_id in offering}

    def start(self) -> None:
        """Watch what the GPUs offer."""
        self._started_at = self.clock()
        # Do not ask about lost GPUs: 4.2.3 answers that they lack the profiling module.
        missed = self._gpu_ids(self.watcher.missed)
        wanted = {
            entity: field_ids
            for entity, field_ids in self.wanted.items()
            if self.topology.gpu_id_of(entity) not in missed
        }
        offered = self._offered_by_gpu(wanted)
        by_fields: dict[tuple[int, ...], list[Entity]] = {}
        unoffered = set()
        for entity, field_ids in wanted.items():
            has = offered.get(self.topology.gpu_id_of(entity), frozenset())
            chosen = tuple(field_id for field_id in field_ids if field_id in has)
            unoffered |= {(entity, field_id) for field_id in field_ids if field_id not in has}
            if chosen:
                by_fields.setdefault(chosen, []).append(entity)
        self.unoffered = frozenset(unoffered)
        if by_fields == self._by_fields:
            return  # nothing new is offered, and new groups each time would fill up the engine
        self._by_fields = by_fields
        self.pace = self._new_pace()
        for field_ids, entities in by_fields.items():
            self.pace.watch(entities, field_ids)
        self._note_refusals()

    def follow(self, readings: Readings) -> None:
        """Act on what a cycle read, and bridge blank values with earlier ones."""
        self.values.bridge(self.pace.watches, readings)
        if not self.pace.warming_up:
            self._count_blank_readings()
        self._count_idle_readings(readings)
        self.pace.follow(self.values.blank, self.values.absent)
        self._note_refusals()
        is_settled = not (self._refused or self.warming_up)
        if self._unavailable and is_settled and self.age() > RETRY_AFTER:
            self.start()

    def _new_pace(self) -> ProfilingPace:
        return ProfilingPace(self.engine, self.watcher, self.interval, self.clock, self.sampling)

    def take_over(self) -> None:
        """Note that the previous session has been closed, which ended its watches."""
        self.pace.renew()

    def age(self) -> float:
        """Return how many seconds ago the GPUs were last asked what they offer."""
        return self.clock() - self._started_at

    def wants_new_connection(self) -> bool:
        """Return whether offered fields have been missing long enough to try a new connection.

        Trying again on this one would leave a group in the engine each time, and it has few.
        """
        is_blank = self._blank and self.clock() - self._blank_since > RETRY_AFTER
        return bool(is_blank or (self._refused and self.age() > RETRY_AFTER))

    def _count_blank_readings(self) -> None:
        silent = self.values.silent
        self._blank_readings = Tally({e: self._blank_readings[e] + 1 for e in silent})
        entities = (
            entity
            for entity, count in self._blank_readings.items()
            if count >= _BLANK_READINGS and self._can_have_values(entity)
        )
        gpu_ids = self._gpu_ids(entities)
        if gpu_ids and not self._blank:
            self._blank_since = self.clock()
        if gpu_ids != self._blank:
            told = _names(gpu_ids or self._blank)
            level = logging.WARNING if gpu_ids else logging.INFO
            state = "stay blank" if gpu_ids else "are back"
            _log.log(level, "profiling metrics of %s %s", told, state)
        self._blank = gpu_ids

    def _count_idle_readings(self, readings: Readings) -> None:
        """Count the readings in a row in which a busy GPU's profiling counters were at 0.

        DCGM 4.x has been reported to leave them there. Only whole GPUs have a utilization.
        """
        idle = {
            entity
            for entity, field_id in self.pace.watched()
            if field_id == _ENGINE_ACTIVE
            and readings.get(entity, _ENGINE_ACTIVE) == 0
            and _is_high(readings.get(entity, _GPU_UTILIZATION))
        }
        self._idle_readings = Tally({e: self._idle_readings[e] + 1 for e in idle})

    def _can_have_values(self, entity: Entity) -> bool:
        """Return whether there is anything to measure: an instance needs a compute instance.

        Whether compute instances are measured by themselves is up to GPU and driver.
        """
        if entity.kind is EntityKind.COMPUTE_INSTANCE:
            return False
        return entity.kind is not EntityKind.GPU_INSTANCE or any(
            part.gpu_instance_id == entity.id for part in self.topology.compute_instances
        )

    def _note_refusals(self) -> None:
        """Note where the engine offers fields but watches none of them.

        The profiling module may vanish between the two. Lost GPUs are reported separately.
        """
        watched = {entity for watch in self.pace.watches for entity in watch.entities}
        offered = {entity for entities in self._by_fields.values() for entity in entities}
        missing = (offered - watched - self.watcher.missed) | self.pace.refused
        refused = self._gpu_ids(missing)
        if refused and refused != self._refused:
            gpus = _names(refused)
            _log.warning("no profiling metrics on %s: %s", gpus, self._why_refused)
        self._refused = refused

    @property
    def _why_refused(self) -> str:
        fields = {field_id for field_ids in self._by_fields for field_id in field_ids}
        return _NEEDS_ROOT if fields & self.watcher.need_root else _REFUSED

    def _offered_by_gpu(self, wanted: Iterable[Entity]) -> Mapping[int | None, frozenset[int]]:
        """Return the profiling fields that each GPU of ``wanted`` offers, leaving out refusals."""
        offered: dict[int | None, frozenset[int]] = {}
        refused: dict[int, str] = {}
        for gpu_id in self._gpu_ids(wanted):
            try:
                offered[gpu_id] = self.engine.profiling_field_ids(gpu_id)
            except CallRefused as error:
                needs_root = error.code == ReturnCode.REQUIRES_ROOT
                refused[gpu_id] = _NEEDS_ROOT if needs_root else str(error)
        refusal = ""
        if refused:
            why = next(iter(refused.values()))
            refusal = f"no profiling metrics on {_names(list(refused))}: {why}"
        if refusal != self._unavailable:
            _log.log(
                logging.WARNING if refusal else logging.INFO,
                "%s",
                refusal or "profiling metrics are available now",
            )
        self._unavailable = refusal
        return offered

    def _gpu_ids(self, entities: Iterable[Entity]) -> Sequence[int]:
        ids = {self.topology.gpu_id_of(entity) for entity in entities}
        return tuple(sorted(gpu_id for gpu_id in ids if gpu_id is not None))


def _is_high(utilization: Reading) -> bool:
    return isinstance(utilization, int | float) and utilization >= _HIGH_UTILIZATION


def _names(gpu_ids: Sequence[int]) -> str:
    return f"GPU {', '.join(map(str, gpu_ids))}"
