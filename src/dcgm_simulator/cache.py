"""The engine's cache: what a read of a field finds, and what it says when it finds nothing."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import NamedTuple

from dcgm_simulator.answers import Hardware
from dcgm_simulator.codes import EntityGroup, Status, StatusError, Value, sentinel
from dcgm_simulator.engine_log import (
    NO_COUNTERS,
    NO_FIELD_VALUE,
    NO_SAMPLE_OF_COUNTERS,
    EngineLog,
)
from dcgm_simulator.faults import NOTICED_AFTER, Faults, Override, covering
from dcgm_simulator.fields import EVENT_FIELDS, SXID_FIELDS, Field, field_table
from dcgm_simulator.gpm import GpmEntity, Span
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.series import NEVER, SECOND, Series, Watch
from dcgm_simulator.signals import mean
from dcgm_simulator.versions import Behaviour
from dcgm_simulator.wire import Record, pack_record

LONGEST_SLEEP = 10 * SECOND
"""The engine's thread looks for what is due at least so often (DcgmCacheManager.cpp)."""
NOWHERE = Entity(EntityGroup.NONE, 0)
FREEZE_WITH_LOSS = frozenset(
    {156, 240, 241, *range(310, 314), 391, *range(393, 396), 409, 419, 429, 439, 449, 526}
)
"""Keep value and timestamp when the GPU is lost, until the engine notices (recorded)."""


class Sample(NamedTuple):
    """A value and when it was taken, in µs."""

    timestamp: int
    value: Value


NEVER_TAKEN = Sample(0, "")
"""The sample of a field that stood still before it was ever sampled."""
Packed = tuple[bytes, bytes | None]


@dataclass
class Packing:
    """A record as it was last sent, valid until sample or faults change."""

    timestamp: int
    generation: int
    span: Span | None
    status: int
    parts: Packed


class Cache:
    """Watches and samples of all fields of all entities."""

    def __init__(
        self, machine: Machine, hardware: Hardware, faults: Faults, log: EngineLog
    ) -> None:
        self._machine = machine
        self._log = log
        self._hardware = hardware
        self.faults = faults
        self.series: dict[tuple[Entity, int], Series] = {}
        self.events: dict[tuple[Entity, int], list[Sample]] = defaultdict(list)
        self.gpm: dict[Entity, GpmEntity] = {}
        self._expected: list[tuple[Sample, Entity, int]] = []
        self._forgotten: set[tuple[Entity, int]] = set()
        self._packed: dict[tuple[Entity, int], Packing] = {}

    @property
    def behaviour(self) -> Behaviour:
        """Return the habits of the version that is imitated."""
        return self._machine.behaviour

    def fields(self) -> dict[int, Field]:
        """Return the fields the engine knows."""
        return field_table(self.behaviour.version)

    # --- watching ------------------------------------------------------------------------

    def next_wake(self, now: int) -> int:
        """Return when the thread that samples wakes up: for what is due next, or in 10 s."""
        planned = min((series.next_sample(now) for series in self.series.values()), default=NEVER)
        return min(planned, now + LONGEST_SLEEP)

    def wake(self, now: int) -> None:
        """Sample all that is due."""
        for series in self.series.values():
            series.wake(now)

    def watch(
        self,
        connection: int,
        entity: Entity,
        field: Field,
        watch: Watch,
        now: int,
        wakes: int = 0,
    ) -> bool:
        """Watch a field of an entity for a connection; return whether it is sampled at once.

        By itself the engine `wakes` at the time given.
        """
        at_once = entity.group == EntityGroup.GPU and not field.is_global
        new = Series(samples_at_once=at_once)
        series = self.series.setdefault(self._place(entity, field), new)
        own = Watch(field.interval(watch.interval), watch.keep_age, watch.keep_samples)
        if field.is_profiling:
            self._settle_gpm(entity, now - 1)
            self._gpm_of(entity).watch(connection, field.id, own, now)
        return series.watch(connection, own, now, wakes)

    def unwatch(self, connection: int, entity: Entity, field: Field, now: int) -> None:
        """End a connection's watch; what was sampled stays readable (observed)."""
        series = self.series.get(self._place(entity, field))
        if series is not None:
            self._settle_gpm(entity, now - 1)
            series.unwatch(connection, now)
            if field.is_profiling:
                self._gpm_of(entity).fields[field.id].remove(connection)

    def unwatch_all(self, connection: int, now: int) -> None:
        """End all watches of a connection that is gone."""
        fields = self.fields()
        for (entity, field_id), series in list(self.series.items()):
            if connection in series.watches:
                self.unwatch(connection, entity, fields[field_id], now)

    def is_watched(self, entity: Entity, field: Field) -> bool:
        """Return whether anybody has ever watched a field of an entity, or of one of its id."""
        place = self._place(entity, field)
        return place in self.series or place in self._forgotten

    def forget_missing(self) -> None:
        """Drop what is known of entities that no longer exist."""
        gone = {key for key in self.series if key[0] != NOWHERE and not self._machine.has(key[0])}
        self._forgotten |= gone
        for key in gone:
            del self.series[key]
            self.events.pop(key, None)
            self.gpm.pop(key[0], None)
        self._packed.clear()

    def _gpm_of(self, entity: Entity) -> GpmEntity:
        gpu = self._machine.gpu_of(entity)
        new = GpmEntity(self.behaviour, lambda time: self.faults.lost_since(gpu, time) is not None)
        return self.gpm.setdefault(entity, new)

    def _settle_gpm(self, entity: Entity, until: int) -> None:
        """Let profiling be read as often as it was due."""
        if entity in self.gpm:
            known = self.gpm[entity]
            known.settle({id_: self.series[entity, id_] for id_ in known.fields}, until)

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
            record = self.latest(entity, field, now, live)
            if not live:
                self._note(record.status)
            return pack_record(record)
        known = self._packed.get((entity, field_id))
        state = timestamp, self.faults.generation, self._span(entity, field, timestamp, now)
        if known is None or (known.timestamp, known.generation, known.span) != state:
            record = self.latest(entity, field, now, live)
            known = Packing(*state, record.status, pack_record(record))
            self._packed[entity, field_id] = known
        self._note(known.status)
        return known.parts

    def _note(self, status: int) -> None:
        if status:
            self._log.latest_failed(status)

    def log_lines(self, now: int) -> Counter[str]:
        """Return the lines in the log, with those that sampling what cannot be has made."""
        lines = Counter(self._log.lines)
        for (entity, field_id), series in self.series.items():
            if self._is_measured_elsewhere(entity, field_id):
                lines[NO_SAMPLE_OF_COUNTERS] += sum(1 for _ in series.taken(-1, now))
            lines.update(self._lines_of_losses(entity, self.fields()[field_id], series, now))
        return +lines

    def _lines_of_losses(
        self, entity: Entity, field: Field, series: Series, now: int
    ) -> Counter[str]:
        """Return what sampling a field of a lost GPU has written, until 4.4 (recorded)."""
        is_told = entity.group == EntityGroup.GPU and not self.behaviour.notices_lost_gpus
        spans = self.faults.lost.get(entity.id, ()) if is_told else ()
        count = sum(1 for s in spans for _ in series.taken(s.start - 1, min(s.end - 1, now)))
        if field.is_profiling and not self.behaviour.freezes_profiling_of_lost_gpu:
            return Counter({NO_COUNTERS: count, NO_SAMPLE_OF_COUNTERS: count})
        return Counter({NO_FIELD_VALUE: count if field.id in FREEZE_WITH_LOSS else 0})

    def _is_measured_elsewhere(self, entity: Entity, field_id: int) -> bool:
        """Return whether counters of whole GPUs are watched on a part of one (recorded)."""
        field = self.fields()[field_id]
        is_part = entity.group in (EntityGroup.GPU_I, EntityGroup.GPU_CI)
        return is_part and field.is_profiling and field.level == EntityGroup.GPU

    def _span(self, entity: Entity, field: Field, time: int, now: int) -> Span | None:
        if not field.is_profiling or entity not in self.gpm:
            return None
        self._settle_gpm(entity, now)
        return self.gpm[entity].span(field.id, time)

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
        self._settle_gpm(entity, now)
        answer = self._hardware.answer(entity, field)
        if isinstance(answer, Status):
            return answer, None
        sample = self.sample(entity, field, series, timestamp)
        return (Status.NO_DATA, None) if sample is NEVER_TAKEN else (Status.OK, sample)

    def _live(self, entity: Entity, field: Field, now: int) -> tuple[int, Sample | None]:
        if not field.is_global and not self._machine.has(entity):
            return Status.BADPARAM, None
        answer = self._hardware.answer(entity, field)
        if isinstance(answer, Status):
            return answer, None
        series = Series()
        series.watch(0, Watch(SECOND, 0, 1), now - 10 * SECOND)
        sample = self._faulty(entity, field, series, now)
        return Status.OK, sample or Sample(now, answer(now))

    def _latest_event(self, entity: Entity, field: Field, now: int) -> tuple[int, Sample | None]:
        if self._driver_is_dead(entity, now):
            return Status.OK, Sample(now // SECOND * SECOND, sentinel(field.type))
        happened = self._events(entity, field, now)
        if happened:
            return Status.OK, happened[-1]
        series = self.series.get((entity, field.id))
        watched = series is not None and series.watches
        return (Status.NO_DATA if watched else Status.NOT_WATCHED), None

    def history(self, entity: Entity, field: Field, since: int, now: int) -> list[Record]:
        """Return the samples kept from `since` to now; both ends are included (observed).

        Where there is none, one record says so (tried on all versions).
        Raises StatusError where nothing can ever have been sampled: -16 for a field that
        nobody watches, else the status the hardware answers (DcgmCacheManager::GetSamples).
        """
        samples = self._samples(entity, field, since, now)
        if not samples:
            blank = sentinel(field.type)
            return [Record(*entity, field.id, field.type, Status.NO_DATA, 0, blank)]
        return [Record(*entity, field.id, field.type, Status.OK, *sample) for sample in samples]

    def no_data(self, entity: Entity, field: Field) -> Record:
        """Return what a history says that has no samples from the time on (observed)."""
        kind, blank = field.type, sentinel(field.type)
        return Record(*entity, field.id, kind, Status.NO_DATA, 0, blank)

    def _samples(self, entity: Entity, field: Field, since: int, now: int) -> list[Sample]:
        key = self._place(entity, field)
        series = self.series.get(key)
        if field.id in EVENT_FIELDS and (events := self._events(entity, field, now)):
            return [event for event in events if since <= event.timestamp <= now]
        if field.id in EVENT_FIELDS and series is not None and series.watches:
            return []
        if series is None or field.id in EVENT_FIELDS:
            raise StatusError(Status.NOT_WATCHED)
        answer = self._hardware.answer(entity, field)
        if answer is Status.NO_DATA:
            return []
        if isinstance(answer, Status):
            raise StatusError(answer)
        self._settle_gpm(entity, now)
        times = series.times(since, now)
        taken = [self.sample(entity, field, series, time) for time in times]
        # A frozen field gives the same sample for many times; it was taken once.
        return list({s.timestamp: s for s in taken if s is not NEVER_TAKEN}.values())

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
        if isinstance(answer, Status):
            return Sample(time, sentinel(field.type))
        override = self._override(entity, field, time)
        source = override.source if override and override.source else answer
        if not field.is_profiling:
            return Sample(self._hardware.stamp(entity, field, time), source(time))
        span = self.gpm[entity].span(field.id, time)
        if span is None or span.baseline is None:
            return Sample(time, sentinel(field.type))
        return Sample(time, mean(source, field.type, span.baseline, span.newest))

    def _faulty(self, entity: Entity, field: Field, series: Series, time: int) -> Sample | None:
        if self._driver_is_dead(entity, time):
            return Sample(time, sentinel(field.type))
        since = self._unsampled_since(entity, field, time)
        if since is not None:
            return self._before(entity, field, series, since) or NEVER_TAKEN
        override = self._override(entity, field, time)
        if override is not None and override.source is None and not override.status:
            stamp = override.start if field.id in SXID_FIELDS else time
            return Sample(stamp, override.value)
        gpu = self._machine.gpu_of(entity)
        lost = self.faults.lost_since(gpu, time)
        if lost is None or field.is_global:
            return None
        noticed = self._has_noticed(gpu, time)
        freezes = field.is_profiling and self.behaviour.freezes_profiling_of_lost_gpu
        if not noticed and (freezes or field.id in FREEZE_WITH_LOSS):
            return self._before(entity, field, series, lost) or NEVER_TAKEN
        return Sample(time, sentinel(field.type))

    def _unsampled_since(self, entity: Entity, field: Field, time: int) -> int | None:
        """Return since when a field is not sampled at a time, or None."""
        stalled = self.faults.stalled_since(self._machine.gpu_of(entity), time)
        frozen = covering(self.faults.frozen.get(field.id, ()), time)
        return frozen.start if frozen and stalled is None else stalled

    def _has_noticed(self, gpu: int | None, time: int) -> bool:
        noticed = self.faults.noticed_lost_since(gpu, time) is not None
        return noticed and self.behaviour.notices_lost_gpus

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

    def _events(self, entity: Entity, field: Field, now: int) -> list[Sample]:
        """Return the events kept, and the blanks that follow where a GPU is noticed lost.

        Those are written like any field's, at every interval of a watch (recorded).
        """
        events = list(self.events.get((entity, field.id), ()))
        series = self.series.get((entity, field.id))
        gpu = self._machine.gpu_of(entity)
        if series is None or gpu is None or not self.behaviour.notices_lost_gpus:
            return events
        for span in self.faults.lost.get(gpu, ()):
            first, last = span.start + NOTICED_AFTER, min(span.end - 1, now)
            kept_since = max(first, last - series.retention)
            times = series.taken(kept_since - 1, last)
            events += [Sample(time, sentinel(field.type)) for time in times]
        return sorted(set(events))

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
