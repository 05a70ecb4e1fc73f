"""What sampling a field gives at a time, with the faults of that moment."""

from __future__ import annotations

from typing import NamedTuple

from dcgm_simulator.answers import Hardware
from dcgm_simulator.codes import EntityGroup, Status, Value, sentinel
from dcgm_simulator.faults import Faults, Override, covering
from dcgm_simulator.fields import SXID_FIELDS, Field
from dcgm_simulator.gpm import GpmEntity, Span
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.series import SECOND, Series, Watch
from dcgm_simulator.signals import mean

NOWHERE = Entity(EntityGroup.NONE, 0)
"""The entity of global fields."""
FREEZE_WITH_LOSS = frozenset(
    {156, 240, 241, *range(310, 314), 391, *range(393, 396), 409, 419, 429, 439, 449, 526}
)
"""Keep value and timestamp when the GPU is lost, until the engine notices (recorded)."""


class Sample(NamedTuple):
    """A value and when it was taken, in µs."""

    timestamp: int
    value: Value


NEVER_TAKEN = Sample(0, "")
"""The sample of a field that stopped being sampled before it had any."""


def place_of(entity: Entity, field: Field) -> tuple[Entity, int]:
    """Return the key under which the samples of a field are kept."""
    return (NOWHERE if field.is_global else entity), field.id


class Sampler:
    """Takes samples of a machine; keeps the counter samples that profiling is computed from."""

    def __init__(
        self,
        machine: Machine,
        hardware: Hardware,
        faults: Faults,
        series: dict[tuple[Entity, int], Series],
    ) -> None:
        self._machine = machine
        self._hardware = hardware
        self._faults = faults
        self._series = series
        self._behaviour = machine.behaviour
        self.gpm: dict[Entity, GpmEntity] = {}

    # --- profiling -----------------------------------------------------------------------

    def watch_profiling(
        self, connection: int, entity: Entity, field: Field, watch: Watch, now: int
    ) -> None:
        """Watch a profiling field of an entity for a connection."""
        self.settle_gpm(entity, now - 1)
        gpu = self._machine.gpu_of(entity)
        new = GpmEntity(
            self._behaviour, lambda time: self._faults.lost_since(gpu, time) is not None
        )
        self.gpm.setdefault(entity, new).watch(connection, field.id, watch, now)

    def unwatch_profiling(self, connection: int, entity: Entity, field: Field) -> None:
        """End a connection's watch of a profiling field."""
        self.gpm[entity].fields[field.id].remove(connection)

    def settle_gpm(self, entity: Entity, until: int) -> None:
        """Read profiling as often as it was due."""
        known = self.gpm.get(entity)
        if known is not None and not known.is_settled(until):
            known.settle({id_: self._series[entity, id_] for id_ in known.fields}, until)

    def span(self, entity: Entity, field: Field, time: int, now: int) -> Span | None:
        """Return what a profiling value read at a time covers; None for other fields."""
        if not field.is_profiling or entity not in self.gpm:
            return None
        self.settle_gpm(entity, now)
        return self.gpm[entity].span(field.id, time)

    # --- one sample ----------------------------------------------------------------------

    def sample(self, entity: Entity, field: Field, series: Series, time: int) -> Sample:
        """Return what sampling a field at a time gave."""
        if not self._faults.none:
            faulty = self._faulty(entity, field, series, time)
            if faulty is not None:
                return faulty
        return self._healthy(entity, field, series, time)

    def live(self, entity: Entity, field: Field, now: int) -> tuple[int, Sample | None]:
        """Ask the hardware itself: return a status and, where it is OK, a sample."""
        if not field.is_global and not self._machine.has(entity):
            return Status.BADPARAM, None
        answer = self._hardware.answer(entity, field)
        if isinstance(answer, Status):
            return answer, None
        series = Series()
        series.watch(0, Watch(SECOND, 0, 1), now - 10 * SECOND)
        sample = self._faulty(entity, field, series, now)
        return Status.OK, sample or Sample(now, answer(now))

    def _healthy(self, entity: Entity, field: Field, series: Series, time: int) -> Sample:
        answer = self._hardware.answer(entity, field)
        if isinstance(answer, Status):
            return Sample(time, sentinel(field.type))
        override = self.override(entity, field, time)
        source = override.source if override and override.source else answer
        if not field.is_profiling:
            return Sample(self._hardware.stamp(entity, field, time), source(time))
        span = self.gpm[entity].span(field.id, time)
        if span is None or span.baseline is None:
            return Sample(time, sentinel(field.type))
        return Sample(time, mean(source, field.type, span.baseline, span.newest))

    def _faulty(self, entity: Entity, field: Field, series: Series, time: int) -> Sample | None:
        if self.driver_is_dead(entity, time) or self._library_fails(field, time):
            return Sample(time, sentinel(field.type))
        since = self._unsampled_since(entity, field, time)
        if since is not None:
            return self._before(entity, field, series, since) or NEVER_TAKEN
        override = self.override(entity, field, time)
        if override is not None and override.source is None and not override.status:
            stamp = override.start if field.id in SXID_FIELDS else time
            return Sample(stamp, override.value)
        gpu = self._machine.gpu_of(entity)
        lost = self._faults.lost_since(gpu, time)
        if lost is None or field.is_global:
            return None
        noticed = self._has_noticed(gpu, time)
        freezes = field.is_profiling and self._behaviour.freezes_profiling_of_lost_gpu
        if not noticed and (freezes or field.id in FREEZE_WITH_LOSS):
            return self._before(entity, field, series, lost) or NEVER_TAKEN
        return Sample(time, sentinel(field.type))

    def _library_fails(self, field: Field, time: int) -> bool:
        """Return whether NVML fails in calls that name no device, on which a field depends."""
        needs_library = field.is_global or field.is_profiling
        return needs_library and covering(self._faults.library_fails, time) is not None

    def _unsampled_since(self, entity: Entity, field: Field, time: int) -> int | None:
        """Return since when a field is not sampled at a time, or None."""
        stalled = self._faults.stalled_since(self._machine.gpu_of(entity), time)
        frozen = covering(self._faults.frozen.get(field.id, ()), time)
        return frozen.start if frozen and stalled is None else stalled

    def _has_noticed(self, gpu: int | None, time: int) -> bool:
        noticed = self._faults.noticed_lost_since(gpu, time) is not None
        return noticed and self._behaviour.notices_lost_gpus

    def _before(self, entity: Entity, field: Field, series: Series, time: int) -> Sample | None:
        earlier = [segment.last(time - 1) for segment in series.segments if segment.start < time]
        return self.sample(entity, field, series, earlier[-1]) if earlier else None

    def override(self, entity: Entity, field: Field, time: int) -> Override | None:
        """Return what was set by hand for a field at a time."""
        found = covering(self._faults.overrides.get((entity, field.id), ()), time)
        return found if isinstance(found, Override) else None

    def driver_is_dead(self, entity: Entity, time: int) -> bool:
        """Return whether the engine no longer asks the driver about an entity."""
        dead = self._faults.driver_dead
        return dead is not None and dead.covers(time) and self._machine.gpu_of(entity) is not None
