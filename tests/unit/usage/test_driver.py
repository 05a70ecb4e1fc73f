"""Which GPUs some process has open, without touching any of them."""

from __future__ import annotations

import pytest
from tests.unit.usage.machine import BUS_IDS, Proc

from do_dcgm_exporter.usage.driver import DriverGpu, open_gpus


def test_without_a_driver_there_is_no_gpu(proc: Proc) -> None:
    proc.process(100, "/dev/nvidia0")
    assert () == open_gpus(proc.root)


def test_gpus_that_some_process_has_open(proc: Proc) -> None:
    # Minor numbers need not follow the bus.
    proc.gpu(BUS_IDS[0], 1)
    proc.gpu(BUS_IDS[1], 0)
    proc.process(100, "/dev/null", "/dev/nvidiactl", "/dev/nvidia-uvm", "socket:[7]")
    assert () == open_gpus(proc.root)
    proc.process(101, "/dev/null", "/dev/nvidia1")
    assert (DriverGpu(BUS_IDS[0], f"GPU-{BUS_IDS[0]}", 1),) == open_gpus(proc.root)
    proc.process(102, "/dev/nvidia0")
    assert BUS_IDS == tuple(gpu.bus_id for gpu in open_gpus(proc.root))


@pytest.mark.parametrize(
    "link", ["/dev/nvidiactl", "/dev/nvidia-caps/nvidia-cap1", "/dev/nvidia10", "/tmp/0"]
)
def test_other_files_are_no_gpu(proc: Proc, link: str) -> None:
    proc.gpu(BUS_IDS[0], 1)
    proc.process(100, link)
    assert () == open_gpus(proc.root)


def test_a_process_that_ends_meanwhile_hides_no_other(proc: Proc) -> None:
    proc.gpu(BUS_IDS[0], 0)
    proc.process(101, "/dev/nvidia0")
    (proc.path / "100").mkdir()
    assert 1 == len(open_gpus(proc.root))


def test_a_gpu_that_is_suspended_is_left_alone(proc: Proc) -> None:
    proc.gpu(BUS_IDS[0], 0)
    proc.process(101, "/dev/nvidia0")
    status = proc.root / "sys" / "bus" / "pci" / "devices" / BUS_IDS[0] / "power" / "runtime_status"
    status.parent.mkdir(parents=True)
    for text, number in (("suspended\n", 0), ("active\n", 1)):
        status.write_text(text)
        assert number == len(open_gpus(proc.root))


def test_a_device_file_that_was_made_anew_is_still_open(proc: Proc) -> None:
    proc.gpu(BUS_IDS[0], 0)
    proc.process(101, "/dev/nvidia0 (deleted)")
    assert 1 == len(open_gpus(proc.root))
