"""NVIDIA's library: what is asked of it, and what becomes of its answers."""

from __future__ import annotations

import ctypes

import pytest
from tests.unit.usage.machine import (
    BUS_IDS,
    COMPUTE,
    GRAPHICS,
    MPS,
    NO_INSTANCE,
    UNKNOWN,
    Library,
    Row,
)

from do_dcgm_exporter.usage.driver import DriverGpu
from do_dcgm_exporter.usage.nvml import GpuProcess, NvmlError, _ProcessInfo, nvml

BUS_ID = BUS_IDS[0]
GPU = f"GPU-{BUS_ID}"


def processes(library: Library) -> tuple[GpuProcess, ...]:
    with nvml(lambda _: library) as opened:
        return opened.processes(DriverGpu(BUS_ID, GPU, 0))


def row(pid: int, memory: int = 1, instance: int = NO_INSTANCE, part: int = NO_INSTANCE) -> Row:
    return pid, memory, instance, part


def test_the_structure_is_that_of_nvml_h() -> None:
    fields = [name for name, *_ in _ProcessInfo._fields_]
    assert [0, 8, 16, 20] == [getattr(_ProcessInfo, name).offset for name in fields]
    assert 24 == ctypes.sizeof(_ProcessInfo)


def test_processes_with_their_memory_and_instance() -> None:
    lists = {(COMPUTE, BUS_ID): [row(100, 7 << 30), row(101, UNKNOWN), row(102, 5, 9, 0)]}
    assert processes(Library(lists)) == (
        GpuProcess(GPU, None, 100, 7 << 30),
        GpuProcess(GPU, None, 101, None),
        GpuProcess(GPU, 9, 102, 5),
    )


def test_a_process_in_two_lists_is_one() -> None:
    lists = {
        (COMPUTE, BUS_ID): [row(100, 7)],
        (GRAPHICS, BUS_ID): [row(100, 7), row(101, 8)],
        (MPS, BUS_ID): [row(102, 9)],
    }
    found = processes(Library(lists))
    assert [(100, 7), (101, 8), (102, 9)] == [(one.pid, one.memory) for one in found]


@pytest.mark.parametrize("memory", [(7, UNKNOWN), (UNKNOWN, 7)])
def test_memory_that_one_list_knows_is_known(memory: tuple[int, int]) -> None:
    lists = {(COMPUTE, BUS_ID): [row(100, memory[0])], (GRAPHICS, BUS_ID): [row(100, memory[1])]}
    (found,) = processes(Library(lists))
    assert 7 == found.memory


def test_long_lists_are_read_whole() -> None:
    rows = [row(pid) for pid in range(1, 1001)]
    assert 1000 == len(processes(Library({(COMPUTE, BUS_ID): rows})))


def test_a_list_that_the_gpu_does_not_have_is_empty() -> None:
    library = Library({(COMPUTE, BUS_ID): [row(100)]}, failures={GRAPHICS: 3, MPS: 3})
    assert 1 == len(processes(library))


@pytest.mark.parametrize(
    ("failures", "complaint"),
    [
        ({"nvmlInit_v2": 9}, r"nvmlInit_v2: Driver Not Loaded \(9\)"),
        ({"nvmlDeviceGetHandleByPciBusId_v2": 15}, r"PciBusId_v2: GPU is lost \(15\)"),
        ({COMPUTE: 999}, r"Unknown Error \(999\)"),
        ({COMPUTE: 7}, "grows faster"),
    ],
)
def test_a_failure_is_told(failures: dict[str, int], complaint: str) -> None:
    with pytest.raises(NvmlError, match=complaint):
        processes(Library(failures=failures))


def test_it_is_shut_down_whatever_happens() -> None:
    library = Library(failures={COMPUTE: 999})
    with pytest.raises(NvmlError):
        processes(library)
    assert "nvmlShutdown" == library.calls[-1]


def test_a_missing_library_is_told() -> None:
    with (
        pytest.raises(NvmlError, match=r"NVIDIA's library: libno-nvml"),
        nvml(lambda _: ctypes.CDLL("libno-nvml.so.1")),
    ):
        pass


def test_a_library_without_the_function_is_too_old() -> None:
    with pytest.raises(NvmlError, match="too old"), nvml(lambda _: object()):
        pass
