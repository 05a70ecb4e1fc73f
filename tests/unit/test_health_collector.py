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

from dcgm_simulator import ALL_VERSIONS
from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.result import HealthWarning
from do_dcgm_exporter.collect.sources.health_watches import CHECK_EVERY, HealthCollector
from do_dcgm_exporter.dcgm.answers import HealthIncident
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import HOST, Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.health_errors import NO_ERROR, HealthError
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.dcgm.versions import Versions

StartBench = Callable[..., Bench]
NAME = "DCGM_EXP_GPU_HEALTH_STATUS"
FABRIC = "DCGM_EXP_FABRIC_HEALTH_STATUS"
COUNTERS = counter_set(f"{NAME}, gauge, x")
FABRIC_COUNTERS = counter_set(f"{NAME}, gauge, x", f"{FABRIC}, gauge, x")
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
NVLINK, CONNECTX, IMEX = 0x2, 0x1000, 0x2000
PASS, WARN, FAIL = 0, 10, 20
SWITCH, ADAPTER = Entity(EntityKind.SWITCH, 0), Entity(EntityKind.CONNECTX, 0)
TOPOLOGY = Topology(
    gpus=(some_gpu(0), some_gpu(1)), gpu_instances=(some_instance(7, 1, 9),), switches=(0,)
)


class Engine:
    """An engine with incidents; counts what it is asked."""

    def __init__(self, *incidents: HealthIncident, release: str = "4.5.3") -> None:
        self.incidents = incidents
        self.versions = Versions(release, release)
        self.links = (3, 0)
        self.refuses_adapters = 0
        self.grouped: tuple[Entity, ...] = ()
        self.groups = 0
        self.watched = 0
        self.checks = 0
        self.refuses_watches = False
        self.refuses_checks = False

    def create_group(self, entities: Sequence[Entity]) -> tuple[int, tuple[Entity, ...]]:
        self.groups += 1
        self.grouped = tuple(entities)
        return self.groups, self.grouped

    def watch_health(self, _group: int, _interval: float, _keep: float) -> None:
        if self.refuses_watches:
            raise CallRefused("no health module", ReturnCode.MODULE_NOT_LOADED)
        self.watched += 1

    def health_incidents(self, _group: int) -> list[HealthIncident]:
        self.checks += 1
        if self.refuses_checks:
            raise CallRefused("no health today")
        return list(self.incidents)

    def health_error(self, code: int) -> HealthError:
        return {0: NO_ERROR}.get(code, HealthError(f"DCGM_FR_{code}", "MONITOR", "HARDWARE_POWER"))

    def entity_ids(self, _kind: EntityKind) -> tuple[int, ...]:
        if self.refuses_adapters:
            raise CallRefused("no such module", self.refuses_adapters)
        return (0,)

    def nvlink_states(self) -> dict[int, tuple[int, ...]]:
        return {0: self.links, 1: (0, 0)}


def collector_of(engine: Engine, clock: Clock | None = None) -> HealthCollector:
    identities = {gpu(number): (("gpu", str(number)),) for number in (0, 1)}
    identities[SWITCH] = (("nvswitch", "nvswitch0"),)
    labels = LabelBlocks(TOPOLOGY, identities, [], host=(("Hostname", "droplet"),))
    labels.update(readings_of(), {})
    return HealthCollector(
        engine,
        TOPOLOGY,
        labels,
        TOPOLOGY.gpus,
        [SWITCH],
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
        f'gpu="{number}",health_error_category="NONE",health_error_code="DCGM_FR_OK",'
        f'health_error_severity="NONE",health_watch="{system}"': "0"
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


def test_incidents_of_switches_are_no_gpus() -> None:
    engine = Engine(HealthIncident(SWITCH, NVSWITCH_FATAL, FAIL, 3))
    collector = collector_of(engine)
    assert {} == troubles(collect(collector))
    assert () == tuple(collector.warnings(()))
    assert engine.grouped == tuple(gpu_.entity for gpu_ in TOPOLOGY.gpus)


def fabric(collector: HealthCollector) -> dict[tuple[str, str], tuple[str, str]]:
    """Code and value by device and system of what is no GPU."""
    series = series_of(list(collector.collect(FABRIC_COUNTERS, readings_of())), FABRIC)
    found = {}
    for block, value in series.items():
        labels = labels_of(block)
        device = labels.get("nvswitch") or labels.get("connectx") or labels["Hostname"]
        found[device, labels["health_watch"]] = (labels["health_error_code"], value)
    return found


FINE = ("DCGM_FR_OK", "0")


def test_switches_adapters_and_imex_have_series_while_they_are_well() -> None:
    engine = Engine()
    assert {
        ("nvswitch0", "NVSWITCH_NONFATAL"): FINE,
        ("nvswitch0", "NVSWITCH_FATAL"): FINE,
        ("0", "CONNECTX"): FINE,
        ("droplet", "IMEX"): FINE,
    } == fabric(collector_of(engine))
    assert {SWITCH, ADAPTER, gpu(0), gpu(1)} == set(engine.grouped)


@pytest.mark.parametrize("system", [NVLINK, IMEX], ids=["4.5 to 4.6.0", "since 4.6.1"])
def test_what_is_wrong_with_the_fabric_is_shown_and_told(system: int) -> None:
    incidents = (
        HealthIncident(SWITCH, NVSWITCH_FATAL, FAIL, 15),
        HealthIncident(ADAPTER, CONNECTX, WARN, 33),
        HealthIncident(HOST, system, FAIL, 122),
    )
    collector = collector_of(Engine(*incidents))
    assert {
        ("nvswitch0", "NVSWITCH_NONFATAL"): FINE,
        ("nvswitch0", "NVSWITCH_FATAL"): ("DCGM_FR_15", "20"),
        ("0", "CONNECTX"): ("DCGM_FR_33", "10"),
        ("droplet", "IMEX"): ("DCGM_FR_122", "20"),
    } == fabric(collector)
    assert {
        HealthWarning(SWITCH, "NVSWITCH_FATAL", "DCGM_FR_15", is_failure=True),
        HealthWarning(ADAPTER, "CONNECTX", "DCGM_FR_33", is_failure=False),
        HealthWarning(HOST, "IMEX", "DCGM_FR_122", is_failure=True),
    } == set(collector.warnings({0, 1}))
    assert {} == troubles(collect(collector))


@pytest.mark.parametrize(
    ("release", "watched"),
    [
        ("3.3.9", {"NVSWITCH_NONFATAL", "NVSWITCH_FATAL"}),
        ("4.5.0", {"NVSWITCH_NONFATAL", "NVSWITCH_FATAL", "IMEX"}),
        ("4.5.3", {"NVSWITCH_NONFATAL", "NVSWITCH_FATAL", "CONNECTX", "IMEX"}),
    ],
)
def test_nothing_passes_that_a_release_does_not_check(release: str, watched: set[str]) -> None:
    assert watched == {system for _, system in fabric(collector_of(Engine(release=release)))}


def test_an_engine_that_tells_no_links_still_tells_the_health_of_the_rest(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    engine = Engine()

    def refuse(_: Engine) -> None:
        raise CallRefused("no")

    monkeypatch.setattr(Engine, "nvlink_states", refuse)
    assert {"nvswitch0", "0"} == {name for name, _ in fabric(collector_of(engine))}


def test_imex_does_not_pass_where_no_gpu_has_nvlinks() -> None:
    engine = Engine()
    engine.links = (0, 0)
    assert ("droplet", "IMEX") not in fabric(collector_of(engine))


def test_a_host_without_the_module_for_adapters_has_none() -> None:
    engine = Engine()
    engine.refuses_adapters = ReturnCode.MODULE_NOT_LOADED
    assert ("0", "CONNECTX") not in fabric(collector_of(engine))


def test_whether_there_are_adapters_is_asked_again_if_it_is_unknown() -> None:
    engine, clock = Engine(), Clock()
    engine.refuses_adapters = ReturnCode.TIMEOUT
    collector = collector_of(engine, clock)
    with pytest.raises(CallRefused):
        fabric(collector)
    engine.refuses_adapters = 0
    clock.now += CHECK_EVERY
    assert ("0", "CONNECTX") in fabric(collector)


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


@pytest.mark.parametrize(
    ("release", "said"),
    [
        ("4.6.0", "no health module"),
        ("4.7.0", "no health module; it is in datacenter-gpu-manager-4-module-health"),
    ],
)
def test_the_package_of_a_missing_module_is_named(release: str, said: str) -> None:
    engine = Engine(release=release)
    engine.refuses_watches = True
    with pytest.raises(CallRefused) as caught:
        collect(collector_of(engine))
    assert str(caught.value) == said


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


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_incidents_of_an_engine(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session(f"{NAME}, gauge, x")
    started.engine.control("health", "--entity", "gpu:2", "--system", "16", "--code", "4", "fail")
    series = started.series(session, NAME)
    assert 88 == len(series)
    name = "DCGM_FR_VOLATILE_DBE_DETECTED"
    assert {("2", "MEM"): (name, "20"), ("2", "ALL"): (name, "20")} == troubles(series)
    (block,) = (b for b in series if 'gpu="2"' in b and 'health_watch="MEM"' in b)
    assert [
        ("health_error_category", "HARDWARE_MEMORY"),
        ("health_error_code", name),
        ("health_error_severity", "ISOLATE"),
        ("health_watch", "MEM"),
    ] == list(labels_of(block).items())[-4:]
    for _ in range(3):
        started.read(session)
    assert 1 == started.calls_made("health_check")


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_the_fabric_of_an_engine(bench: StartBench, version: str) -> None:
    started = bench("hgx", version)
    session = started.session(f"{FABRIC}, gauge, x")
    release = tuple(map(int, version.split(".")))
    imex = "8192" if release >= (4, 6, 1) else "2"
    for entity, system, code in (
        ("switch:1", "2048", "15"),
        ("none:0", imex, "122"),
        *([("connectx:1", "4096", "33")] if release >= (4,) else []),
    ):
        started.engine.control(
            "health", "--entity", entity, "--system", system, "--code", code, "fail"
        )
    series = started.series(session, FABRIC)
    found = {
        labels_of(block)["health_error_code"] for block, value in series.items() if value != "0"
    }
    expected = {"DCGM_FR_NVSWITCH_FATAL_ERROR"}
    if release >= (4, 5, 3):
        expected |= {"DCGM_FR_IMEX_UNHEALTHY", "DCGM_FR_FIELD_VIOLATION"}
    assert (found, len(series)) == (expected, 8 + 3 * (release >= (4, 5, 3)))


def test_what_did_not_pass_is_told_once_per_system_and_not_of_lost_gpus() -> None:
    collector = collector_of(
        Engine(HealthIncident(gpu(1), MEM, FAIL, 4), HealthIncident(gpu(0), MEM, 10, 5))
    )
    assert () == tuple(collector.warnings(()))
    collect(collector)
    assert {
        HealthWarning(gpu(1), "MEM", "DCGM_FR_4", is_failure=True),
        HealthWarning(gpu(0), "MEM", "DCGM_FR_5", is_failure=False),
    } == set(collector.warnings(()))
    assert [gpu(0)] == [warning.entity for warning in collector.warnings({1})]


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
