"""Read who uses the GPUs, as a root oneshot of the package last found."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.collect.usage_file import usage_file
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.usage_report import REPORT, Use

_PROCESSES = "do_dcgm_exporter_gpu_processes"
_MEMORY = "do_dcgm_exporter_gpu_process_memory_bytes"

Labels = tuple[tuple[str, str], ...]
# By the GPU's id, the largest first.
GpuUses = Mapping[int, tuple[Use, ...]]


class GpuUsers:
    """The report. Each cycle costs one stat of its file."""

    def __init__(self, path: Path = REPORT, *, clock: Callable[[], float] = time.time) -> None:
        self._file = usage_file(path, clock=clock)

    def on(self, machine: MachineState) -> GpuUses | None:
        """Return the uses of each GPU for which they are known, None if nobody is looking."""
        report = self._file.content()
        if report is None:
            return None
        ranked = sorted(
            report.uses, key=lambda use: (-(use.memory or 0), -use.processes, use.workload.name)
        )
        return {
            gpu.id: tuple(use for use in ranked if use.gpu == gpu.uuid)
            for gpu in machine.roster.gpus
            if gpu.id not in machine.lost_gpus and gpu.uuid in report.looked_at
        }


def families(uses: GpuUses, topology: Topology) -> Iterator[Metric]:
    """Yield the families. A GPU that was looked at and that nobody uses has 0 processes."""
    processes: dict[Labels, int] = {}
    memory: dict[Labels, int] = {}
    for gpu, its_uses in uses.items():
        if not its_uses:
            processes[("gpu", str(gpu)),] = 0
        for use in its_uses:
            labels = (("gpu", str(gpu)), *_labels(gpu, use, topology))
            processes[labels] = use.processes
            if use.memory is not None:
                memory[labels] = use.memory
    yield _family(_PROCESSES, "Processes that use the GPU, as last counted.", processes)
    yield _family(_MEMORY, "GPU memory that these processes hold, in bytes.", memory)


def _labels(gpu: int, use: Use, topology: Topology) -> Labels:
    instance: Labels = ()
    if use.instance is not None:
        profiles = {(one.gpu_id, one.instance_id): one.profile for one in topology.gpu_instances}
        profile = profiles.get((gpu, use.instance), "")
        instance = (("GPU_I_PROFILE", profile), ("GPU_I_ID", str(use.instance)))
    return (*instance, (use.workload.kind.value, use.workload.name), ("user", use.user))


def _family(name: str, text: str, samples: Mapping[Labels, int]) -> Metric:
    family = GaugeMetricFamily(name, text)
    for labels, value in samples.items():
        family.add_sample(name, dict(labels), float(value))
    return family
