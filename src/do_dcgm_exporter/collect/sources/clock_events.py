"""Families about clock events (throttle reasons), from the cycle's own samples of field 112.

DCGM_EXP_CLOCK_EVENTS_COUNT{gpu="0",…,clock_event="power_cap",window_size_in_ms="20000"} 1
DCGM_EXP_CLOCK_EVENTS_TOTAL{gpu="0",…,clock_event="power_cap"} 3
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.collect.clock_log import EVENT_NAMES, ClockLog
from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.plan import CLOCK_EVENTS_FIELD, counts_clock_events
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_text import Label
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.config.counters import Counter, CounterSet, Special
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.topology import Topology


@dataclass(frozen=True, slots=True)
class ClockEventCollector:
    """Counts clock events on the selected GPUs and GPU instances."""

    topology: Topology
    labels: LabelBlocks
    log: ClockLog
    entities: Sequence[Entity]
    name: str = "clock_events"

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Take this cycle's masks, then yield the clock event families asked for."""
        if not counts_clock_events(counters):
            return
        answering = [entity for entity in self.entities if self._take_mask(entity, readings)]
        for counter in counters.counters:
            if counter.special is Special.CLOCK_EVENTS_COUNT:
                yield _family(counter, self._counts(answering, readings.clock_now))
            elif counter.special is Special.CLOCK_EVENTS_TOTAL:
                yield _family(counter, self._totals(answering))

    def _take_mask(self, entity: Entity, readings: Readings) -> bool:
        """Note the mask of ``entity``; False where there is none to be known."""
        if self.topology.gpu_id_of(entity) in readings.lost_gpus:
            readings.drop(Absence.GPU_LOST)
            return False
        mask = readings.get(entity, CLOCK_EVENTS_FIELD)
        if not isinstance(mask, int):
            readings.drop(mask if isinstance(mask, Absence) else Absence.NOT_A_NUMBER)
            return False
        key = entity, CLOCK_EVENTS_FIELD
        self.log.add(entity, readings.raw[key].timestamp, mask, readings.taken_at[key])
        return True

    def _counts(self, entities: Sequence[Entity], now: float) -> Iterator[Sample]:
        window: Label = ("window_size_in_ms", str(round(self.log.window * 1000)))
        for entity in entities:
            counts = self.log.samples_in_window(entity, now)
            if not counts:
                yield from self._sample(entity, (window,), 0)
            for name in filter(counts.get, EVENT_NAMES.values()):
                yield from self._sample(entity, (("clock_event", name), window), counts[name])

    def _totals(self, entities: Sequence[Entity]) -> Iterator[Sample]:
        """All events, begun or not: rate() misses the first of a series that was not there."""
        for entity in entities:
            started = self.log.started(entity)
            for name in EVENT_NAMES.values():
                yield from self._sample(entity, (("clock_event", name),), started[name])

    def _sample(self, entity: Entity, labels: tuple[Label, ...], count: int) -> Iterator[Sample]:
        for block in self.labels.with_labels(entity, labels):
            yield Sample(block, str(count))


def _family(counter: Counter, samples: Iterator[Sample]) -> Family:
    return Family(counter.name, MetricType(counter.type.value), counter.help, tuple(samples))
