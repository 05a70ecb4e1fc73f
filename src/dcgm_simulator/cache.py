"""The engine's cache: what a read of a field finds, and what it says when it finds nothing."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from dcgm_simulator.answers import Hardware
from dcgm_simulator.codes import EntityGroup, Status, StatusError, Value, sentinel
from dcgm_simulator.faults import Faults, Override, covering
from dcgm_simulator.fields import EVENT_FIELDS, Field, field_table
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.series import SECOND, Series, Watch
from dcgm_simulator.versions import Behaviour
from dcgm_simulator.wire import Record, pack_record

NOWHERE = Entity(EntityGroup.NONE, 0)
SURVIVE_LOSS = frozenset({50, 54})
"""Name and UUID are remembered by the engine (observed)."""
FREEZE_WITH_LOSS = frozenset({449, 526})
"""Keep value and timestamp when the GPU is lost (observed on all versions)."""


class Sample(NamedTuple):
    """A value and when it was taken, in µs."""

    timestamp: int
    value: Value


Packed = tuple[bytes, bytes | None]


@dataclass
class Packing:
    """A record as it was last sent, valid until sample or faults change."""

    timestamp: int
    generation: int
    parts: Packed


class Cache:
    """Watches and samples of all fields of all entities."""

    def __init__(self, machine: Machine, hardware: Hardware, faults: Faults) -> None:
        self._machine = machine
        self._hardware = hardware
        self.faults = faults
        self.series: dict[tuple[Entity, int], Series] = {}
        self.events: dict[tuple[Entity, int], list[Sample]] = defaultdict(list)
        self._expected: list[tuple[Sample, Entity, int]] = []
        self._packed: dict[tuple[Entity, int], Packing] = {}

    @property
    def behaviour(self) -> Behaviour:
        """Return the habits of the version that is imitated."""
        return self._machine.behaviour

    def fields(self) -> dict[int, Field]:
        """Return the fields the engine knows."""
        return field_table(self.behaviour.version)

    # --- watching ------------------------------------------------------------------------

    def watch(self, connection: int, entity: Entity, field: Field, watch: Watch, now: int) -> None:
        """Watch a field of an entity for a connection."""
        series = self.series.setdefault(self._place(entity, field), Series())
        own = Watch(field.interval(watch.interval), watch.keep_age, watch.keep_samples)
        series.watch(connection, own, now)

    def unwatch(self, connection: int, entity: Entity, field: Field, now: int) -> None:
        """End a connection's watch; what was sampled stays readable (observed)."""
        series = self.series.get(self._place(entity, field))
        if series is not None:
            series.unwatch(connection, now)

    def unwatch_all(self, connection: int, now: int) -> None:
        """End all watches of a connection that is gone."""
        for series in self.series.values():
            series.unwatch(connection, now)

    def forget_missing(self) -> None:
        """Drop what is known of entities that no longer exist."""
        gone = {key for key in self.series if key[0] != NOWHERE and not self._machine.has(key[0])}
        for key in gone:
            del self.series[key]
            self.events.pop(key, None)
        self._packed.clear()

    def _place(self, entity: Entity, field: Field) -> tuple[Entity, int]:
        return (NOWHERE if field.is_global else entity), field.id

    # --- reading -------------------------------------------------------------------------

    def latest_packed(self, entity: Entity, field_id: int, now: int, live: bool) -> Packed:
        """Return the newest value of a field, ready to send.

        Raises StatusError where the value spoils the whole call.
        """
        field = self.fields().get(field_id)
        if field is None:
            return pack_record(self._unknown(entity, field_id))
        series = self.series.get(self._place(entity, field))
        timestamp = None if series is None or live else series.last(now)
        if timestamp is None or field_id in EVENT_FIELDS:
            return pack_record(self.latest(entity, field, now, live))
        known = self._packed.get((entity, field_id))
        generation = self.faults.generation
        if known and known.timestamp == timestamp and known.generation == generation:
            return known.parts
        parts = pack_record(self.latest(entity, field, now, live))
        self._packed[entity, field_id] = Packing(timestamp, generation, parts)
        return parts

    def _unknown(self, entity: Entity, field_id: int) -> Record:
        if self.behaviour.unknown_field_fails_call:
            raise StatusError(Status.GENERIC_ERROR)
        return Record(*entity, field_id, "i", Status.UNKNOWN_FIELD, 0, 0)

    def latest(self, entity: Entity, field: Field, now: int, live: bool) -> Record:
        """Return the newest value of a field of an entity."""
        status, sample = self._latest_sample(entity, field, now, live)
        if sample is None:
            return self._failure(entity, field, status)
        if sample.value == "" and self.behaviour.empty_string_fails_call:
            raise StatusError(Status.GENERIC_ERROR)
        return Record(*entity, field.id, field.type, Status.OK, *sample)

    def _failure(self, entity: Entity, field: Field, status: int) -> Record:
        if self.behaviour.blank_on_error:
            return Record(*entity, field.id, field.type, status, 0, sentinel(field.type))
        # Before 4.5 even a string field reports type 'i' and value 0 here (recorded).
        return Record(*entity, field.id, "i", status, 0, 0)

    def _latest_sample(
        self, entity: Entity, field: Field, now: int, live: bool
    ) -> tuple[int, Sample | None]:
        override = self._override(entity, field, now)
        if override is not None and override.status:
            return override.status, None
        if field.id in EVENT_FIELDS and not live:
            return self._latest_event(entity, field, now)
        if live:
            return self._live(entity, field, now)
        series = self.series.get(self._place(entity, field))
        timestamp = None if series is None else series.last(now)
        if series is None or timestamp is None:
            return Status.NOT_WATCHED, None
        answer = self._hardware.answer(entity, field)
        if isinstance(answer, Status):
            return answer, None
        return Status.OK, self.sample(entity, field, series, timestamp)

    def _live(self, entity: Entity, field: Field, now: int) -> tuple[int, Sample | None]:
        if not field.is_global and not self._machine.has(entity):
            return Status.BADPARAM, None
        answer = self._hardware.answer(entity, field)
        if isinstance(answer, Status):
            return answer, None
        series = Series()
        series.watch(0, Watch(SECOND, 0, 1), now - 10 * SECOND)
        return Status.OK, self.sample(entity, field, series, now)

    def _latest_event(self, entity: Entity, field: Field, now: int) -> tuple[int, Sample | None]:
        if self._driver_is_dead(entity, now):
            return Status.OK, Sample(now // SECOND * SECOND, sentinel(field.type))
        happened = self.events.get((entity, field.id))
        if happened:
            return Status.OK, happened[-1]
        series = self.series.get((entity, field.id))
        watched = series is not None and series.watches
        return (Status.NO_DATA if watched else Status.NOT_WATCHED), None

    def history(self, entity: Entity, field: Field, since: int, now: int) -> list[Record]:
        """Return the samples kept from `since` to now; both ends are included (observed).

        Raises StatusError where nothing can ever have been sampled: -16 for a field that
        nobody watches, else the status the hardware answers (DcgmCacheManager::GetSamples).
        """
        samples = self._samples(entity, field, since, now)
        return [Record(*entity, field.id, field.type, Status.OK, *sample) for sample in samples]

    def _samples(self, entity: Entity, field: Field, since: int, now: int) -> list[Sample]:
        key = self._place(entity, field)
        if self.events.get(key):
            return [event for event in self.events[key] if since <= event.timestamp <= now]
        series = self.series.get(key)
        if field.id in EVENT_FIELDS and series is not None and series.watches:
            return []
        if series is None or field.id in EVENT_FIELDS:
            raise StatusError(Status.NOT_WATCHED)
        answer = self._hardware.answer(entity, field)
        if answer is Status.NO_DATA:
            return []
        if isinstance(answer, Status):
            raise StatusError(answer)
        times = series.times(since, now)
        taken = [self.sample(entity, field, series, time) for time in times]
        # A frozen field gives the same sample for many times; it was taken once.
        return list({sample.timestamp: sample for sample in taken}.values())

    # --- one sample ----------------------------------------------------------------------

    def sample(self, entity: Entity, field: Field, series: Series, time: int) -> Sample:
        """Return what sampling a field at a time gave, faults included."""
        if not self.faults.none:
            faulty = self._faulty(entity, field, series, time)
            if faulty is not None:
                return faulty
        return self._healthy(entity, field, series, time)

    def _healthy(self, entity: Entity, field: Field, series: Series, time: int) -> Sample:
        answer = self._hardware.answer(entity, field)
        if isinstance(answer, Status) or (field.is_profiling and not series.is_warm(time)):
            return Sample(time, sentinel(field.type))
        return Sample(time, answer(time))

    def _faulty(self, entity: Entity, field: Field, series: Series, time: int) -> Sample | None:
        if self._driver_is_dead(entity, time):
            return Sample(time, sentinel(field.type))
        frozen = covering(self.faults.frozen.get(field.id, ()), time)
        if frozen is not None:
            return self._before(entity, field, series, frozen.start)
        override = self._override(entity, field, time)
        if override is not None and not override.status:
            return Sample(time, override.value)
        lost = self.faults.lost_since(self._machine.gpu_of(entity), time)
        if lost is None or field.is_global or field.id in SURVIVE_LOSS:
            return None
        freezes = field.is_profiling and self.behaviour.freezes_profiling_of_lost_gpu
        if freezes or field.id in FREEZE_WITH_LOSS:
            return self._before(entity, field, series, lost)
        return Sample(time, sentinel(field.type))

    def _before(self, entity: Entity, field: Field, series: Series, time: int) -> Sample | None:
        earlier = [segment.last(time - 1) for segment in series.segments if segment.start < time]
        return self.sample(entity, field, series, earlier[-1]) if earlier else None

    def _override(self, entity: Entity, field: Field, time: int) -> Override | None:
        found = covering(self.faults.overrides.get((entity, field.id), ()), time)
        return found if isinstance(found, Override) else None

    def _driver_is_dead(self, entity: Entity, time: int) -> bool:
        dead = self.faults.driver_dead
        return dead is not None and dead.covers(time) and self._machine.gpu_of(entity) is not None

    # --- events --------------------------------------------------------------------------

    def expect_event(self, entity: Entity, field: Field, sample: Sample) -> None:
        """Record an event at its time, which may be yet to come."""
        self._expected.append((sample, entity, field.id))
        self._expected.sort()

    def forget_events(self) -> None:
        """Drop all events, those to come included."""
        self.events.clear()
        self._expected.clear()

    def settle(self, now: int) -> None:
        """Record the events whose time has come."""
        while self._expected and self._expected[0][0].timestamp <= now:
            self._add_event(*self._expected.pop(0))

    def _add_event(self, sample: Sample, entity: Entity, field_id: int) -> None:
        """Record an event, and drop those before it that no watch keeps."""
        events = self.events[entity, field_id]
        events.append(sample)
        series = self.series.get((entity, field_id))
        if series is not None and series.watches:
            newest_only = all(watch.keeps_only_newest for watch in series.watches.values())
            horizon = sample.timestamp - series.retention
            events[:] = [sample] if newest_only else [e for e in events if e.timestamp >= horizon]
