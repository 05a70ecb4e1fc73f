"""Who holds how much: sums by owner and user, bounded in number."""

from __future__ import annotations

from do_dcgm_exporter.usage.grouping import uses_of
from do_dcgm_exporter.usage.nvml import GpuProcess
from do_dcgm_exporter.usage_report import Use, Workload, WorkloadKind

A, B = Workload(WorkloadKind.UNIT, "a.service"), Workload(WorkloadKind.SLURM_JOB, "42")
OTHERS = Workload(WorkloadKind.UNIT, "(others)")
ALICE, BOB = (A, "alice"), (B, "bob")


def test_processes_of_one_workload_and_user_are_summed_up() -> None:
    processes = [
        GpuProcess("GPU-0", None, 1, 10),
        GpuProcess("GPU-0", None, 2, 20),
        GpuProcess("GPU-0", None, 3, 5),
        GpuProcess("GPU-1", None, 1, 1),
    ]
    assert set(uses_of(processes, {1: ALICE, 2: ALICE, 3: BOB})) == {
        Use("GPU-0", None, A, "alice", 2, 30),
        Use("GPU-0", None, B, "bob", 1, 5),
        Use("GPU-1", None, A, "alice", 1, 1),
    }


def test_instances_of_one_gpu_are_apart() -> None:
    processes = [GpuProcess("GPU-0", 1, 1, 10), GpuProcess("GPU-0", 2, 2, 20)]
    assert set(uses_of(processes, {1: ALICE, 2: ALICE})) == {
        Use("GPU-0", 1, A, "alice", 1, 10),
        Use("GPU-0", 2, A, "alice", 1, 20),
    }


def test_a_process_in_two_compute_instances_counts_once() -> None:
    processes = [GpuProcess("GPU-0", 1, 7, 10), GpuProcess("GPU-0", 1, 7, 20)]
    assert (Use("GPU-0", 1, A, "alice", 1, 30),) == uses_of(processes, {7: ALICE})


def test_memory_is_unknown_only_if_none_is_known() -> None:
    unknown = GpuProcess("GPU-0", None, 1, None)
    (use,) = uses_of([unknown], {1: ALICE})
    assert use.memory is None
    (use,) = uses_of([unknown, GpuProcess("GPU-0", None, 2, 5)], {1: ALICE, 2: ALICE})
    assert (use.processes, use.memory) == (2, 5)


def test_a_process_that_has_ended_uses_nothing() -> None:
    assert () == uses_of([GpuProcess("GPU-0", None, 1, 10)], {})


def test_the_largest_are_shown_and_the_rest_of_each_device_together() -> None:
    processes = [
        GpuProcess(f"GPU-{gpu}", None, 100 * gpu + pid, pid) for gpu in (0, 1) for pid in range(60)
    ]
    identities = {
        process.pid: (Workload(WorkloadKind.CONTAINER, str(process.pid)), "root")
        for process in processes
    }
    uses = uses_of(processes, identities, most=20)
    shown = [use for use in uses if use.workload != OTHERS]
    rest = {use for use in uses if use.workload == OTHERS}
    assert 20 == len(shown)
    assert 50 == min(use.memory or 0 for use in shown)
    assert rest == {
        Use("GPU-0", None, OTHERS, "(others)", 50, sum(range(50))),
        Use("GPU-1", None, OTHERS, "(others)", 50, sum(range(50))),
    }
