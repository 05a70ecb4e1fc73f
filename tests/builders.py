"""Values that many tests start from, with defaults for what does not matter."""

from __future__ import annotations

import functools
import re
import time
from collections import Counter as Tally
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import dcgm_simulator
from dcgm_simulator import testing
from dcgm_simulator.process import SimulatedEngine
from do_dcgm_exporter.collect.event_logs import EventLogs
from do_dcgm_exporter.collect.opening import open_session
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.result import CollectorOutcome, CycleResult
from do_dcgm_exporter.collect.sample_ages import SampleAges
from do_dcgm_exporter.collect.samples import Family, Snapshot
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.counters import CounterSet, parse_counters, read_counter_set
from do_dcgm_exporter.config.settings import (
    Configuration,
    DeviceSelection,
    ListenAddress,
    LogFormat,
    Settings,
)
from do_dcgm_exporter.dcgm.bindings import Bindings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.health_errors import health_errors
from do_dcgm_exporter.dcgm.topology import Gpu, GpuInstance

REPOSITORY = Path(__file__).resolve().parent.parent
DATA = REPOSITORY / "tests" / "data"
DEFAULT_COUNTERS = REPOSITORY / "etc" / "do-dcgm-exporter" / "default-counters.csv"

NOW = 1_800_000_000.0
"""The time, in Unix seconds, of tests without an engine."""
MICROSECONDS = 1_000_000

HOSTENGINE_UP = "do_dcgm_exporter_hostengine_up"


@dataclass
class Clock:
    """A clock that only the test moves."""

    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def settings(**changes: object) -> Settings:
    """The default settings with ``changes``."""
    values: dict[str, object] = {
        "default_counters": DEFAULT_COUNTERS,
        "collectors": (),
        "address": ListenAddress("", 9401),
        "status_page": True,
        "web_config_file": None,
        "collect_interval": 20.0,
        "sample_interval": 1.0,
        "engine": EngineAddress(),
        "gpus": DeviceSelection(),
        "switches": DeviceSelection(),
        "cpus": DeviceSelection(),
        "show_hostname": True,
        "hostname_label": "Hostname",
        "xid_window": 20.0,
        "clock_events_window": 20.0,
        "xid_zero_fill": True,
        "replace_blanks_in_model_name": False,
        "label_fields_as_info": False,
        "hpc_job_mapping_dir": None,
        "hpc_job_from_usage": False,
        "forward": True,
        "forward_url": "http://169.254.169.254:80/v1/gpu_metrics",
        "forward_interval": 20.0,
        "forward_timeout": 5.0,
        "stale_after": 60.0,
        "dcgm_bindings": None,
        "log_format": LogFormat.TEXT,
        "log_level": "info",
    }
    return Settings(**{**values, **changes})


def counter_set(*lines: str) -> CounterSet:
    """The counters of CSV ``lines``; without any, the shipped default set."""
    if not lines:
        return read_counter_set(DEFAULT_COUNTERS, ())
    counters = parse_counters("\n".join(lines), Path("test.csv"))
    assert len(lines) == len(counters.counters), counters.judgements
    return counters


def configuration(*lines: str, **changes: object) -> Configuration:
    """Settings with ``changes`` and the counters of ``lines``."""
    return Configuration(settings(**changes), counter_set(*lines))


def gpu(number: int) -> Entity:
    """A GPU as DCGM addresses it."""
    return Entity(EntityKind.GPU, number)


def gpu_instance(number: int) -> Entity:
    """A MIG GPU instance as DCGM addresses it."""
    return Entity(EntityKind.GPU_INSTANCE, number)


def compute_instance(number: int) -> Entity:
    """A MIG compute instance as DCGM addresses it."""
    return Entity(EntityKind.COMPUTE_INSTANCE, number)


def some_gpu(number: int) -> Gpu:
    """A GPU with an identity."""
    return Gpu(number, f"GPU-{number}", f"00000000:0{number}:00.0", "NVIDIA H100 80GB HBM3")


def some_instance(number: int, gpu_id: int, instance_id: int) -> GpuInstance:
    """A GPU instance with a profile."""
    return GpuInstance(number, gpu_id, instance_id, "1g.10gb")


def raw(
    entity: Entity,
    field_id: int,
    payload: float | str | None,
    *,
    status: int = 0,
    timestamp: float = NOW,
) -> RawValue:
    """What the engine answered; ``timestamp`` is in Unix seconds."""
    return RawValue(entity, field_id, status, int(timestamp * MICROSECONDS), payload)


def readings_of(*raws: RawValue, now: float = NOW, stale_after: float = 60.0) -> Readings:
    """The readings of a cycle at ``now``."""
    readings = Readings(now, stale_after, SampleAges(lambda: now))
    readings.add(raws)
    return readings


def cycle_result(*families: Family, **changes: object) -> CycleResult:
    """What a cycle found on a machine whose second GPU is lost."""
    values: dict[str, object] = {
        "snapshot": Snapshot(families),
        "gpus": 2,
        "gpus_up": {0: True, 1: False},
        "nvlink_states": {(0, 0): 3, (0, 1): 2},
        "driver_version": "535.216.01",
        "dropped": Tally({Absence.BLANK: 3}),
        "outcomes": (CollectorOutcome("fields", True, 0.25), CollectorOutcome("xid", False, 0.5)),
        "poisoned_fields": frozenset(),
        "profiling_reason": "",
        "warming_up": False,
    }
    return CycleResult(**{**values, **changes})


Series = Mapping[str, str]
"""Values as printed, by label block."""


def series_of(families: tuple[Family, ...] | list[Family], name: str) -> Series:
    """The samples of one family; it must have no series twice."""
    (family,) = [family for family in families if family.name == name]
    samples = {sample.labels: sample.value for sample in family.samples}
    assert len(samples) == len(family.samples)
    return samples


def labels_of(block: str) -> dict[str, str]:
    """The labels of a block whose values need no escaping, in their order."""
    return dict(re.findall(r'(\w+)="([^"]*)"', block))


@dataclass
class Bench:
    """A simulated engine for one test, and its connections.

    Its clock only moves with ``pass_time``.
    """

    engine: SimulatedEngine
    bindings: Bindings
    now: float
    passed: float = 0.0
    calls: CallCount = field(default_factory=CallCount)
    connections: list[HostEngine] = field(default_factory=list)

    @classmethod
    def start(cls, scenario: str, version: str, bindings: Bindings) -> Bench:
        """Start the engine."""
        engine = SimulatedEngine.start(scenario, version, manual_clock=True)
        return cls(engine, bindings, _time_of(engine))

    def restart(self) -> None:
        """Restart the engine, at the same time."""
        self.engine.restart()
        self.now = _time_of(self.engine)

    def pass_time(self, seconds: float) -> None:
        """Advance the engine's clock."""
        self.engine.control("pass-time", str(seconds))
        self.now += seconds
        self.passed += seconds

    def connect(self) -> HostEngine:
        """A new connection, closed when the test ends."""
        address = parse_engine_address(self.engine.address)
        engine = HostEngine.connect(self.bindings, address, 2.0, self.calls)
        self.connections.append(engine)
        return engine

    def logs(self, **changes: object) -> EventLogs:
        """Logs that begin now."""
        return EventLogs.starting_now(settings(**changes), lambda: self.now, lambda: self.passed)

    def session(
        self,
        *lines: str,
        logs: EventLogs | None = None,
        known: Mapping[int, Gpu] | None = None,
        clock: Callable[[], float] = time.monotonic,
        **changes: object,
    ) -> Session:
        """A session for the counters of ``lines`` (the default set without any)."""
        return open_session(
            self.connect(),
            configuration(*lines, **changes),
            logs or self.logs(**changes),
            known or {},
            clock,
        )

    def read(self, session: Session) -> CycleResult:
        """Run a cycle now."""
        return session.read(self.now)

    def snapshot(self, session: Session) -> Snapshot:
        """The families of a cycle now; every collector must work."""
        result = self.read(session)
        assert [] == [outcome.name for outcome in result.outcomes if not outcome.succeeded]
        return result.snapshot

    def series(self, session: Session, name: str) -> Series:
        """The samples of one family of a cycle now."""
        return series_of(self.snapshot(session).families, name)

    def names(self, session: Session) -> set[str]:
        """The families of a cycle now."""
        return {family.name for family in self.snapshot(session).families}

    def calls_made(self, function: str) -> int:
        """How many calls of ``function`` the engine has answered."""
        calls: Mapping[str, int] = self.engine.control("status")["calls"]
        return calls.get(function, 0)

    def close(self) -> None:
        """Disconnect all and stop the engine."""
        for connection in self.connections:
            connection.disconnect()
        self.engine.stop()


def _time_of(engine: SimulatedEngine) -> float:
    microseconds: int = engine.control("status")["time_us"]
    return microseconds / MICROSECONDS


@functools.cache
def simulated_bindings(version: str) -> Bindings:
    """The simulator's bindings of one release, beside those of others in this process."""
    return fresh_bindings(version)


def fresh_bindings(version: str) -> Bindings:
    """The simulator's bindings of one release, without the connections of other tests."""
    loaded = testing.load_bindings(version)
    return Bindings(
        directory=dcgm_simulator.bindings_directory(),
        structs=loaded.structs,
        agent=loaded.agent,
        health_errors=health_errors(loaded.errors),
        simulated=True,
    )
