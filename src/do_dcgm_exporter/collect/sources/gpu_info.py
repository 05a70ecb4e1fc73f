"""Make one series per GPU and instance with its label counters (``--label-fields-as-info``).

do_dcgm_exporter_gpu_info{gpu="0",UUID="GPU-…",…,Hostname="droplet",DCGM_FI_DRIVER_VERSION="…"} 1
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.config.counters import CounterSet
from do_dcgm_exporter.dcgm.entities import Entity

GPU_INFO = "do_dcgm_exporter_gpu_info"
_HELP = "1, with the label counters of a GPU or GPU instance as labels."


@dataclass(frozen=True, slots=True)
class GpuInfoCollector:
    """Describes ``entities``. A lost GPU keeps its last description, as it keeps its XIDs."""

    labels: LabelBlocks
    entities: Sequence[Entity]
    name: str = "gpu_info"

    def collect(self, _: CounterSet, __: Readings) -> Iterator[Family]:
        """Yield the info family, which no counter asks for."""
        samples = tuple(Sample(self.labels.info_of(entity), "1") for entity in self.entities)
        yield Family(GPU_INFO, MetricType.GAUGE, _HELP, samples)
