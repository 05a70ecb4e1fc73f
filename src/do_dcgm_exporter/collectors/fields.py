"""Families of watched fields, one per counter.

# HELP DCGM_FI_DEV_GPU_TEMP GPU core temperature (in °C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-…",…,Hostname="droplet"} 41
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.counters import Counter, CounterSet, CounterType
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.values import Nothing, number_text
from do_dcgm_exporter.field_plan import XID_FIELD, carries
from do_dcgm_exporter.labels import LabelBlocks
from do_dcgm_exporter.profiling import ProfilingWatch
from do_dcgm_exporter.readings import Readings
from do_dcgm_exporter.samples import Family, MetricType, Sample
from do_dcgm_exporter.topology import Topology


@dataclass(frozen=True, slots=True)
class FieldCollector:
    """Exports every counter that is a field, on the entities that carry it.

    Profiling fields that an entity's GPU does not offer are not asked for there, which
    ``profiling`` knows.
    """

    topology: Topology
    labels: LabelBlocks
    entities: Sequence[Entity]
    profiling: ProfilingWatch
    name: str = "fields"

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Yield a family for every field counter that has a sample."""
        lost = self._lost_entities(readings)
        for counter in counters.counters:
            if counter.field is None or counter.type is CounterType.LABEL:
                continue
            if counter.field.id == XID_FIELD:
                continue  # the XID collector knows more about it
            samples = tuple(self._samples(counter, counter.field.id, readings, lost))
            if samples:
                yield Family(counter.name, MetricType(counter.type.value), counter.help, samples)

    def _samples(
        self, counter: Counter, field_id: int, readings: Readings, lost: frozenset[Entity]
    ) -> Iterator[Sample]:
        for entity in self.entities:
            if not carries(entity.kind, counter):
                continue
            value = readings.get(entity, field_id)
            if entity in lost:
                value = Nothing.GPU_LOST
            elif (entity, field_id) in self.profiling.unoffered:
                value = Nothing.NOT_OFFERED
            if isinstance(value, Nothing):
                readings.drop(value)
            elif isinstance(value, str):
                readings.drop(Nothing.NOT_A_NUMBER)
            else:
                text = number_text(value)
                yield from (Sample(block, text) for block in self.labels.of(entity))

    def _lost_entities(self, readings: Readings) -> frozenset[Entity]:
        """Everything on a lost GPU: what the engine still answers there is not its state."""
        if not readings.lost_gpus:
            return frozenset()
        return frozenset(
            entity
            for entity in self.entities
            if self.topology.gpu_id_of(entity) in readings.lost_gpus
        )
