"""What a process belongs to, by its control groups, as runtimes and Slurm lay them out."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest
from tests.unit.usage.machine import Proc

from do_dcgm_exporter.usage.workloads import user_of, workload_of

ID = "0123456789abcdef" * 4
SHORT = ID[:12]

Look = Callable[[str], tuple[str, str]]


def of(proc: Proc, control_groups: str, names: Callable[[str], str | None]) -> tuple[str, str]:
    proc.process(7)
    (proc.path / "7" / "cgroup").write_text(control_groups)
    found = workload_of(proc.path, "7", names)
    return found.kind.value, found.name


@pytest.fixture
def workload(proc: Proc) -> Look:
    return partial(of, proc, names=lambda _: None)


@pytest.mark.parametrize(
    "control_groups",
    [
        "0::/system.slice/slurmstepd.scope/job_42/step_0/user/task_0\n",
        "0::/system.slice/gpu-1_slurmstepd.scope/job_42/step_batch/user/task_special\n",
        (
            "9:memory:/slurm/uid_1000/job_42/step_0/task_0\n"
            "5:devices:/slurm/uid_1000/job_42/step_0\n"
            "1:name=systemd:/system.slice/slurmd.service\n"
        ),
        "4:cpuset:/slurm_gpu-1/uid_1000/job_42/step_extern\n0::/system.slice/slurmd.service\n",
        # slurmd in a pod, and a container within the job.
        (
            f"0::/kubepods.slice/kubepods-pod1.slice/cri-containerd-{ID}.scope"
            "/system.slice/slurmstepd.scope/job_42/step_0\n"
        ),
    ],
)
def test_slurm_jobs(workload: Look, control_groups: str) -> None:
    assert workload(control_groups) == ("slurm_job", "42")


@pytest.mark.parametrize(
    "control_groups",
    [
        f"0::/system.slice/docker-{ID}.scope\n",
        f"5:devices:/docker/{ID}\n1:name=systemd:/docker/{ID}\n",
        (
            f"0::/kubepods.slice/kubepods-besteffort.slice/kubepods-besteffort-pod1.slice"
            f"/cri-containerd-{ID}.scope\n"
        ),
        f"0::/kubepods/burstable/pod7e0c/{ID}\n",
        f"0::/system.slice/containerd.service/kubepods-pod1.slice:cri-containerd:{ID}\n",
        f"0::/kubepods.slice/kubepods-pod1.slice/crio-{ID}.scope/container\n",
        f"0::/machine.slice/libpod-{ID}.scope/container\n",
        f"0::/system.slice/trainer.service/libpod-payload-{ID}\n",
        f"0::/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope\n",
        f"0::/system.slice/nerdctl-{ID}.scope\n",
        # The outer one: of the inner one, this machine has no name.
        f"0::/system.slice/docker-{ID}.scope/docker/{'f' * 64}\n",
    ],
)
def test_containers_without_a_known_name(workload: Look, control_groups: str) -> None:
    assert workload(control_groups) == ("container", SHORT)


def test_a_container_is_called_by_its_name(proc: Proc) -> None:
    names = {ID: "trainer"}.get
    assert of(proc, f"0::/system.slice/docker-{ID}.scope\n", names) == ("container", "trainer")


@pytest.mark.parametrize(
    ("control_groups", "name"),
    [
        ("0::/system.slice/trainer.service\n", "trainer.service"),
        ("0::/system.slice/trainer.service/workers/3\n", "trainer.service"),
        ("0::/system.slice/system-trainer.slice/trainer@0.service\n", "trainer@0.service"),
        (
            "0::/\n5:devices:/system.slice/other.service\n1:name=systemd:/system.slice/a.service\n",
            "a.service",
        ),
        ("0::/user.slice/user-1000.slice/session-c12.scope\n", "(login session)"),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/jupyter.service\n",
            "jupyter.service",
        ),
        (
            "0::/user.slice/user-1000.slice/user@1000.service/app.slice/app-x.scope\n",
            "(login session)",
        ),
        ("0::/system.slice/run-u7.scope\n", "(none)"),
        ("0::/system.slice/run-u123.service\n", "(systemd-run)"),
        ("0::/system.slice/run-p1-i2.service\n", "(systemd-run)"),
        ("0::/system.slice/run-rfe0c41.service\n", "(systemd-run)"),
        ("0::/system.slice/run-training.service\n", "run-training.service"),
        ("0::/\n", "(none)"),
        ("", "(none)"),
        ("nonsense\n", "(none)"),
    ],
)
def test_units(workload: Look, control_groups: str, name: str) -> None:
    assert workload(control_groups) == ("unit", name)


@pytest.mark.parametrize("path", ["/lxc.payload.lab/system.slice/a.service", "/lab/job_7"])
def test_system_containers(workload: Look, path: str) -> None:
    assert workload(f"0::{path}\n") == ("container", "lab")


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("/system.slice/a.service", "a.service"),  # PrivatePIDs=, or a sandbox
        ("/user.slice/user-1000.slice/session-3.scope", "(login session)"),
        ("/user.slice/user-1000.slice/user@1000.service/app.slice/a.scope", "(login session)"),
    ],
)
def test_a_pid_namespace_makes_no_container(proc: Proc, group: str, name: str) -> None:
    proc.process(8)
    (proc.path / "8" / "status").write_text("Uid:\t0\t0\t0\t0\nNSpid:\t8\t1\n")
    (proc.path / "8" / "cgroup").write_text(f"0::{group}\n")
    assert workload_of(proc.path, "8", lambda _: None).name == name


@pytest.mark.parametrize(
    "path",
    [
        "/system.slice/a.service/job_42",
        "/system.slice/slurmstepd.scope.service/job_42",
        f"/system.slice/{ID}0.service",
        f"/system.slice/{ID[:-1]}.scope",
    ],
)
def test_what_only_looks_like_a_job_or_a_container_is_none(workload: Look, path: str) -> None:
    assert workload(f"0::{path}\n")[0] == "unit"


def test_the_user_is_the_one_who_started_it(proc: Proc) -> None:
    proc.process(7, uid=0)
    proc.process(8, uid=3_999_999)
    assert ("root", "3999999") == (user_of(proc.path, "7"), user_of(proc.path, "8"))
