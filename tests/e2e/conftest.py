"""Real processes for the tests in this directory; all are ended with the test."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.endpoint import Endpoint
from tests.e2e.exporter import COMMAND, Exporter, Value, settings_for

from dcgm_simulator.process import SimulatedEngine


class Stage:
    """Starts processes, and ends them in reverse order."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.engines: list[SimulatedEngine] = []
        self._numbers = itertools.count(1)
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def engine(
        self, scenario: str = "h100x1", version: str = "4.6.0", **options: Any
    ) -> SimulatedEngine:
        """Start a simulated engine."""
        engine = SimulatedEngine.start(scenario, version, **options)
        self.engines.append(self._stack.enter_context(engine))
        return engine

    def exporter(
        self,
        engine: SimulatedEngine | str,
        flags: tuple[Value, ...] = (),
        environ: Mapping[str, str] | None = None,
        command: Sequence[str] = COMMAND,
        **settings: Value,
    ) -> Exporter:
        """Start an exporter."""
        address = engine if isinstance(engine, str) else engine.address
        directory = self.directory / f"exporter-{next(self._numbers)}"
        directory.mkdir()
        exporter = Exporter(
            directory, settings_for(address, **settings), flags, environ or {}, command
        )
        self._stack.callback(exporter.close)
        exporter.wait_until_listening()
        return exporter


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """Starts processes for one test."""
    with Stage(tmp_path) as stage:
        yield stage


@pytest.fixture(scope="module")
def shared_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Starts processes that all tests of a module share."""
    with Stage(tmp_path_factory.mktemp("shared")) as stage:
        yield stage


@pytest.fixture(scope="module")
def single(shared_stage: Stage) -> SimulatedEngine:
    """An engine with one GPU that all tests of a module share."""
    return shared_stage.engine("h100x1")


@pytest.fixture
def engine(stage: Stage) -> SimulatedEngine:
    """An engine with one GPU."""
    return stage.engine()


@pytest.fixture
def exporter(stage: Stage, engine: SimulatedEngine) -> Exporter:
    """An exporter that has values of that engine."""
    exporter = stage.exporter(engine)
    exporter.wait_until_up()
    return exporter


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint that records what is posted to it."""
    with Endpoint() as endpoint:
        yield endpoint


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Add the logs of the exporters to the report of a failed test."""
    report = yield
    if report.failed:
        for exporter in Exporter.running:
            report.sections.append((f"log of exporter {exporter.process.pid}", exporter.log()))
    return report
