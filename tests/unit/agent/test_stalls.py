"""The cycle when an engine stalls or a cycle was given up."""

from __future__ import annotations

import pytest
from tests.unit.agent.conftest import (
    GPU_UP,
    TEMPERATURE,
    Begin,
    StartBench,
    StartProgram,
    configured_for,
    connections,
)

from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session


def test_an_engine_that_samples_no_more_is_an_outage_until_it_does(begin: Begin) -> None:
    engine, program = begin("h100x8")
    program.cycle()
    engine.engine.control("stall")
    engine.pass_time(60.0)
    program.cycle()
    assert (True, 8) == (program.is_up, len(program.series(TEMPERATURE)))
    engine.pass_time(20.0)
    assert 20.0 == program.cycle()
    assert program.reason.startswith(
        "the engine answers, but has no value of any GPU that is less than 60 s old"
    )
    assert ({}, False) == (program.series(TEMPERATURE), program.is_up)
    engine.engine.control("unstall")
    engine.pass_time(20.0)
    program.cycle()
    assert ("", 8) == (program.reason, len(program.series(TEMPERATURE)))
    assert 1 == engine.calls_made("hostengine_version_info")


def test_an_engine_that_waits_for_a_clock_that_was_set_back_is_told_apart(begin: Begin) -> None:
    engine, program = begin()
    program.cycle()
    engine.engine.control("stall")
    boot_now = engine.now
    program.agent._logs.ages.clock = lambda: boot_now
    engine.now -= 600.0
    program.cycle()
    assert "" == program.reason
    boot_now += 61.0
    program.cycle()
    assert "the clock, which was set back, has caught up: restart nvidia-dcgm" in program.reason


def test_gpus_that_alone_are_sampled_no_more_are_named(begin: Begin) -> None:
    engine, program = begin("h100x8")
    program.cycle()
    engine.engine.control("stall", "--gpu", "3")
    for _ in range(4):
        engine.pass_time(20.0)
        program.cycle()
    assert "the engine has no value of GPU 3 (GPU-" in program.reason
    assert (True, 7) == (program.is_up, len(program.series(TEMPERATURE)))
    assert {"gpu=3"} == {gpu for gpu, up in program.series(GPU_UP).items() if not up}


def test_an_engine_that_stalls_while_a_session_is_replaced_keeps_one_connection(
    begin: Begin,
) -> None:
    engine, program = begin()
    program.cycle()
    engine.engine.control("stall")
    for seconds in (80.0, 20.0):
        engine.pass_time(seconds)
        program.agent.reconfigure(configured_for(engine))
        program.cycle()
    assert "has no value of any GPU" in program.reason
    assert 1 == connections(engine)


# A cycle that was given up meanwhile.


def test_the_late_result_of_an_abandoned_cycle_is_discarded_and_the_next_comes_at_once(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = start(bench())
    read = Session.read

    def hang(session: Session, now: float) -> CycleResult:
        assert program.publisher.abandon_cycle_after(0.0)
        return read(session, now)

    with monkeypatch.context() as patched:
        patched.setattr(Session, "read", hang)
        assert 0.0 == program.cycle()
    assert "the engine is slow" in program.reason
    assert {} == program.series(TEMPERATURE)
    assert 20.0 == program.cycle()
    assert ("", 1) == (program.reason, len(program.series(TEMPERATURE)))


def test_the_late_end_of_an_abandoned_cycle_changes_nothing(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, program = begin()
    program.cycle()

    def hang(_session: Session) -> bool:
        program.publisher.abandon_cycle_after(0.0)
        engine.engine.control("drop")
        return False

    monkeypatch.setattr(Session, "is_outdated", hang)
    assert program.cycle() <= 0.5
    assert "the engine is slow" in program.reason
