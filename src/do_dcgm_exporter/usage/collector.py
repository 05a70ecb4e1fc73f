"""Write who uses the GPUs, for the exporter, which may not look at other processes.

A GPU that no process has open is not touched: NVML would initialise it, which takes seconds without
persistence mode. So NVML is asked for GPUs that are open anyway, and never holds the driver alone.
"""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from ctypes import CDLL
from functools import cache, partial
from pathlib import Path
from typing import Any

from do_dcgm_exporter.durable_files import replace
from do_dcgm_exporter.usage.containers import container_name
from do_dcgm_exporter.usage.driver import DriverGpu, open_gpus
from do_dcgm_exporter.usage.grouping import Identity, uses_of
from do_dcgm_exporter.usage.nvml import GpuProcess, NvmlError, nvml
from do_dcgm_exporter.usage.workloads import user_of, workload_of
from do_dcgm_exporter.usage_report import (
    LARGEST,
    NOT_A_REPORT,
    REPORT,
    UsageReport,
    decode,
    encode,
)

_LOCK = ".lock"


def collect(root: Path, load: Callable[[str], Any] = CDLL) -> UsageReport:
    """Return who uses the GPUs now."""
    gpus = open_gpus(root)
    failures: dict[str, str] = {}
    processes = tuple(_processes(gpus, load, failures)) if gpus else ()
    identities = dict(_identities(root, {process.pid for process in processes}))
    # One sentence for what befell all of them.
    complaint = "; ".join(dict.fromkeys(failures.values()))
    looked_at = tuple(gpu.uuid for gpu in gpus if gpu.uuid not in failures)
    return UsageReport(time.time(), uses_of(processes, identities), looked_at, complaint)


def _processes(
    gpus: Iterable[DriverGpu], load: Callable[[str], Any], failures: dict[str, str]
) -> Iterator[GpuProcess]:
    """Yield the processes of all GPUs but those that are lost or whose process list is refused."""
    try:
        with nvml(load) as library:
            for gpu in gpus:
                try:
                    yield from library.processes(gpu)
                except NvmlError as error:
                    failures[gpu.uuid] = f"GPU {gpu.bus_id}: {error}"
    except NvmlError as error:
        failures.update(dict.fromkeys((gpu.uuid for gpu in gpus), str(error)))


def _identities(root: Path, pids: Iterable[int]) -> Iterator[tuple[int, Identity]]:
    proc, name = root / "proc", cache(partial(container_name, root))
    for pid in pids:
        with suppress(FileNotFoundError, ProcessLookupError):  # it has ended
            yield pid, (workload_of(proc, str(pid), name), user_of(proc, str(pid)))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep other runs out. Raises BlockingIOError while there is one."""
    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)  # whoever may open it could hold it
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(lock)


def _last_complaint(path: Path) -> str:
    try:
        with open(path, "rb") as file:
            return decode(file.read(LARGEST)).complaint
    except (OSError, *NOT_A_REPORT):
        return ""  # there is none, or it was written by another version


def main(root: Path = Path("/"), load: Callable[[str], Any] = CDLL) -> int:
    """Write the report, and return the exit status."""
    path = root / REPORT.relative_to("/")
    try:
        with _alone(path.with_name(_LOCK)):
            report = collect(root, load)
            # The timer runs this every minute: what is wrong is told once.
            if report.complaint not in {"", _last_complaint(path)}:
                print(f"not all users of the GPUs are known: {report.complaint}", file=sys.stderr)
            replace(path, encode(report))
    except BlockingIOError:
        return 0  # an earlier run hangs in the driver, where nothing can end it
    except OSError as error:
        print(f"the users of the GPUs are not known: {error}", file=sys.stderr)
        return 1
    return 0
