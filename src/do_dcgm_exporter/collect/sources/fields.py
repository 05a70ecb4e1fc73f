"""Make the families of watched fields, one per counter.

# HELP DCGM_FI_DEV_GPU_TEMP GPU core temperature (in °C).
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-…",…,Hostname="droplet"} 41
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.plan import XID_FIELD, carries
from do_dcgm_exporter.collect.profiling import ProfilingWatch
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_text import number_text
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.config.counters import CounterSet, CounterType
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.topology import Topology


@dataclass(frozen=True, slots=True)
class FieldCollector:
    """Exports every field counter on its ``carriers``, which are entities by counter name.

    ``profiling`` knows which profiling fields an entity's GPU does not offer.
    """

    topology: Topology
    labels: LabelBlocks
    carriers: Mapping[str, Sequence[Entity]]
    profiling: ProfilingWatch
    name: str = "fields"

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Yield a family for every field counter that has a sample."""
        lost = self._lost_entities(readings)
        for counter in counters.counters:
            if counter.field is None or counter.name not in self.carriers:
                continue
            entities = self.carriers[counter.name]
            samples = tuple(self._samples(entities, counter.field.id, readings, lost))
            if samples:
                yield Family(counter.name, MetricType(counter.type.value), counter.help, samples)

    def _samples(
        self,
        entities: Sequence[Entity],
        field_id: int,
        readings: Readings,
        lost: frozenset[Entity],
    ) -> Iterator[Sample]:
        unoffered = self.profiling.unoffered
        for entity in entities:
            value = readings.get(entity, field_id)
            if lost and entity in lost:
                value = Absence.GPU_LOST
            elif unoffered and (entity, field_id) in unoffered:
                value = Absence.NOT_OFFERED
            if isinstance(value, (int, float)):
                text = number_text(value)
                for block in self.labels.of(entity):
                    yield Sample(block, text)
            else:
                readings.drop(value if isinstance(value, Absence) else Absence.NOT_A_NUMBER)

    def _lost_entities(self, readings: Readings) -> frozenset[Entity]:
        """Return everything on a lost GPU, as what the engine still answers is not its state."""
        if not readings.lost_gpus:
            return frozenset()
        return frozenset(
            entity
            for entity in self.labels.identities
            if self.topology.gpu_id_of(entity) in readings.lost_gpus
        )


def carriers(counters: CounterSet, entities: Iterable[Entity]) -> Mapping[str, Sequence[Entity]]:
    """Return the entities that carry each field counter, leaving field 230 to XidCollector."""
    entities = tuple(entities)
    return {
        counter.name: tuple(entity for entity in entities if carries(entity.kind, counter))
        for counter in counters.counters
        if counter.field is not None
        and counter.type is not CounterType.LABEL
        and counter.field.id != XID_FIELD
    }
