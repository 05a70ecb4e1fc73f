"""An agent and all it works with, cycle by cycle, on a simulated engine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import HOSTENGINE_UP, Bench, Series, configuration

from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publication import Health
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service.agent import Agent

StartBench = Callable[..., Bench]
PATIENCE = 120  # seconds; only ever waited out by a failure
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
SM_ACTIVE = "DCGM_FI_PROF_SM_ACTIVE"
GPU_UP = "do_dcgm_exporter_gpu_up"
TOTAL = "DCGM_EXP_XID_ERRORS_TOTAL"


@dataclass
class Program:
    """An agent and all it works with, cycle by cycle."""

    agent: Agent
    publisher: Publisher
    healths: list[Health]

    def cycle(self) -> float:
        """Run a cycle; the seconds until the next one."""
        return self.agent.cycle()

    @property
    def reason(self) -> str:
        return self.publisher.publication.page.health.reason

    def series(self, name: str) -> Series:
        """Values on the page by their labels."""
        text = self.publisher.publication.page.text.plain.decode()
        return {
            ",".join(f"{key}={value}" for key, value in sample.labels.items()): sample.value
            for family in parse_text(text)
            for sample in family.samples
            if sample.name in (name, f"{name}_total")  # as the parser calls counters
        }

    @property
    def is_up(self) -> bool:
        return {"": 1.0} == self.series(HOSTENGINE_UP)


StartProgram = Callable[..., Program]
Begin = Callable[..., tuple[Bench, Program]]


def program_of(
    bench: Bench | None, configured: Configuration, **changes: Callable[[], None]
) -> Program:
    healths: list[Health] = []
    calls = CallCount()
    publisher = Publisher(Telemetry(calls, ForwardStatistics()), tell=healths.append)
    agent = Agent(
        configured,
        publisher,
        calls,
        # The engine's clock, which the tests set ahead.
        **({"wall_clock": lambda: bench.now, "boot_clock": lambda: bench.now} if bench else {}),
        **changes,
    )
    if bench:
        agent._bindings = bench.bindings
    return Program(agent, publisher, healths)


def configured_for(bench: Bench, *lines: str, **changes: object) -> Configuration:
    lines = lines or (f"{TEMPERATURE}, gauge, x",)
    return configuration(*lines, engine=parse_engine_address(bench.engine.address), **changes)


@pytest.fixture
def start() -> Iterator[StartProgram]:
    """Start a program on an engine; its connections are closed when the test ends."""
    programs: list[Program] = []

    def start_program(bench: Bench, *lines: str, **changes: object) -> Program:
        started = program_of(bench, configured_for(bench, *lines, **changes))
        programs.append(started)
        return started

    yield start_program
    for started in programs:
        started.agent._close_session()


@pytest.fixture
def begin(bench: StartBench, start: StartProgram) -> Begin:
    """Start an engine, and a program on it."""

    def begin(*scenario: str) -> tuple[Bench, Program]:
        engine = bench(*scenario)
        return engine, start(engine)

    return begin


def connections(bench: Bench) -> int:
    return len(bench.engine.control("status")["connections"])
