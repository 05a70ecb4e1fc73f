"""Ask NVIDIA's management library, NVML, for the processes of a GPU.

``nvmlInit_v2`` initialises no GPU, and ``nvmlDeviceGetHandleByPciBusId_v2`` only the one it is
asked for (nvml.h), which is why GPUs are addressed by their bus id. DCGM would be no way: its
fields 220 and 221 are internal to the engine and know no MIG instances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import (
    CDLL,
    Structure,
    byref,
    c_char_p,
    c_uint,
    c_ulonglong,
    c_void_p,
)
from dataclasses import dataclass
from typing import Any

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.usage.driver import DriverGpu

LIBRARY = "libnvidia-ml.so.1"

# The third versions took a larger structure in drivers 535.43 to 535.86, under the same name.
_LISTS = (
    "nvmlDeviceGetComputeRunningProcesses_v2",
    "nvmlDeviceGetGraphicsRunningProcesses_v2",
    "nvmlDeviceGetMPSComputeRunningProcesses_v2",
)

_NOT_SUPPORTED = 3
_INSUFFICIENT_SIZE = 7
_NO_INSTANCE = 0xFFFFFFFF
_NO_VALUE = 0xFFFFFFFFFFFFFFFF
_FIRST_SIZE = 64
# Processes that are started meanwhile make a list longer than NVML has just said.
_MOST_TRIES = 5


class NvmlError(ExporterError):
    """Raised when NVML does not answer."""


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """What a process holds of a GPU.

    ``gpu`` is the UUID, ``instance`` NVML's number of a MIG GPU instance, ``memory`` in bytes.
    """

    gpu: str
    instance: int | None
    pid: int
    memory: int | None


class _ProcessInfo(Structure):
    _fields_ = (
        ("pid", c_uint),
        ("used_memory", c_ulonglong),
        ("gpu_instance", c_uint),
        ("compute_instance", c_uint),
    )


@contextmanager
def nvml(load: Callable[[str], Any] = CDLL) -> Iterator[Nvml]:
    """Initialise NVML, and shut it down at the end, whatever happens."""
    try:
        library = load(LIBRARY)
    except OSError as error:
        raise NvmlError(f"cannot load NVIDIA's library: {error}") from error
    opened = Nvml(library)
    opened.call("nvmlInit_v2")
    try:
        yield opened
    finally:
        opened.call("nvmlShutdown")


class Nvml:
    """The library, initialised."""

    def __init__(self, library: Any) -> None:
        self._library = library

    def processes(self, gpu: DriverGpu) -> tuple[GpuProcess, ...]:
        """Return the processes that compute or draw on a GPU, and those behind its MPS server."""
        device = c_void_p()
        bus_id = c_char_p(gpu.bus_id.encode())
        self.call("nvmlDeviceGetHandleByPciBusId_v2", bus_id, byref(device))
        # One process may be in two lists, with the same memory in both.
        memory: dict[tuple[int, int, int], int] = {}
        for name in _LISTS:
            for info in self._list(name, device):
                key = (info.pid, info.gpu_instance, info.compute_instance)
                known = (memory.get(key, _NO_VALUE), info.used_memory)
                memory[key] = max((used for used in known if used != _NO_VALUE), default=_NO_VALUE)
        return tuple(
            GpuProcess(
                gpu=gpu.uuid,
                instance=None if instance == _NO_INSTANCE else instance,
                pid=pid,
                memory=None if used == _NO_VALUE else used,
            )
            for (pid, instance, _), used in memory.items()
        )

    def _list(self, name: str, device: c_void_p) -> list[_ProcessInfo]:
        size = _FIRST_SIZE
        for _ in range(_MOST_TRIES):
            count, infos = c_uint(size), (_ProcessInfo * size)()
            status = self._status(name, device, byref(count), infos)
            if status == _NOT_SUPPORTED:
                return []
            if status != _INSUFFICIENT_SIZE:
                self._judge(name, status)
                return infos[: count.value]
            size = 2 * max(size, count.value)
        raise NvmlError(f"{name}: the list of processes grows faster than it can be read")

    def call(self, name: str, *arguments: object) -> None:
        """Call a function. Raises NvmlError if it fails."""
        self._judge(name, self._status(name, *arguments))

    def _status(self, name: str, *arguments: object) -> int:
        try:
            function = getattr(self._library, name)
        except AttributeError as error:
            raise NvmlError(f"the driver is too old: its {LIBRARY} has no {name}") from error
        return int(function(*arguments))

    def _judge(self, name: str, status: int) -> None:
        if status:
            describe = self._library.nvmlErrorString
            describe.restype = c_char_p
            text = describe(status) or b"unknown"
            raise NvmlError(f"{name}: {text.decode('utf-8', 'replace')} ({status})")
