"""Events: fields whose samples are stamped with the time of what they report."""

from __future__ import annotations

from collections import defaultdict

from dcgm_simulator.codes import sentinel
from dcgm_simulator.faults import NOTICED_AFTER, Faults
from dcgm_simulator.fields import Field
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.sampler import Sample
from dcgm_simulator.series import Series


class Events:
    """The events an engine keeps, and those still to come."""

    def __init__(
        self, machine: Machine, faults: Faults, series: dict[tuple[Entity, int], Series]
    ) -> None:
        self._machine = machine
        self._faults = faults
        self._series = series
        self._kept: dict[tuple[Entity, int], list[Sample]] = defaultdict(list)
        self._expected: list[tuple[Sample, Entity, int]] = []

    def of(self, entity: Entity, field: Field, now: int) -> list[Sample]:
        """Return the events kept, and the blanks that follow once a GPU is noticed lost.

        Those are written like any field's samples, at every interval of a watch (recorded).
        """
        events = list(self._kept.get((entity, field.id), ()))
        series = self._series.get((entity, field.id))
        gpu = self._machine.gpu_of(entity)
        if series is None or gpu is None or not self._machine.behaviour.notices_lost_gpus:
            return events
        for span in self._faults.lost.get(gpu, ()):
            first, last = span.start + NOTICED_AFTER, min(span.end - 1, now)
            kept_since = max(first, last - series.retention)
            times = series.taken(kept_since - 1, last)
            events += [Sample(time, sentinel(field.type)) for time in times]
        return sorted(set(events))

    def expect(self, entity: Entity, field: Field, sample: Sample) -> None:
        """Record an event at its time, which may be yet to come."""
        self._expected.append((sample, entity, field.id))
        self._expected.sort()

    def settle(self, now: int) -> None:
        """Record the events whose time has come."""
        while self._expected and self._expected[0][0].timestamp <= now:
            self._add(*self._expected.pop(0))

    def _add(self, sample: Sample, entity: Entity, field_id: int) -> None:
        """Record an event, and drop earlier ones that no watch keeps."""
        events = self._kept[entity, field_id]
        events.append(sample)
        series = self._series.get((entity, field_id))
        if series is not None and series.watches:
            newest_only = all(watch.keeps_only_newest for watch in series.watches.values())
            horizon = sample.timestamp - series.retention
            events[:] = [sample] if newest_only else [e for e in events if e.timestamp >= horizon]

    def drop(self, entity: Entity, field_id: int) -> None:
        """Forget the events of a field of an entity that is gone."""
        self._kept.pop((entity, field_id), None)

    def clear(self) -> None:
        """Forget all events, those to come included."""
        self._kept.clear()
        self._expected.clear()
