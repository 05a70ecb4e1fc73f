"""The program under measurement: a real exporter on a real simulated engine."""

from __future__ import annotations

import ctypes
import re
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cases import Case
from tests.bench.program import Program

import dcgm_simulator
from dcgm_simulator.process import SimulatedEngine

DEFAULT_INTERVAL_MS = 20_000

_PATIENCE = 60.0
_LOOK_EVERY = 0.005

# On every page with values, on any machine; profiling comes later.
_FULL = b"\nDCGM_FI_DEV_GPU_TEMP{"
_PROFILING = b"\nDCGM_FI_PROF_"


def cpu_seconds(pid: int) -> float:
    """CPU time a process has used so far, finer than the ticks in /proc."""
    clock = ctypes.c_int()
    error = ctypes.CDLL(None).clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise ProcessLookupError(pid)
    return time.clock_gettime(clock.value)


def resident_megabytes(pid: int | str) -> float:
    """The present memory of a process (an id, or ``self``)."""
    match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert match, "no VmRSS"
    return int(match.group(1)) / 1000


@dataclass(frozen=True)
class Subject:
    """A running exporter, with the seconds its start took, and its memory then."""

    pid: int
    port: int
    until_full: float
    until_profiling: float
    resident_after_start: float

    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system."""
        return cpu_seconds(self.pid)

    def resident_megabytes(self) -> float:
        """Its present memory."""
        return resident_megabytes(self.pid)

    def page(self) -> bytes:
        """Its page, uncompressed."""
        return get(self.port)


@contextmanager
def engine_for(case: Case) -> Iterator[SimulatedEngine]:
    """Start the machine of ``case``."""
    with SimulatedEngine.start(scenario=case.machine.scenario) as engine:
        for command in case.machine.cuts():
            engine.control(*command)
        yield engine


def options_for(case: Case, engine: SimulatedEngine) -> list[str]:
    """The options of an exporter that reads ``case`` from ``engine``."""
    return [
        f"--remote-hostengine-info={engine.address}",
        f"--dcgm-bindings={dcgm_simulator.bindings_directory()}",
        f"--default-counters={case.counters}",
        "--collectors=/dev/null",
        "--log-level=error",
    ]


@contextmanager
def running(
    program: Program, case: Case, *, forward_url: str = "", flags: Sequence[str] = ()
) -> Iterator[Subject]:
    """Start engine and exporter, time its first pages, stop both."""
    forwarding = ("--forward", f"--forward-url={forward_url}") if forward_url else ("--no-forward",)
    with ExitStack() as stack:
        engine = stack.enter_context(engine_for(case))
        port = free_port()
        options = (
            *options_for(case, engine), *forwarding, f"--address=127.0.0.1:{port}", *flags
        )  # fmt: skip
        started = time.perf_counter()
        process = program.start("do_dcgm_exporter", *options)
        stack.callback(_stop, process)
        full = _wait_for(port, _FULL) - started
        profiling = _wait_for(port, _PROFILING) - started
        yield Subject(process.pid, port, full, profiling, resident_megabytes(process.pid))


def get(port: int) -> bytes:
    """The body at /metrics, over a new connection."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n")
        received = bytearray()
        while piece := connection.recv(1 << 20):
            received += piece
    return bytes(received.partition(b"\r\n\r\n")[2])


def free_port() -> int:
    """A free port of this machine."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, part: bytes) -> float:
    """When the page first had ``part`` in it."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            if part in get(port):
                return time.perf_counter()
        except OSError:
            pass  # not listening yet
        time.sleep(_LOOK_EVERY)
    raise TimeoutError(f"no {part!r} on the page")


def _stop(process: subprocess.Popen[str]) -> None:
    process.terminate()
    process.wait()
