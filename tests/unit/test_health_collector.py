"""DCGM's health watches as a family."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from tests.builders import (
    Bench,
    Clock,
    Series,
    counter_set,
    gpu,
    labels_of,
    readings_of,
    series_of,
    some_gpu,
    some_instance,
)

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.result import HealthWarning
from do_dcgm_exporter.collect.sources.health_watches import CHECK_EVERY, HealthCollector
from do_dcgm_exporter.dcgm.answers import HealthIncident
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused
from do_dcgm_exporter.dcgm.topology import Topology

StartBench = Callable[..., Bench]
NAME = "DCGM_EXP_GPU_HEALTH_STATUS"
COUNTERS = counter_set(f"{NAME}, gauge, x")
SYSTEMS = [
    "PCIE",
    "NVLINK",
    "PMU",
    "MCU",
    "MEM",
    "SM",
    "INFOROM",
    "THERMAL",
    "POWER",
    "DRIVER",
    "ALL",
]
MEM, THERMAL, NVSWITCH_FATAL = 0x10, 0x80, 0x800
PASS, WARN, FAIL = 0, 10, 20
TOPOLOGY = Topology(gpus=(some_gpu(0), some_gpu(1)), gpu_instances=(some_instance(7, 1, 9),))


class Engine:
    """An engine with incidents; counts what it is asked."""

    def __init__(self, *incidents: HealthIncident) -> None:
        self.incidents = incidents
        self.groups = 0
        self.watched = 0
        self.checks = 0
        self.refuses_watches = False
        self.refuses_checks = False

    def create_group(self, entities: Sequence[Entity]) -> tuple[int, tuple[Entity, ...]]:
        self.groups += 1
        return self.groups, tuple(entities)

    def watch_health(self, _group: int, _interval: float, _keep: float) -> None:
        if self.refuses_watches:
            raise CallRefused("no health module")
        self.watched += 1

    def health_incidents(self, _group: int) -> list[HealthIncident]:
        self.checks += 1
        if self.refuses_checks:
            raise CallRefused("no health today")
        return list(self.incidents)

    def health_error_name(self, code: int) -> str:
        return {0: "DCGM_FR_OK"}.get(code, f"DCGM_FR_{code}")


def collector_of(engine: Engine, clock: Clock | None = None) -> HealthCollector:
    identities = {gpu(number): (("gpu", str(number)),) for number in (0, 1)}
    labels = LabelBlocks(TOPOLOGY, identities, [])
    labels.update(readings_of(), {})
    return HealthCollector(
        engine,  # type: ignore[arg-type]
        TOPOLOGY,
        labels,
        TOPOLOGY.gpus,
        interval=240.0,
        clock=clock or Clock(),
    )


def collect(collector: HealthCollector) -> Series:
    return series_of(list(collector.collect(COUNTERS, readings_of())), NAME)


def troubles(series: Series) -> dict[tuple[str, str], tuple[str, str]]:
    """Code and value of all that is not well, by GPU and system."""
    found = {}
    for block, value in series.items():
        labels = labels_of(block)
        if value != "0":
            key = (labels["gpu"], labels["health_watch"])
            found[key] = (labels["health_error_code"], value)
    return found


def test_every_system_of_every_gpu_has_a_series() -> None:
    series = collect(collector_of(Engine()))
    expected = {
        f'gpu="{number}",health_error_code="DCGM_FR_OK",health_watch="{system}"': "0"
        for number in (0, 1)
        for system in SYSTEMS
    }
    assert expected == series


def test_an_incident_is_on_its_system_and_on_all() -> None:
    series = collect(collector_of(Engine(HealthIncident(gpu(1), MEM, FAIL, 4))))
    assert {("1", "MEM"): ("DCGM_FR_4", "20"), ("1", "ALL"): ("DCGM_FR_4", "20")} == troubles(
        series
    )
    assert 22 == len(series)


@pytest.mark.parametrize("turned", [False, True])
def test_the_worst_incident_of_a_system_is_shown(turned: bool) -> None:
    incidents = [
        HealthIncident(gpu(0), THERMAL, WARN, 8),
        HealthIncident(gpu(0), THERMAL, FAIL, 9),
        HealthIncident(gpu(0), MEM, WARN, 4),
    ]
    found = troubles(collect(collector_of(Engine(*(incidents[::-1] if turned else incidents)))))
    assert {
        ("0", "THERMAL"): ("DCGM_FR_9", "20"),
        ("0", "MEM"): ("DCGM_FR_4", "10"),
        ("0", "ALL"): ("DCGM_FR_9", "20"),
    } == found


def test_an_incident_of_an_instance_is_its_gpus() -> None:
    incident = HealthIncident(Entity(EntityKind.GPU_INSTANCE, 7), MEM, WARN, 4)
    assert ("DCGM_FR_4", "10") == troubles(collect(collector_of(Engine(incident))))["1", "MEM"]


def test_incidents_of_switches_are_nobodys_here() -> None:
    incident = HealthIncident(Entity(EntityKind.SWITCH, 0), NVSWITCH_FATAL, FAIL, 3)
    assert {} == troubles(collect(collector_of(Engine(incident))))


def test_the_engine_is_asked_once_a_minute() -> None:
    engine, clock = Engine(), Clock()
    collector = collector_of(engine, clock)
    for clock.now in (0.0, 20.0, 59.9):
        collect(collector)
    assert 1 == engine.checks
    engine.incidents = (HealthIncident(gpu(0), MEM, FAIL, 4),)
    assert {} == troubles(collect(collector))
    clock.now = CHECK_EVERY
    assert 2 == len(troubles(collect(collector)))
    assert (2, 1, 1) == (engine.checks, engine.groups, engine.watched)


def test_an_engine_that_nobody_asks_for_health_watches_none() -> None:
    engine = Engine()
    counters = counter_set("DCGM_FI_DEV_GPU_TEMP, gauge, x")
    assert [] == list(collector_of(engine).collect(counters, readings_of()))
    assert (0, 0) == (engine.groups, engine.checks)


def test_a_refusal_is_a_failure_of_the_collector_and_never_looks_like_health() -> None:
    engine, clock = Engine(), Clock()
    engine.refuses_watches = True
    collector = collector_of(engine, clock)
    for clock.now in (0.0, 20.0, 60.0, 120.0):
        with pytest.raises(CallRefused):
            collect(collector)
    assert 1 == engine.groups  # an engine has room for 64
    engine.refuses_watches = False
    clock.now = 180.0
    assert 22 == len(collect(collector))


def test_a_check_that_is_refused_is_not_repeated_within_the_minute() -> None:
    engine, clock = Engine(), Clock()
    engine.refuses_checks = True
    collector = collector_of(engine, clock)
    for clock.now in (0.0, 20.0, 40.0):
        with pytest.raises(CallRefused):
            collect(collector)
    assert 1 == engine.checks
    engine.refuses_checks = False
    clock.now = 60.0
    assert 22 == len(collect(collector))


def test_a_lost_gpu_is_not_said_to_be_healthy() -> None:
    readings = readings_of()
    readings.lost_gpus = frozenset({1})
    series = series_of(list(collector_of(Engine()).collect(COUNTERS, readings)), NAME)
    assert {"0"} == {labels_of(block)["gpu"] for block in series}
    assert {Absence.GPU_LOST: 1} == dict(readings.dropped)


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.6.0"])
def test_incidents_of_an_engine(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session(f"{NAME}, gauge, x")
    started.engine.control("health", "--entity", "gpu:2", "--system", "16", "--code", "4", "fail")
    series = started.series(session, NAME)
    assert 88 == len(series)
    assert {("2", "MEM"): ("DCGM_FR_4", "20"), ("2", "ALL"): ("DCGM_FR_4", "20")} == troubles(
        series
    )
    labels = labels_of(next(iter(series)))
    assert ["Hostname", "health_error_code", "health_watch"] == list(labels)[-3:]
    for _ in range(3):
        started.read(session)
    assert 1 == started.calls_made("health_check")


def test_what_did_not_pass_is_told_once_per_system_and_not_of_lost_gpus() -> None:
    collector = collector_of(
        Engine(HealthIncident(gpu(1), MEM, FAIL, 4), HealthIncident(gpu(0), MEM, 10, 5))
    )
    assert () == tuple(collector.warnings(()))
    collect(collector)
    assert {
        HealthWarning(1, "MEM", "DCGM_FR_4", is_failure=True),
        HealthWarning(0, "MEM", "DCGM_FR_5", is_failure=False),
    } == set(collector.warnings(()))
    assert [0] == [warning.gpu for warning in collector.warnings({1})]


def test_after_a_refused_check_nothing_is_known_not_to_pass() -> None:
    clock = Clock()
    engine = Engine(HealthIncident(gpu(1), MEM, FAIL, 4))
    collector = collector_of(engine, clock)
    collect(collector)
    engine.refuses_checks = True
    clock.now += CHECK_EVERY
    with pytest.raises(CallRefused):
        collect(collector)
    assert () == tuple(collector.warnings(()))
