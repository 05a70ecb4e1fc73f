"""A machine for these tests: a /proc and a stand-in for NVIDIA's library."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NO_INSTANCE = 0xFFFFFFFF
UNKNOWN = 0xFFFFFFFFFFFFFFFF
COMPUTE = "nvmlDeviceGetComputeRunningProcesses_v2"
GRAPHICS = "nvmlDeviceGetGraphicsRunningProcesses_v2"
MPS = "nvmlDeviceGetMPSComputeRunningProcesses_v2"
BUS_IDS = ("0000:1b:00.0", "0000:43:00.0")

# pid, memory, GPU instance, compute instance
Row = tuple[int, int, int, int]


class Proc:
    """Writes /proc below ``root``."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = root / "proc"
        self.path.mkdir()
        (self.path / "meminfo").write_text("")

    def gpu(self, bus_id: str, minor: int) -> None:
        directory = self.path / "driver" / "nvidia" / "gpus" / bus_id
        directory.mkdir(parents=True)
        (directory / "information").write_text(
            "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 128\n"
            f"GPU UUID: \t GPU-{bus_id}\nBus Location: \t {bus_id}\n"
            f"Device Minor: \t {minor}\nGPU Excluded:\t No\n"
        )

    def process(
        self, pid: int, *links: str, uid: int = 4_000_000, group: str = "/system.slice/a.service"
    ) -> None:
        directory = self.path / str(pid)
        (directory / "fd").mkdir(parents=True)
        for number, link in enumerate(links):
            os.symlink(link, directory / "fd" / str(number))
        (directory / "status").write_text(f"Name:\tpython\nUid:\t{uid}\t0\t0\t0\nGid:\t7\t7\n")
        (directory / "cgroup").write_text(f"0::{group}\n")


@dataclass
class Library:
    """NVIDIA's library, which is called with ctypes' values as the real one is.

    ``lists`` are by function and bus id, ``failures`` the status of a function.
    """

    lists: Mapping[tuple[str, str], Sequence[Row]] = field(default_factory=dict)
    failures: Mapping[str, int] = field(default_factory=dict)
    lost: Sequence[str] = ()
    calls: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        if name == "nvmlErrorString":
            return ErrorString()
        if not name.startswith("nvml"):
            raise AttributeError(name)
        return lambda *arguments: self._call(name, arguments)

    def _call(self, name: str, arguments: tuple[Any, ...]) -> int:
        self.calls.append(name)
        if name in self.failures:
            return self.failures[name]
        if name == "nvmlDeviceGetHandleByPciBusId_v2":
            return self._handle(*arguments)
        if name in {COMPUTE, GRAPHICS, MPS}:
            return self._list(self.lists.get((name, self.asked[-1]), ()), *arguments[1:])
        return 0

    def _handle(self, bus_id: Any, device: Any) -> int:
        self.asked.append(bus_id.value.decode())
        device._obj.value = len(self.asked)
        return 15 if self.asked[-1] in self.lost else 0

    def _list(self, rows: Sequence[Row], count: Any, infos: Any) -> int:
        size, count._obj.value = count._obj.value, len(rows)
        if len(rows) > size:
            return 7
        for info, row in zip(infos, rows):
            (info.pid, info.used_memory, info.gpu_instance, info.compute_instance) = row
        return 0


class ErrorString:
    """The function that names a status."""

    restype: Any = None

    def __call__(self, status: int) -> bytes:
        return {9: b"Driver Not Loaded", 15: b"GPU is lost"}.get(status, b"Unknown Error")
