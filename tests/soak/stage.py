"""The processes of a soak test, and their resources."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.endpoint import Endpoint
from tests.e2e.exporter import Exporter, settings_for

from dcgm_simulator.process import SimulatedEngine


@dataclass(frozen=True)
class Usage:
    """The exporter's resources, by kind: its own and those in the engine."""

    descriptors: int
    threads: int
    connections: int
    groups: int
    field_groups: int
    watches: int

    def __str__(self) -> str:
        return ", ".join(f"{value} {name}" for name, value in vars(self).items())


@dataclass
class Stage:
    """An engine, an endpoint and an exporter between them."""

    engine: SimulatedEngine
    endpoint: Endpoint
    exporter: Exporter

    def usage(self) -> Usage:
        """The exporter's present resources, between two posts and two answers."""
        looks = []
        for _ in range(30):
            looks.append((self.exporter.descriptors(), self.exporter.threads()))
            time.sleep(0.1)
        status = self.engine.control("status")
        return Usage(
            min(descriptors for descriptors, _ in looks),
            min(threads for _, threads in looks),
            *(len(status[name]) for name in ("connections", "groups", "field_groups", "watches")),
        )

    def cycles(self) -> int:
        """How many readings the engine has answered; on a machine of this size each is one call."""
        return int(self.engine.control("status")["calls"].get("latest_values", 0))

    def resident(self) -> float:
        """The exporter's memory in MB."""
        status = Path(f"/proc/{self.exporter.process.pid}/status").read_text()
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert found is not None
        return int(found[1]) / 1024


@contextmanager
def staged(interval_ms: int, scenario: str = "h100x8") -> Iterator[Stage]:
    """Start all processes, and wait until the exporter has values."""
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine = stack.enter_context(SimulatedEngine.start(scenario))
        endpoint = stack.enter_context(Endpoint())
        settings = settings_for(
            engine.address,
            collect_interval=interval_ms,
            forward="true",
            forward_url=endpoint.url,
            forward_interval=1000,
            forward_timeout=500,
        )
        exporter = Exporter(directory, settings)
        stack.callback(exporter.kill)
        exporter.wait_until_listening()
        exporter.wait_until_up()
        yield Stage(engine, endpoint, exporter)
