"""Who uses the GPUs: from the file of the root oneshot to the page."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import NOW, Clock

from do_dcgm_exporter.collect.machine import MachineState, Roster
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.samples import Snapshot
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.topology import Gpu, GpuInstance, Topology
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.exposition import render
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.gpu_users import GpuUsers
from do_dcgm_exporter.page.own_metrics import Telemetry, TelemetryRegistry
from do_dcgm_exporter.usage_report import UsageReport, Use, Workload, WorkloadKind, encode

PROCESSES = "do_dcgm_exporter_gpu_processes"
MEMORY = "do_dcgm_exporter_gpu_process_memory_bytes"
# DCGM's ids are not in the order of the UUIDs, and GPU 2 was lost before the start.
GPUS = (Gpu(0, "GPU-b", "", "H100"), Gpu(1, "GPU-a", "", "H100"), Gpu(2, "", "", ""))
INSTANCES = (GpuInstance(7, 1, 9, "1g.10gb"),)
TRAINER = Workload(WorkloadKind.UNIT, "trainer.service")


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "gpu-usage.json"


@pytest.fixture
def telemetry(report: Path, clock: Clock) -> Telemetry:
    telemetry = Telemetry(CallCount(), ForwardStatistics(), gpu_users=GpuUsers(report, clock=clock))
    roster = Roster(topology=Topology(GPUS, INSTANCES), gpus=GPUS)
    result = CycleResult(
        snapshot=Snapshot(()),
        gpus=3,
        gpus_up={0: True, 1: True, 2: False},
        nvlink_states={},
        driver_version="",
        dropped={},
        outcomes=(),
        poisoned_fields=frozenset(),
        profiling_reason="",
        warming_up=False,
        machine=MachineState(roster=roster, lost_gpus=frozenset({2})),
    )
    telemetry.record(result, Versions(), 0.1, NOW)
    return telemetry


def write(report: Path, *uses: Use, time: float = NOW) -> None:
    """Write a report as the collector does, each in a new file."""
    new = report.with_name("new")
    new.write_bytes(encode(UsageReport(time, uses, ("GPU-a", "GPU-b"))))
    new.replace(report)


def samples(telemetry: Telemetry, name: str) -> dict[tuple[str, ...], float]:
    """The samples of a family on the page, by their labels."""
    page = render(TelemetryRegistry(telemetry).families()).text.decode()
    return {
        tuple(f"{label}={value}" for label, value in sample.labels.items()): sample.value
        for family in parse_text(page)
        for sample in family.samples
        if sample.name == name
    }


def test_without_a_report_there_is_no_family(telemetry: Telemetry) -> None:
    names = {family.name for family in TelemetryRegistry(telemetry).families()}
    assert "do_dcgm_exporter_gpu_up" in names
    assert names.isdisjoint({PROCESSES, MEMORY})


def test_each_kind_of_workload_has_its_label(telemetry: Telemetry, report: Path) -> None:
    write(
        report,
        Use("GPU-b", None, TRAINER, "alice", 8, 7 << 30),
        Use("GPU-b", None, Workload(WorkloadKind.CONTAINER, 'a"b'), "root", 1, 5),
        Use("GPU-a", 9, Workload(WorkloadKind.SLURM_JOB, "42"), "bob", 2, None),
    )
    assert samples(telemetry, PROCESSES) == {
        ("gpu=0", "unit=trainer.service", "user=alice"): 8,
        ("gpu=0", 'container=a"b', "user=root"): 1,
        ("gpu=1", "GPU_I_PROFILE=1g.10gb", "GPU_I_ID=9", "slurm_job=42", "user=bob"): 2,
    }
    assert samples(telemetry, MEMORY) == {
        ("gpu=0", "unit=trainer.service", "user=alice"): 7 << 30,
        ("gpu=0", 'container=a"b', "user=root"): 5,
    }


def test_a_gpu_that_nobody_uses_has_no_processes(telemetry: Telemetry, report: Path) -> None:
    write(report)
    assert {("gpu=0",): 0, ("gpu=1",): 0} == samples(telemetry, PROCESSES)
    assert {} == samples(telemetry, MEMORY)


def test_gpus_out_of_scope_are_not_shown(telemetry: Telemetry, report: Path) -> None:
    write(report, Use("GPU-of-another-scope", None, TRAINER, "alice", 8, 1))
    assert not any("alice" in "".join(labels) for labels in samples(telemetry, PROCESSES))


def test_a_report_older_than_three_minutes_is_dropped(
    telemetry: Telemetry, report: Path, clock: Clock
) -> None:
    write(report)
    clock.now = NOW + 180
    assert samples(telemetry, PROCESSES)
    clock.now = NOW + 181
    assert {} == samples(telemetry, PROCESSES)


def test_unknown_is_not_none(telemetry: Telemetry, report: Path) -> None:
    report.write_bytes(encode(UsageReport(NOW, (), ("GPU-b",), "GPU 0000:43:00.0: no answer")))
    assert {("gpu=0",): 0} == samples(telemetry, PROCESSES)


def test_in_an_outage_there_are_no_users(telemetry: Telemetry, report: Path) -> None:
    write(report)
    telemetry.record_outage(engine_up=False)
    assert {} == samples(telemetry, PROCESSES)


def test_one_series_is_shown_once_whatever_the_file_holds(
    telemetry: Telemetry, report: Path
) -> None:
    use = Use("GPU-b", None, TRAINER, "alice", 8, 1)
    write(report, use, use)
    page = render(TelemetryRegistry(telemetry).families()).text.decode()
    assert 1 == page.count(PROCESSES + '{gpu="0"')


COMPLETE: dict[str, Any] = {
    "gpu": "GPU-b",
    "instance": None,
    "workload": {"kind": "unit", "name": "a"},
    "user": "u",
    "processes": 1,
    "memory": 1,
}
REST = {"looked_at": ["GPU-b"], "complaint": ""}


@pytest.mark.parametrize(
    "change",
    [
        {"workload": {"kind": "pod", "name": "a"}},
        {"processes": None},
        {"memory": "much"},
        {"instance": [1]},
    ],
    ids=str,
)
def test_a_use_of_another_shape_is_told_and_not_shown(
    telemetry: Telemetry, report: Path, change: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    report.write_text(json.dumps({"time": NOW, "uses": [COMPLETE | change]} | REST))
    assert {} == samples(telemetry, PROCESSES)
    assert {} == samples(telemetry, PROCESSES)
    assert 1 == caplog.text.count("cannot understand")
    report.write_text(json.dumps({"time": NOW, "uses": [COMPLETE]} | REST))
    assert 1 == samples(telemetry, PROCESSES)["gpu=0", "unit=a", "user=u"]
