"""Find the Slurm jobs on each GPU and MIG instance in the report of who uses the GPUs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from do_dcgm_exporter.collect.report_file import ReportFile
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.usage_report import UsageReport, WorkloadKind


@dataclass(frozen=True, slots=True)
class SlurmJobs:
    """The jobs of one topology's GPUs; none while there is no current report."""

    topology: Topology
    file: ReportFile[UsageReport]

    def read(self) -> Mapping[str, tuple[str, ...]]:
        """Return job ids, sorted, by ``gpu`` or ``gpu.instance``."""
        report = self.file.content()
        gpus = {gpu.uuid: str(gpu.id) for gpu in self.topology.gpus if gpu.uuid}
        found: dict[str, set[str]] = {}
        for use in report.uses if report else ():
            if use.workload.kind is WorkloadKind.SLURM_JOB and use.gpu in gpus:
                instance = "" if use.instance is None else f".{use.instance}"
                found.setdefault(gpus[use.gpu] + instance, set()).add(use.workload.name)
        return {place: tuple(sorted(jobs)) for place, jobs in found.items()}
