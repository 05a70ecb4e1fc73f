"""Make the XID families: the last one, counts in a window, totals, and when each last occurred.

    DCGM_FI_DEV_XID_ERRORS{gpu="3",…,err_code="79",err_msg="GPU has fallen off the bus"} 79
    DCGM_EXP_XID_ERRORS_COUNT{gpu="3",…,window_size_in_ms="20000",xid="79"} 1
    DCGM_EXP_XID_ERRORS_TOTAL{gpu="3",…,xid="79"} 1
    DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS{gpu="3",…,xid="79"} 1795444713.079149

They outlive a lost GPU, because XID 79 is the loss.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.plan import XID_FIELD
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_text import number_text
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.collect.xid_log import XidEvent, XidLog
from do_dcgm_exporter.collect.xid_reader import KEPT_FOR, XidReader
from do_dcgm_exporter.config.counters import Counter, CounterSet, CounterType, Special
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.dcgm.xid_texts import xid_text


@dataclass(frozen=True, slots=True)
class XidCollector:
    """Follows field 230 on GPUs, GPU instances and compute instances.

    ``shown`` are the entities that always have a series. Any other GPU instance gets one with
    its first XID. ``reader`` has the watches of field 230.
    """

    engine: HostEngine
    topology: Topology
    labels: LabelBlocks
    log: XidLog
    reader: XidReader
    shown: Sequence[Entity]
    zero_fill: bool
    name: str = "xid"

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Take new XIDs into the log, then yield the XID families asked for."""
        self.follow(readings)
        entities = self._entities()
        for counter in counters.counters:
            samples = self._samples_of(counter, entities, readings)
            if samples is not None:
                yield Family(
                    counter.name, MetricType(counter.type.value), counter.help, tuple(samples)
                )

    def _samples_of(
        self, counter: Counter, entities: Sequence[Entity], readings: Readings
    ) -> Iterator[Sample] | None:
        """Return the samples of ``counter``, None if it is not about XIDs."""
        if counter.special is Special.XID_ERRORS_COUNT:
            return _each(entities, lambda entity: self._count_samples(entity, readings.clock_now))
        if counter.special is Special.XID_ERRORS_TOTAL:
            return _each(entities, self._total_samples)
        if counter.special is Special.XID_LAST_TIMESTAMP_SECONDS:
            return _each(entities, self._timestamp_samples)
        if (
            counter.field
            and counter.field.id == XID_FIELD
            and counter.type is not CounterType.LABEL
        ):
            return _each(entities, lambda entity: self._last_xid_samples(entity, readings))
        return None

    def follow(self, readings: Readings) -> None:
        """Take the events that were read, and any that the engine kept before a new one.

        Raises EngineUnavailable.
        """
        latest = self._latest(readings)
        for watch in self.reader.watches:
            fresh = [raw for entity in watch.entities if (raw := latest.get(entity))]
            if fresh and not self.reader.reads_history:
                for entity, events in self._events_since(watch, fresh).items():
                    self.log.add(entity, events)
        for entity, raws in self.reader.told.items():
            self.log.add(entity, [event for raw in raws for event in _events_in(raw)])
        # A field that only another client watches has a latest value, but no history for us.
        for entity, raw in latest.items():
            self.log.add(entity, _events_in(raw))
        self.log.take_held()
        self.log.note_read(
            raw.entity
            for raw in readings.raw.values()
            if raw.field_id == XID_FIELD and _tells_of_xids(raw)
        )

    def look_back(self, unwatched: Iterable[Entity]) -> None:
        """Take the last XID of GPUs that were lost before this session and cannot be watched.

        Call this once: the engine logs an error for each value it does not watch.
        """
        entities = list(unwatched)
        try:
            raws = self.engine.latest(entities, [XID_FIELD]) if entities else []
        except CallRefused:
            raws = []
        for raw in raws:
            self.log.add(raw.entity, _events_in(raw))

    def hold_what_was_told(self, readings: Readings) -> None:
        """Hold the XIDs of a failed cycle for the next one to count."""
        for entity, raw in self._latest(readings).items():
            self.log.hold(entity, _events_in(raw))
        for entity, raws in self.reader.told.items():
            self.log.hold(entity, [event for raw in raws for event in _events_in(raw)])

    def _latest(self, readings: Readings) -> Mapping[Entity, RawValue]:
        """Return the newest event of each entity that has a new one."""
        return {
            entity: raw
            for (entity, field_id), raw in readings.raw.items()
            if field_id == XID_FIELD and self._is_new(raw)
        }

    def _is_new(self, raw: RawValue) -> bool:
        """Return whether ``raw`` is new. A blank always is, as an XID may precede it.

        XID 119 turns every value blank as soon as it is reported (observed).
        """
        if raw.status != ReturnCode.OK:
            return False
        events = _events_in(raw)
        return not events or events[0] not in self.log.of(raw.entity).taken

    def _events_since(
        self, watch: Watch, fresh: Sequence[RawValue]
    ) -> Mapping[Entity, list[XidEvent]]:
        since = min(self._unread_from(raw) for raw in fresh)
        try:
            raws = self.engine.since(watch, since)
        except CallRefused:
            raws = []
        events: dict[Entity, list[XidEvent]] = {}
        # The latest value counts even if the engine refuses to return the history.
        for raw in (*raws, *fresh):
            known = events.setdefault(raw.entity, [])
            known += [event for event in _events_in(raw) if event not in known]
        return events

    def _unread_from(self, raw: RawValue) -> int:
        """Return the time (µs) from which the engine may have events not yet taken."""
        read_until = self.log.of(raw.entity).read_until
        if raw.timestamp > read_until:
            return read_until + 1
        # The clock was set back, so unread events may be on either side of that time.
        return max(0, raw.timestamp - KEPT_FOR * 1_000_000)

    def _entities(self) -> list[Entity]:
        """Return those always shown, and any instance with an XID, by kind and id."""
        told = {
            self.topology.shown_entity(entity)
            for watch in self.reader.watches
            for entity in watch.entities
            if self.log.of(entity).newest is not None
        }
        return sorted({*self.shown, *told})

    def _sources(self, entity: Entity) -> list[Entity]:
        """Return ``entity`` and the compute instances that carry its labels."""
        parts = (
            part.entity
            for part in self.topology.compute_instances
            if entity.kind is EntityKind.GPU_INSTANCE and part.gpu_instance_id == entity.id
        )
        return [entity, *parts]

    def _last_xid_samples(self, entity: Entity, readings: Readings) -> Iterator[Sample]:
        newest = [self.log.of(source).newest for source in self._sources(entity)]
        known = max((event for event in newest if event is not None), default=None)
        if known is not None:
            xid = known.xid
        elif self._answers_no_data(entity, readings) and self.zero_fill:
            xid = 0
        else:
            value = readings.get(entity, XID_FIELD)
            readings.drop(value if isinstance(value, Absence) else Absence.NO_DATA)
            return
        attributes = (("err_code", str(xid)), ("err_msg", xid_text(xid)))
        for block in self.labels.with_labels(entity, attributes=attributes):
            yield Sample(block, str(xid))

    def _answers_no_data(self, entity: Entity, readings: Readings) -> bool:
        """Return whether ``entity`` is known to have had no XID.

        The engine accepts no new watch on a lost GPU, and has only blanks once it stops asking
        the driver. A GPU lost before it was ever read is unknown.
        """
        value = readings.get(entity, XID_FIELD)
        if value is Absence.NOT_WATCHED:
            is_lost = self.topology.gpu_id_of(entity) in readings.lost_gpus
            return is_lost and self.log.of(entity).read is not None
        return value in (Absence.NO_DATA, Absence.BLANK)

    def _count_samples(self, entity: Entity, now: float) -> Iterator[Sample]:
        counts: Tally[int] = sum(
            (self.log.in_window(source, now) for source in self._sources(entity)), Tally()
        )
        window = ("window_size_in_ms", str(round(self.log.window * 1000)))
        yield from self._by_xid(entity, counts, (window,))

    def _total_samples(self, entity: Entity) -> Iterator[Sample]:
        totals: Tally[int] = sum(
            (self.log.of(source).totals for source in self._sources(entity)), Tally()
        )
        yield from self._by_xid(entity, totals, ())

    def _by_xid(
        self, entity: Entity, counts: Tally[int], labels: tuple[tuple[str, str], ...]
    ) -> Iterator[Sample]:
        """Yield one sample per XID, or a single 0 without the ``xid`` label if there are none."""
        if not counts:
            yield from (Sample(b, "0") for b in self.labels.with_labels(entity, labels))
        for xid, count in sorted(counts.items()):
            for block in self.labels.with_labels(entity, (*labels, ("xid", str(xid)))):
                yield Sample(block, str(count))

    def _timestamp_samples(self, entity: Entity) -> Iterator[Sample]:
        newest: dict[int, int] = {}
        for source in self._sources(entity):
            for xid, timestamp in self.log.of(source).newest_by_xid.items():
                newest[xid] = max(timestamp, newest.get(xid, 0))
        for xid, timestamp in sorted(newest.items()):
            for block in self.labels.with_labels(entity, (("xid", str(xid)),)):
                yield Sample(block, number_text(timestamp / 1e6))


def _events_in(raw: RawValue) -> list[XidEvent]:
    """Return the XID in a value of field 230, where a blank or 0 means none."""
    if raw.status != ReturnCode.OK or not isinstance(raw.payload, int):
        return []
    return [XidEvent(raw.timestamp, raw.payload)] if 0 < raw.payload < 0x7FFFFFF0 else []


def _tells_of_xids(raw: RawValue) -> bool:
    """Return whether a value of field 230 is an XID, or says that there was none."""
    return raw.status == ReturnCode.NO_DATA or bool(_events_in(raw))


def _each(
    entities: Iterable[Entity], samples: Callable[[Entity], Iterator[Sample]]
) -> Iterator[Sample]:
    for entity in entities:
        yield from samples(entity)
