"""The engine's cache: what is watched, and what a read of a field answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from dcgm_simulator.answers import Hardware
from dcgm_simulator.codes import EntityGroup, Sentinel, Status, StatusError, sentinel
from dcgm_simulator.engine_log import (
    NO_COUNTERS,
    NO_ERROR_RATIO,
    NO_FIELD_VALUE,
    NO_SAMPLE_OF_COUNTERS,
    EngineLog,
)
from dcgm_simulator.events import Events
from dcgm_simulator.faults import Faults
from dcgm_simulator.fields import EVENT_FIELDS, Field, field_table
from dcgm_simulator.gpm import Span
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.sampler import (
    FREEZE_WITH_LOSS,
    NEVER_TAKEN,
    NOWHERE,
    Sample,
    Sampler,
    place_of,
)
from dcgm_simulator.series import NEVER, SECOND, Series, Watch
from dcgm_simulator.versions import Behaviour
from dcgm_simulator.wire import Record, pack_record

ERROR_RATIOS = (1216, 1218)
"""Bit error ratios of NVLinks, which GPUs have from NVLink 5 on."""

LONGEST_SLEEP = 10 * SECOND
"""The engine's thread looks for due samples at least this often (DcgmCacheManager.cpp)."""
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
        self.events = Events(machine, faults, self.series)
        self.sampler = Sampler(machine, hardware, faults, self.series)
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

        `wakes` is when the engine's own thread wakes up next.
        """
        at_once = entity.group == EntityGroup.GPU and not field.is_global
        new = Series(samples_at_once=at_once)
        series = self.series.setdefault(place_of(entity, field), new)
        own = Watch(field.interval(watch.interval), watch.keep_age, watch.keep_samples)
        if field.is_profiling:
            self.sampler.watch_profiling(connection, entity, field, own, now)
        return series.watch(connection, own, now, wakes)

    def unwatch(self, connection: int, entity: Entity, field: Field, now: int) -> None:
        """End a connection's watch; what was sampled stays readable (observed)."""
        series = self.series.get(place_of(entity, field))
        if series is not None:
            self.sampler.settle_gpm(entity, now - 1)
            series.unwatch(connection, now)
            if field.is_profiling:
                self.sampler.unwatch_profiling(connection, entity, field)

    def unwatch_all(self, connection: int, now: int) -> None:
        """End all watches of a connection that is gone."""
        fields = self.fields()
        for (entity, field_id), series in list(self.series.items()):
            if connection in series.watches:
                self.unwatch(connection, entity, fields[field_id], now)

    def is_watched(self, entity: Entity, field: Field) -> bool:
        """Return whether a field was ever watched on an entity, or an earlier one of its id."""
        place = place_of(entity, field)
        return place in self.series or place in self._forgotten

    def forget_missing(self) -> None:
        """Drop what is known of entities that no longer exist."""
        gone = {key for key in self.series if key[0] != NOWHERE and not self._machine.has(key[0])}
        self._forgotten |= gone
        for key in gone:
            del self.series[key]
            self.events.drop(*key)
            self.sampler.gpm.pop(key[0], None)
        self._packed.clear()

    # --- reading -------------------------------------------------------------------------

    def latest_packed(self, entity: Entity, field_id: int, now: int, live: bool) -> Packed:
        """Return the newest value of a field, ready to send.

        Raises StatusError where the value spoils the whole call.
        """
        field = self.fields().get(field_id)
        if field is None:
            return pack_record(self._unknown(entity, field_id))
        series = self.series.get(place_of(entity, field))
        timestamp = None if series is None or live else series.last(now)
        if timestamp is None or field_id in EVENT_FIELDS:
            record = self.latest(entity, field, now, live)
            if not live:
                self._note(record.status)
            return pack_record(record)
        known = self._packed.get((entity, field_id))
        state = timestamp, self.faults.generation, self.sampler.span(entity, field, timestamp, now)
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
        """Return the lines in the log, with those written by sampling what cannot be sampled."""
        lines = Counter(self._log.lines)
        for (entity, field_id), series in self.series.items():
            if self._is_measured_elsewhere(entity, field_id):
                lines[NO_SAMPLE_OF_COUNTERS] += sum(1 for _ in series.taken(-1, now))
            if field_id in ERROR_RATIOS:
                lines[NO_ERROR_RATIO] += self._samples_in_vain(entity, field_id, now)
            lines.update(self._lines_of_losses(entity, self.fields()[field_id], series, now))
        return +lines

    def _samples_in_vain(self, entity: Entity, field_id: int, now: int) -> int:
        """Return how often a field was sampled that the hardware does not have.

        From 4.2 on the engine complains of each time (DcgmCacheManager::ReadAndCacheNvLinkBer,
        tried on 4.6.0).
        """
        field, series = self.fields()[field_id], self.series[entity, field_id]
        missing = sentinel(field.type, Sentinel.NOT_SUPPORTED)
        samples = (self.sampler.sample(entity, field, series, t) for t in series.taken(-1, now))
        return sum(1 for sample in samples if sample.value == missing)

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
        override = self.sampler.override(entity, field, now)
        if override is not None and override.status:
            return override.status, None
        if field.id in EVENT_FIELDS and not live:
            return self._latest_event(entity, field, now)
        if live:
            return self.sampler.live(entity, field, now)
        series = self.series.get(place_of(entity, field))
        timestamp = None if series is None else series.last(now)
        if series is None or timestamp is None:
            return Status.NOT_WATCHED, None
        self.sampler.settle_gpm(entity, now)
        answer = self._hardware.answer(entity, field)
        if isinstance(answer, Status):
            return answer, None
        sample = self.sampler.sample(entity, field, series, timestamp)
        return (Status.NO_DATA, None) if sample is NEVER_TAKEN else (Status.OK, sample)

    def _latest_event(self, entity: Entity, field: Field, now: int) -> tuple[int, Sample | None]:
        if self.sampler.driver_is_dead(entity, now):
            return Status.OK, Sample(now // SECOND * SECOND, sentinel(field.type))
        happened = self.events.of(entity, field, now)
        if happened:
            return Status.OK, happened[-1]
        series = self.series.get((entity, field.id))
        watched = series is not None and series.watches
        return (Status.NO_DATA if watched else Status.NOT_WATCHED), None

    def history(self, entity: Entity, field: Field, since: int, now: int) -> list[Record]:
        """Return the samples kept from `since` to now, both ends included (observed).

        If there is none, one record says so (tried on all versions).
        Raises StatusError if nothing can ever have been sampled: -16 for an unwatched field,
        else the status the hardware answers (DcgmCacheManager::GetSamples).
        """
        samples = self._samples(entity, field, since, now)
        if not samples:
            blank = sentinel(field.type)
            return [Record(*entity, field.id, field.type, Status.NO_DATA, 0, blank)]
        return [Record(*entity, field.id, field.type, Status.OK, *sample) for sample in samples]

    def between(self, entity: Entity, field: Field, start: int, end: int, now: int) -> list[Sample]:
        """Return the samples kept between two times, both included, of which 0 is no bound.

        Raises StatusError where there is none (DcgmCacheManager::GetInt64SummaryData).
        """
        kept = self._samples(entity, field, start, now)
        found = [sample for sample in kept if not end or sample.timestamp <= end]
        if not found:
            series = self.series.get(place_of(entity, field))
            is_watched = series is not None and series.watches
            raise StatusError(Status.NO_DATA if is_watched else Status.NOT_WATCHED)
        return found

    def _samples(self, entity: Entity, field: Field, since: int, now: int) -> list[Sample]:
        key = place_of(entity, field)
        series = self.series.get(key)
        if field.id in EVENT_FIELDS and (events := self.events.of(entity, field, now)):
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
        self.sampler.settle_gpm(entity, now)
        times = series.times(since, now)
        taken = [self.sampler.sample(entity, field, series, time) for time in times]
        # A frozen field gives the same sample for many times; it was taken once.
        return list({s.timestamp: s for s in taken if s is not NEVER_TAKEN}.values())
