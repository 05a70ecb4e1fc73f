"""The thread that runs the cycles."""

from __future__ import annotations

import threading

import pytest
from tests.unit.agent.conftest import (
    PATIENCE,
    TEMPERATURE,
    Program,
    StartBench,
    StartProgram,
    configured_for,
    connections,
)

from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.service.agent import Agent


class Pages:
    """Waits for pages."""

    def __init__(self, program: Program) -> None:
        self.published = threading.Semaphore(0)
        publication = program.publisher.publication
        publish = publication.publish

        def and_tell(page: object) -> None:
            publish(page)
            self.published.release()

        publication.publish = and_tell

    def wait(self) -> None:
        assert self.published.acquire(timeout=PATIENCE)


def test_the_thread_cycles_wakes_up_for_a_configuration_and_disconnects_in_the_end(
    bench: StartBench, start: StartProgram
) -> None:
    engine = bench()
    program = start(engine, collect_interval=3600.0)
    pages = Pages(program)
    program.agent.start()
    pages.wait()
    assert 1 == len(program.series(TEMPERATURE))
    power = "DCGM_FI_DEV_POWER_USAGE"
    program.agent.reconfigure(configured_for(engine, f"{power}, gauge, x"))
    pages.wait()
    assert 1 == len(program.series(power))
    program.agent.stop(PATIENCE)
    assert not program.agent._thread.is_alive()
    assert 0 == connections(engine)


def test_no_wake_up_is_lost_that_comes_while_the_thread_begins(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of a stop right after the start nor of one that comes with a cycle's end."""
    engine = bench()
    program = start(engine, collect_interval=3600.0)
    cycle = Agent.cycle

    def stop_in_cycle(agent: Agent) -> float:
        pause = cycle(agent)
        agent._stopping = True
        agent._wake.set()
        return pause

    monkeypatch.setattr(Agent, "cycle", stop_in_cycle)
    program.agent._wake.set()
    program.agent.start()
    program.agent._thread.join(PATIENCE)
    assert not program.agent._thread.is_alive()


def test_the_thread_goes_on_cycling(bench: StartBench, start: StartProgram) -> None:
    program = start(bench(), collect_interval=0.01)
    pages = Pages(program)
    program.agent.start()
    for _ in range(5):
        pages.wait()
    program.agent.stop(PATIENCE)


def test_stopping_does_not_wait_for_an_engine_that_hangs(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, leave = threading.Event(), threading.Event()

    def hang(_session: Session, _now: float) -> CycleResult:
        entered.set()
        leave.wait(PATIENCE)
        raise ZeroDivisionError

    program = start(bench())
    monkeypatch.setattr(Session, "read", hang)
    program.agent.start()
    assert entered.wait(PATIENCE)
    program.agent.stop(0.01)
    assert program.agent._thread.is_alive()
    leave.set()
    program.agent._thread.join(PATIENCE)
    assert not program.agent._thread.is_alive()
