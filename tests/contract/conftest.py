"""Which bindings and engine the contract tests run against.

By default every case runs against the simulator, as several versions. With

    pytest tests/contract --dcgm-bindings DIR --hostengine HOST:PORT

it runs against those, which may be NVIDIA's. Cases that need injected faults are then skipped,
with the reason, and so are those for another machine than the one named by ``--machine``.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import pytest
from tests.waiting import wait_until

from dcgm_simulator.process import SimulatedEngine
from dcgm_simulator.testing import Bindings, load_bindings

SIMULATED_VERSIONS = ("3.3.9", "4.2.3", "4.6.0")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that name another target."""
    group = parser.getgroup("contract tests")
    group.addoption("--dcgm-bindings", type=Path, metavar="DIR", help="bindings to test")
    group.addoption("--machine", metavar="SCENARIO", help="the simulated machine it is like")
    group.addoption("--hostengine", metavar="HOST:PORT", help="engine to test them against")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run each case against the named target, or each simulated version."""
    if "dcgm_version" in metafunc.fixturenames:
        given = metafunc.config.getoption("--hostengine", default=None)
        metafunc.parametrize("dcgm_version", [""] if given else SIMULATED_VERSIONS, scope="session")


class Engine(Protocol):
    """An engine with an address; a simulated one can also misbehave."""

    address: str


@dataclass
class RealEngine:
    """An engine that is already running, and is left alone."""

    address: str


Pairs = list[tuple[int, int]]


@dataclass
class Target:
    """Bindings and an engine, with helpers for the cases."""

    bindings: Bindings
    engine: Any
    version: tuple[int, ...]
    is_simulated: bool
    handles: list[Any] = field(default_factory=list)
    watches: int = 0

    @property
    def agent(self) -> Any:
        """Return dcgm_agent."""
        return self.bindings.agent

    @property
    def structs(self) -> Any:
        """Return dcgm_structs."""
        return self.bindings.structs

    def connect(self, address: str | None = None, timeout_ms: int = 2000) -> Any:
        """Return a new connection, closed when the test ends."""
        parameters = self.structs.c_dcgmConnectV2Params_v2()
        parameters.timeoutMs = timeout_ms
        handle = self.agent.dcgmConnect_v2(address or self.engine.address, parameters)
        self.handles.append(handle)
        return handle

    def group(self, handle: Any, entities: Pairs, name: str = "contract") -> Any:
        """Return a new group of entities."""
        group = self.agent.dcgmGroupCreate(handle, self.structs.DCGM_GROUP_EMPTY, name)
        for entity_group, entity in entities:
            self.agent.dcgmGroupAddEntity(handle, group, entity_group, entity)
        return group

    def watch(
        self,
        handle: Any,
        entities: Pairs,
        fields: list[int],
        interval: float = 0.1,
        keep: tuple[float, int] = (60.0, 0),
    ) -> tuple[Any, Any]:
        """Watch fields of entities; return group and field group."""
        group = self.group(handle, entities)
        self.watches += 1
        name = f"contract-{os.getpid()}-{self.watches}"
        field_group = self.agent.dcgmFieldGroupCreate(handle, fields, name)
        self.agent.dcgmWatchFields(handle, group, field_group, int(interval * 1e6), *keep)
        return group, field_group

    def latest(self, handle: Any, entities: Pairs, fields: list[int], flags: int = 0) -> list[Any]:
        """Return the newest values, entity by entity."""
        pairs = []
        for entity_group, entity in entities:
            pair = self.structs.c_dcgmGroupEntityPair_t()
            pair.entityGroupId, pair.entityId = entity_group, entity
            pairs.append(pair)
        return list(self.agent.dcgmEntitiesGetLatestValues(handle, pairs, fields, flags))

    def one(self, handle: Any, field: int, entity: tuple[int, int] = (1, 0)) -> Any:
        """Return the newest value of one field of one entity."""
        return self.latest(handle, [entity], [field])[0]

    def one_newer(
        self, handle: Any, field: int, than: int, entity: tuple[int, int] = (1, 0)
    ) -> Any:
        """Wait for a value of one field that was read later than ``than``, in microseconds."""

        def look() -> Any:
            value = self.one(handle, field, entity)
            return value if value.ts > than else None

        return wait_until(look, f"a value of field {field} newer than {than}")

    def let_sampling_go_on(self, handle: Any, field: int, entity: tuple[int, int] = (1, 0)) -> None:
        """Wait until a watched field has been sampled twice."""
        for _ in range(2):
            self.one_newer(handle, field, self.one(handle, field, entity).ts, entity)

    def wait_for_samples(self, handle: Any, groups: tuple[Any, Any], count: int) -> list[Any]:
        """Wait until the engine keeps ``count`` samples of the groups, and return all."""

        def look() -> list[Any]:
            _, samples = self.since(handle, *groups, 0)
            return samples if len(samples) >= count else []

        return wait_until(look, f"{count} samples")

    def since(self, handle: Any, group: Any, field_group: Any, since: int) -> tuple[int, list[Any]]:
        """Return the next time to ask from, and (entity, field, ts, value) of all samples.

        If a field has no sample, the engine says so with a value that has a status.
        """
        samples: list[Any] = []

        def collect(entity_group: int, entity: int, values: Any, count: int, _: Any) -> int:
            place = (entity_group, entity)
            for value in values[0:count]:
                if value.status == 0:
                    samples.append((place, value.fieldId, value.ts, value.value.i64))
            return 0

        callback = self.agent.dcgmFieldValueEntityEnumeration_f(collect)
        following = self.agent.dcgmGetValuesSince_v2(
            handle, group, field_group, since, callback, None
        )
        return following, samples

    def gpus(self, handle: Any) -> Pairs:
        """Return all GPUs as pairs."""
        return [(1, gpu) for gpu in self.agent.dcgmGetAllDevices(handle)]

    def failing(self, status: int) -> Any:
        """Expect the DCGM error with a status."""
        return pytest.raises(self.structs.dcgmExceptionClass(status))

    def disconnect_all(self) -> None:
        """Close what the test opened."""
        for handle in self.handles:
            self.agent.dcgmDisconnect(handle)


@functools.cache
def _bindings(version: str, directory: Path | None) -> Bindings:
    return load_bindings(version, directory)


@dataclass
class Engines:
    """Simulated engines, started when first needed and shared by the cases."""

    running: dict[tuple[str, str], SimulatedEngine] = field(default_factory=dict)

    def get(self, scenario: str, version: str) -> SimulatedEngine:
        """Return an engine without faults."""
        key = scenario, version
        if key not in self.running:
            self.running[key] = SimulatedEngine.start(scenario, version)
        engine = self.running[key]
        engine.control("reset")
        return engine


@pytest.fixture(scope="session")
def engines() -> Iterator[Engines]:
    """All simulated engines of the session."""
    engines = Engines()
    yield engines
    for engine in engines.running.values():
        engine.stop()


@pytest.fixture
def target(request: pytest.FixtureRequest, dcgm_version: str, engines: Engines) -> Iterator[Target]:
    """What to test; a `scenario` marker asks for another simulated machine."""
    marker = request.node.get_closest_marker("scenario")
    config = request.config
    if not dcgm_version:
        if marker and marker.args[0] != config.getoption("--machine"):
            pytest.skip(f"needs a machine like {marker.args[0]} (--machine)")
        bindings = _bindings("", config.getoption("--dcgm-bindings"))
        engine: Any = RealEngine(config.getoption("--hostengine"))
    else:
        bindings = _bindings(dcgm_version, None)
        engine = engines.get(marker.args[0] if marker else "h100x8", dcgm_version)
    version = tuple(int(part) for part in bindings.version.split("."))
    target = Target(bindings, engine, version, bool(dcgm_version))
    yield target
    target.disconnect_all()


@pytest.fixture
def handle(target: Target) -> Any:
    """A connection."""
    return target.connect()


@pytest.fixture
def own_engine(target: Target, dcgm_version: str) -> Iterator[SimulatedEngine]:
    """A simulated engine only this case has, so that it may be killed."""
    if not target.is_simulated:
        pytest.skip("kills or stops its engine, which is not done to a real one")
    with SimulatedEngine.start("h100x1", dcgm_version) as engine:
        yield engine


@pytest.fixture
def faults(target: Target) -> SimulatedEngine:
    """The engine, to inject faults into."""
    if not target.is_simulated:
        pytest.skip("needs injected faults, which a real engine does not take")
    engine: SimulatedEngine = target.engine
    return engine


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker that the fixtures understand."""
    config.addinivalue_line(
        "markers", "scenario(name): needs this simulated machine, or one like it"
    )
