"""Shared by all tests: simulated engines, bindings of several releases, an option."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator

import hypothesis
import pytest
from tests.builders import Bench, simulated_bindings
from tests.certificates import Authority

from do_dcgm_exporter.dcgm.bindings import Bindings

# The same examples in every run, on any machine, so that only a change of the code can fail.
hypothesis.settings.register_profile("stable", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("stable")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the one option; those of tests/contract are in its own conftest."""
    parser.addoption(
        "--update-golden", action="store_true", help="write the pages in tests/golden anew"
    )


def pytest_collection_finish() -> None:
    """Look for garbage less often: each look goes through thousands of tests."""
    gc.set_threshold(100_000)


@pytest.fixture
def simulated() -> Callable[[str], Bindings]:
    """The simulator's bindings: ``simulated("3.3.9")``."""
    return simulated_bindings


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """What signs the certificates of tests."""
    return Authority(tmp_path_factory.mktemp("authority"))


StartBench = Callable[..., Bench]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[StartBench]:
    """Start a simulated engine: ``bench("h100x8", "3.3.9")``."""
    benches: list[Bench] = []
    # Engines need no coverage, and start in half the time without it.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)

    def start(scenario: str = "h100x1", version: str = "4.6.0", client: str = "") -> Bench:
        started = Bench.start(scenario, version, simulated_bindings(client or version))
        benches.append(started)
        return started

    yield start
    for started in benches:
        started.close()
