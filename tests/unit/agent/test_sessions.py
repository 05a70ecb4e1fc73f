"""Another session in the place of one."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builders import Bench, Clock
from tests.unit.agent.conftest import (
    SM_ACTIVE,
    TEMPERATURE,
    TOTAL,
    Begin,
    StartBench,
    StartProgram,
    configured_for,
    connections,
)

from do_dcgm_exporter.collect.session import Session


def status_of(bench: Bench) -> tuple[int, set[int]]:
    """How many connections there are, and which fields are watched."""
    status = bench.engine.control("status")
    return len(status["connections"]), {watch["field"] for watch in status["watches"]}


def test_another_configuration_gets_a_session_of_its_own_and_the_old_one_leaves_nothing(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench("h100x8")
    program = start(engine, f"{TEMPERATURE}, gauge, x", f"{SM_ACTIVE}, gauge, x")
    program.cycle()
    engine.pass_time(2)
    program.cycle()
    assert 8 == len(program.series(SM_ACTIVE))
    power = "DCGM_FI_DEV_POWER_USAGE"
    program.agent.reconfigure(
        configured_for(engine, f"{power}, gauge, x", f"{SM_ACTIVE}, gauge, x")
    )
    engine.pass_time(20)
    program.cycle()
    # Nothing is missing from the very first page, profiling included.
    assert (0, 8, 8) == tuple(len(program.series(n)) for n in (TEMPERATURE, power, SM_ACTIVE))
    assert (1, {1, 57, 155, 230, 1002}) == status_of(engine)
    engine.pass_time(20)
    program.cycle()
    assert (8, 8) == tuple(len(program.series(name)) for name in (power, SM_ACTIVE))


def test_the_same_configuration_keeps_its_session(begin: Begin) -> None:
    engine, program = begin()
    program.cycle()
    program.agent.reconfigure(program.agent._configuration)
    program.cycle()
    assert 1 == engine.calls_made("hostengine_version_info")


def test_a_mig_change_shows_within_a_default_interval(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench("h100x8")
    program, clock = start(engine), Clock()
    program.agent._clock = clock
    program.cycle()
    engine.engine.control("mig", "--gpu", "3", "3g.40gb,2g.20gb")
    clock.now = 20.0
    program.cycle()
    assert 9 == len(program.series(TEMPERATURE))
    assert 1 == connections(engine)
    engine.engine.control("mig", "--gpu", "3", "off")
    clock.now = 40.0
    program.cycle()
    assert 8 == len(program.series(TEMPERATURE))
    assert 1 == connections(engine)


def test_a_gpu_keeps_its_labels_when_it_is_rediscovered_while_lost(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench("h100x8")
    program = start(engine, "DCGM_FI_DEV_XID_ERRORS, gauge, x")
    program.cycle()
    before = program.series("DCGM_FI_DEV_XID_ERRORS")
    engine.engine.control("lose-gpu", "3")
    engine.engine.control("drop")
    program.cycle()
    engine.pass_time(20)
    program.cycle()
    assert before == program.series("DCGM_FI_DEV_XID_ERRORS")
    assert "the driver has lost GPU 3 (GPU-" in program.reason
    assert 0.0 == program.series("do_dcgm_exporter_gpu_up")["gpu=3"]


def test_a_second_session_that_fails_ends_both(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, program = begin()
    program.cycle()
    program.agent.reconfigure(configured_for(engine))

    def fail(*_arguments: object) -> Session:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr("do_dcgm_exporter.service.agent.open_session", fail)
        program.cycle()
    assert 0 == connections(engine)
    program.cycle()
    assert 1 == connections(engine)


def test_totals_outlive_engines_connections_and_configurations(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench()
    program = start(engine, f"{TOTAL}, counter, x")
    program.cycle()
    disturbances: list[Callable[[], object]] = [
        lambda: engine.engine.control("drop"),
        lambda: program.agent.reconfigure(configured_for(engine, f"{TOTAL}, counter, x")),
        lambda: None,
    ]
    for number, disturb in enumerate(disturbances, 1):
        engine.engine.control("xid", "--gpu", "0", "31")
        engine.pass_time(2)
        disturb()
        for _ in range(2):
            program.cycle()
        assert [number] == list(program.series(TOTAL).values())
