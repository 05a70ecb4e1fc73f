"""One call that is refused or slow takes its own source away, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builders import Bench, Clock
from tests.waiting import wait_until

from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.dcgm.errors import VersionSkew
from do_dcgm_exporter.page.health import health_of

StartBench = Callable[..., Bench]

TEMPERATURE, HEALTH = "DCGM_FI_DEV_GPU_TEMP", "DCGM_EXP_GPU_HEALTH_STATUS"
P2P, SM_ACTIVE = "DCGM_EXP_P2P_STATUS", "DCGM_FI_PROF_SM_ACTIVE"
LINES = tuple(f"{name}, gauge, x" for name in (TEMPERATURE, HEALTH, P2P))
# Longer than any answer counts.
LATER = 130.0

SOURCES = {
    "health_check": "health",
    "get_nvlink_link_status": "nvlink",
    "get_nvlink_p2p_status": "p2p",
    "get_gpu_instance_hierarchy": "discovery",
    "get_entity_group_entities": "discovery",
}
MISMATCH, UNKNOWN_FUNCTION, GENERIC = -12, -20, -3
# dcgmGetGpuInstanceHierarchy and the like may be functions that the engine does not have.
MAY_BE_ABSENT = {"get_gpu_instance_hierarchy", "get_entity_group_entities"}


def failing(result: CycleResult) -> list[str]:
    return [outcome.name for outcome in result.outcomes if not outcome.succeeded]


def names(result: CycleResult) -> set[str]:
    return {family.name for family in result.snapshot.families}


def session_of(bench: Bench, clock: Clock) -> Session:
    session = bench.session(*LINES, clock=clock, stale_after=1000.0)
    result = bench.read(session)
    assert ([], {TEMPERATURE, HEALTH, P2P}) == (failing(result), names(result))
    return session


@pytest.mark.parametrize("status", [MISMATCH, UNKNOWN_FUNCTION, GENERIC])
@pytest.mark.parametrize("function", SOURCES)
def test_a_refused_call_costs_its_own_source(bench: StartBench, function: str, status: int) -> None:
    """DCGM 4.7.1 beside an older release refuses single calls with -12."""
    started, clock = bench("h100x8-mig", "4.6.0"), Clock()
    session = session_of(started, clock)
    started.engine.control("refuse-call", function, str(status))
    clock.now = LATER
    is_absence = status == UNKNOWN_FUNCTION and function in MAY_BE_ABSENT
    outdated = is_absence and function == "get_gpu_instance_hierarchy"
    assert session.is_outdated() is outdated
    result = started.read(session)
    assert failing(result) == ([] if is_absence else [SOURCES[function]])
    assert TEMPERATURE in names(result)
    assert 14 == len(next(iter(result.snapshot.families)).samples)
    health = health_of(result, session.topology)
    note = f"collectors that failed: {SOURCES[function]}"
    assert (True, () if is_absence else (note,)) == (health.healthy, health.notes)
    started.engine.control("refuse-call", function, "0")
    clock.now = 2 * LATER
    session.is_outdated()
    result = started.read(session)
    assert ([], {TEMPERATURE, HEALTH, P2P}) == (failing(result), names(result))


def test_an_engine_of_another_release_that_refuses_all_of_these_still_gives_values(
    bench: StartBench,
) -> None:
    """DCGM 4.7.1 beside 4.6 was reported to do just that (release notes of dcgm-exporter 4.9)."""
    started, clock = bench("h100x8-mig", "4.6.0"), Clock()
    session = session_of(started, clock)
    for function in SOURCES:
        started.engine.control("refuse-call", function, str(MISMATCH))
    clock.now = LATER
    assert not session.is_outdated()
    result = started.read(session)
    assert set(SOURCES.values()) == set(failing(result))
    assert (14, True) == (
        len(result.snapshot.families[0].samples),
        health_of(result, session.topology).healthy,
    )


@pytest.mark.parametrize("function", SOURCES)
def test_a_source_that_is_refused_from_the_start_does_not_keep_a_session_from_opening(
    bench: StartBench, function: str
) -> None:
    started = bench("h100x8", "4.6.0")
    started.engine.control("refuse-call", function, str(MISMATCH))
    result = started.read(started.session(*LINES))
    assert ([SOURCES[function]], True) == (failing(result), TEMPERATURE in names(result))


@pytest.mark.parametrize(
    "function",
    ["get_all_supported_devices", "group_create", "watch_fields", "latest_values"],
)
@pytest.mark.parametrize("status", [MISMATCH, UNKNOWN_FUNCTION])
def test_without_these_there_is_nothing_to_export(
    bench: StartBench, function: str, status: int
) -> None:
    started = bench("h100x1", "4.6.0")
    started.engine.control("refuse-call", function, str(status))
    with pytest.raises(VersionSkew):
        started.read(started.session(*LINES))


def test_an_engine_that_does_not_sample_when_it_is_told_to_does_so_by_itself(
    bench: StartBench,
) -> None:
    started = bench("h100x8", "4.6.0")
    started.engine.control("refuse-call", "update_all_fields", str(MISMATCH))
    assert {TEMPERATURE, HEALTH, P2P} == started.names(started.session(*LINES))


@pytest.mark.parametrize(
    "function", ["health_check", "health_set", "get_nvlink_link_status", "get_nvlink_p2p_status"]
)
def test_a_slow_call_is_late_alone(bench: StartBench, function: str) -> None:
    """Health checks of 45 s were reported: the page must not wait for one."""
    source = {"health_set": "health"}.get(function) or SOURCES[function]
    started = bench("h100x8", "4.6.0")
    started.engine.control("slow-call", function, "3600")
    session = started.session(*LINES, collect_interval=1.0)
    for _ in range(2):
        result = started.read(session)
        assert [source] == failing(result)
        assert TEMPERATURE in names(result)
    assert 0 == started.calls_made(function)
    session.close()  # which ends the call


def test_a_late_answer_counts_when_it_comes(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    started.engine.control("slow-call", "health_check", "1.5")
    session = started.session(*LINES, collect_interval=1.0)
    assert ["health"] == failing(started.read(session))
    wait_until(lambda: not failing(started.read(session)), "the health check")
    assert HEALTH in started.names(session)


def test_instances_are_there_while_the_hierarchy_is_slow(bench: StartBench) -> None:
    started, clock = bench("h100x8-mig"), Clock()
    session = started.session(*LINES, clock=clock, collect_interval=1.0, stale_after=1000.0)
    started.engine.control("slow-call", "get_gpu_instance_hierarchy", "3600")
    clock.now = 10.0
    assert not session.is_outdated()
    clock.now = 30.0
    assert not session.is_outdated()
    result = started.read(session)
    assert (["discovery"], 14) == (failing(result), len(result.snapshot.families[0].samples))


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.6.0"])
def test_an_engine_without_the_rights_to_profile_costs_profiling_alone(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    started.engine.control("profiling-needs-root")
    session = started.session(*LINES[:1], f"{SM_ACTIVE}, gauge, x")
    result = started.read(session)
    assert {TEMPERATURE} == names(result)
    assert "run nvidia-dcgm as root" in result.profiling_reason
    assert "NVreg_RestrictProfilingToAdminUsers=0" in result.profiling_reason
    assert dict.fromkeys(range(8), False) == result.profiling_up
