"""The whole of it: from /proc and NVIDIA's library to the file."""

from __future__ import annotations

import fcntl
import pwd
from pathlib import Path

import pytest
from tests.unit.usage.machine import BUS_IDS, COMPUTE, NO_INSTANCE, Library, Proc

from do_dcgm_exporter.usage.collector import main
from do_dcgm_exporter.usage_report import REPORT, UsageReport, Use, Workload, WorkloadKind, decode

USER = pwd.getpwuid(0).pw_name


@pytest.fixture(autouse=True)
def directory(tmp_path: Path) -> Path:
    """The unit's RuntimeDirectory."""
    path = tmp_path / REPORT.parent.relative_to("/")
    path.mkdir(parents=True)
    return path


def run(proc: Proc, library: object) -> UsageReport:
    def load(name: str) -> object:
        if isinstance(library, OSError):
            raise library
        return library

    assert 0 == main(proc.root, load)
    return decode((proc.root / REPORT.relative_to("/")).read_bytes())


def busy(proc: Proc) -> Library:
    """Two GPUs: the engine has both open, one process of root computes on the first."""
    for minor, bus_id in enumerate(BUS_IDS):
        proc.gpu(bus_id, minor)
    proc.process(90, "/dev/nvidiactl", "/dev/nvidia0", "/dev/nvidia1")
    proc.process(100, "/dev/nvidia0", uid=0, group="/system.slice/trainer.service")
    return Library({(COMPUTE, BUS_IDS[0]): [(100, 5 << 30, NO_INSTANCE, NO_INSTANCE)]})


def test_who_uses_what_is_written(proc: Proc) -> None:
    report = run(proc, busy(proc))
    workload = Workload(WorkloadKind.UNIT, "trainer.service")
    assert report.uses == (Use(f"GPU-{BUS_IDS[0]}", None, workload, USER, 1, 5 << 30),)
    assert report.complaint == ""


def test_a_user_without_a_name_is_a_number(proc: Proc) -> None:
    busy(proc)
    proc.process(101, uid=3_999_999)
    rows = [(101, 1, NO_INSTANCE, NO_INSTANCE)]
    (use,) = run(proc, Library({(COMPUTE, BUS_IDS[0]): rows})).uses or ()
    assert "3999999" == use.user


def test_everybody_may_read_the_file_and_nothing_else_is_left(proc: Proc, directory: Path) -> None:
    run(proc, busy(proc))
    modes = {file.name: file.stat().st_mode & 0o777 for file in directory.iterdir()}
    assert {REPORT.name: 0o644, ".lock": 0o600} == modes


@pytest.mark.parametrize("has_driver", [True, False])
def test_nvml_is_not_touched_where_nobody_has_a_gpu_open(proc: Proc, has_driver: bool) -> None:
    if has_driver:
        proc.gpu(BUS_IDS[0], 0)
    proc.process(100, "/dev/nvidiactl")
    # Loading it would fail.
    assert not run(proc, OSError("it was loaded")).complaint
    proc.process(101, "/dev/nvidia0")
    assert has_driver == bool(run(proc, OSError("it was loaded")).complaint)


def test_only_gpus_that_are_open_are_asked_for(proc: Proc) -> None:
    library = Library()
    for minor, bus_id in enumerate(BUS_IDS):
        proc.gpu(bus_id, minor)
    proc.process(100, "/dev/nvidia1")
    assert () == run(proc, library).uses
    assert [BUS_IDS[1]] == library.asked


def test_it_is_initialised_and_shut_down_once(proc: Proc) -> None:
    library = busy(proc)
    run(proc, library)
    assert ("nvmlInit_v2", "nvmlShutdown") == (library.calls[0], library.calls[-1])
    assert 1 == library.calls.count("nvmlInit_v2") == library.calls.count("nvmlShutdown")


def test_a_lost_gpu_hides_no_other(proc: Proc) -> None:
    library = busy(proc)
    library.lost = (BUS_IDS[1],)
    report = run(proc, library)
    assert report.uses
    assert report.looked_at == (f"GPU-{BUS_IDS[0]}",)
    assert f"GPU {BUS_IDS[1]}: nvmlDeviceGetHandleByPciBusId_v2: GPU is lost (15)" == (
        report.complaint
    )


def test_a_complaint_is_told_once_and_again_after_it_was_gone(
    proc: Proc, capsys: pytest.CaptureFixture[str]
) -> None:
    library = busy(proc)
    for broken, told in ((True, 1), (True, 0), (False, 0), (True, 1)):
        library.failures = {"nvmlInit_v2": 9} if broken else {}
        report = run(proc, library)
        assert bool(report.looked_at) == bool(report.uses) != broken
        assert told == capsys.readouterr().err.count("Driver Not Loaded (9)")


def test_while_an_earlier_run_hangs_in_the_driver_nothing_is_asked(
    proc: Proc, directory: Path
) -> None:
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert 0 == main(proc.root, lambda _: pytest.fail("NVML was loaded"))
    assert not (directory / REPORT.name).exists()


def test_a_file_of_another_version_is_replaced(proc: Proc, directory: Path) -> None:
    (directory / REPORT.name).write_text('{"version": 9}')
    assert run(proc, busy(proc)).uses


def test_what_cannot_be_written_fails_the_unit(
    proc: Proc, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory.rmdir()
    assert 1 == main(proc.root, lambda _: busy(proc))
    assert "the users of the GPUs are not known" in capsys.readouterr().err
