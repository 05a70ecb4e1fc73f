"""Make a counter of energy for GPUs that have none, from the samples of their power.

DCGM_EXP_SAMPLED_ENERGY_JOULES_TOTAL{gpu="0",UUID="GPU-…",…,Hostname="droplet"} 81204.311

The samples themselves are read. A summary would be cheaper, but its integral counts the time of an
outage between two samples like any other.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from do_dcgm_exporter.collect.energy_log import EnergyLog
from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.plan import ENERGY_FIELD, POWER_FIELD
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.sample_text import number_text
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.collect.sampling import Sampling
from do_dcgm_exporter.config.counters import CounterSet, Special
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.side_call import SideCall
from do_dcgm_exporter.dcgm.topology import Topology

# A sample may be late. Where more than two are missing, nobody knows what was drawn meanwhile.
_INTERVALS_JOINED = 3
_SHORTEST_JOINED = 1.0

_Samples = Mapping[Entity, Sequence[RawValue]]


@dataclass(slots=True)
class EnergyCollector:
    """Reads the samples of ``watches``, which are of power alone, if the GPU counts no energy."""

    engine: HostEngine
    topology: Topology
    labels: LabelBlocks
    log: EnergyLog
    sampling: Sampling
    watches: Sequence[Watch]
    entities: Sequence[Entity]
    clock: Callable[[], float] = time.monotonic
    name: str = "energy"
    _question: SideCall[_Samples] = field(init=False)

    def __post_init__(self) -> None:
        interval = self.sampling.between_pages
        self._question = SideCall(dict, 0.0, interval, self.clock)

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Add the newest samples, and yield the family if it was asked for.

        Raises CallRefused.
        """
        entities = [entity for entity in self.entities if self._needs(entity, readings)]
        if entities:
            self._take(entities, readings)
        for counter in counters.counters:
            if counter.special is Special.SAMPLED_ENERGY:
                samples = tuple(self._samples(entities))
                yield Family(counter.name, MetricType(counter.type.value), counter.help, samples)

    def _needs(self, entity: Entity, readings: Readings) -> bool:
        """Return whether an entity has power that can be read, and no counter of energy."""
        if readings.get(entity, ENERGY_FIELD) is not Absence.NOT_SUPPORTED:
            return False
        if self.topology.gpu_id_of(entity) in readings.lost_gpus:
            readings.drop(Absence.GPU_LOST)
            return False
        power = readings.get(entity, POWER_FIELD)
        if isinstance(power, Absence):
            readings.drop(power)
        return not isinstance(power, Absence)

    def _take(self, entities: Sequence[Entity], readings: Readings) -> None:
        since = min(
            self.log.asks_from(entity, readings.raw[entity, POWER_FIELD].timestamp)
            for entity in entities
        )
        self._question.ask = partial(self._ask, since)
        found = self._question.answer()
        longest = max(_INTERVALS_JOINED * self.sampling.interval, _SHORTEST_JOINED)
        for entity in entities:
            self.log.add(entity, found.get(entity, ()), longest)

    def _ask(self, since: int) -> _Samples:
        found: dict[Entity, list[RawValue]] = defaultdict(list)
        for watch in self.watches:
            for raw in self.engine.since(watch, since):
                if raw.timestamp:
                    found[raw.entity].append(raw)
        return found

    def _samples(self, entities: Sequence[Entity]) -> Iterator[Sample]:
        for entity in entities:
            for block in self.labels.of(entity):
                yield Sample(block, number_text(round(self.log.joules(entity), 3)))
