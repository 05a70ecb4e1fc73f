"""The program under measurement: a real exporter on a real simulated engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dcgm_simulator
from dcgm_simulator.process import SimulatedEngine

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PATIENCE = 60.0


@dataclass(frozen=True)
class Case:
    """What is run: a scenario and the counters files."""

    name: str
    scenario: str
    default_counters: Path


@dataclass(frozen=True)
class Subject:
    """A running exporter."""

    pid: int
    port: int
    engine: SimulatedEngine

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens."""
        return "127.0.0.1", self.port

    def page(self) -> str:
        """Its page as a scraper without compression gets it."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            return str(answer.read().decode())

    def metric(self, name: str) -> float:
        """The value of one of the exporter's own metrics without labels."""
        match = re.search(rf"^{name} (\S+)$", self.page(), re.MULTILINE)
        assert match, f"{name} is not on the page"
        return float(match.group(1))

    def cpu_seconds(self) -> float:
        """CPU time used so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND

    def resident_megabytes(self) -> float:
        """Memory in use now."""
        match = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
        assert match, "no VmRSS"
        return int(match.group(1)) / 1000

    def cycles(self) -> int:
        """Cycles so far: each asks for the devices once (connections do so once more)."""
        return int(self.engine.control("status")["calls"]["get_all_supported_devices"])


@contextmanager
def running(case: Case, interval_ms: int, port: int) -> Iterator[Subject]:
    """Start engine and exporter, wait for profiling values, stop both."""
    command = [sys.executable, "-m", "do_dcgm_exporter", "--no-forward", "--log-level=error"]
    with SimulatedEngine.start(scenario=case.scenario) as engine:
        process = subprocess.Popen(
            [
                *command,
                f"--address=127.0.0.1:{port}",
                f"--remote-hostengine-info={engine.address}",
                f"--dcgm-bindings={dcgm_simulator.bindings_directory()}",
                f"--default-counters={case.default_counters}",
                f"--collect-interval={interval_ms}",
                f"--collectors={os.devnull}",
            ]
        )
        try:
            subject = Subject(process.pid, port, engine)
            _wait_for_profiling(subject)
            yield subject
        finally:
            process.terminate()
            process.wait()


def _wait_for_profiling(subject: Subject) -> None:
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline:
        try:
            if "\nDCGM_FI_PROF_" in subject.page():
                return
        except OSError:
            pass  # not listening yet
        time.sleep(0.1)
    raise TimeoutError("no profiling values on the page")
