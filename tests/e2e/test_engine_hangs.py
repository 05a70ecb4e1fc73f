"""The engine hangs: nothing that users touch may wait for it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import Exporter
from tests.waiting import STOP_LIMIT, wait_until

from dcgm_simulator.process import SimulatedEngine

# A call to a hung engine ends after 60 s in real life, and then the next one begins.
SHORT_CALLS = {"DCGM_SIMULATOR_CALL_TIMEOUT": "3"}


def control_hang(engine: SimulatedEngine) -> None:
    engine.control("hang")


def control_resume(engine: SimulatedEngine) -> None:
    engine.control("resume")


Act = Callable[[SimulatedEngine], None]
HANGS = pytest.mark.parametrize(
    ("hang", "resume"),
    [(SimulatedEngine.suspend, SimulatedEngine.resume), (control_hang, control_resume)],
    ids=["stopped process", "silent engine"],
)


@HANGS
def test_scrapes_answer_while_the_engine_hangs_and_all_is_well_when_it_resumes(
    exporter: Exporter, engine: SimulatedEngine, hang: Act, resume: Act
) -> None:
    hang(engine)
    # Nothing but resume() ends the call that hangs, so whoever waited for it got no answer.
    for _ in range(50):
        assert exporter.get().status == 200
    exporter.wait_until_down()
    for _ in range(50):
        assert exporter.is_down()
    assert exporter.health() == (503, "the engine has not answered for more than 2 s")
    exporter.wait_for_log(" WARNING the engine has not answered for more than 2 s")

    resume(engine)
    exporter.wait_until_up()
    assert exporter.health() == (200, "OK")
    exporter.wait_for_log(" collecting", count=2)
    assert len(engine.control("status")["connections"]) == 1


def test_an_engine_that_answers_and_samples_no_more_is_an_outage_with_its_reason(
    exporter: Exporter, engine: SimulatedEngine
) -> None:
    engine.control("stall")
    wait_until(lambda: exporter.health()[0] == 503, "the stall is noticed")
    status, reason = exporter.health()
    assert (status, exporter.is_down()) == (503, True)
    assert reason.startswith("the engine answers, but has no value of any GPU that is less than")
    exporter.wait_for_log(" WARNING the engine answers, but has no value of any GPU")

    engine.control("unstall")
    exporter.wait_until_up()
    assert exporter.health() == (200, "OK")
    assert len(engine.control("status")["connections"]) == 1


def test_an_exporter_of_a_hung_engine_stops_at_once(
    exporter: Exporter, engine: SimulatedEngine
) -> None:
    engine.suspend()
    exporter.wait_until_down()
    # Nobody collects now, and yet the exporter's own metrics stay current.
    used = exporter.page().value("process_cpu_seconds_total")
    wait_until(
        lambda: exporter.page().value("process_cpu_seconds_total") > used, "a newer page", 60
    )
    assert exporter.stop() < STOP_LIMIT
    assert exporter.process.returncode == 0
    engine.resume()


def test_an_exporter_that_has_not_noticed_the_hang_yet_stops_at_once_as_well(
    exporter: Exporter, engine: SimulatedEngine
) -> None:
    engine.suspend()
    assert exporter.stop() < STOP_LIMIT
    engine.resume()


@HANGS
def test_an_engine_that_hangs_from_the_start_is_taken_when_it_resumes(
    stage: Stage, engine: SimulatedEngine, hang: Act, resume: Act
) -> None:
    hang(engine)
    exporter = stage.exporter(engine)
    wait_until(lambda: "has not answered" in exporter.health()[1], "the hang is noticed")
    assert exporter.is_down()
    resume(engine)
    exporter.wait_until_up()


def test_an_exporter_hung_while_it_connects_stops_at_once(
    stage: Stage, engine: SimulatedEngine
) -> None:
    engine.suspend()
    exporter = stage.exporter(engine)
    wait_until(lambda: "has not answered" in exporter.health()[1], "the hang is noticed")
    assert exporter.stop() < STOP_LIMIT
    engine.resume()


def test_a_hung_engine_that_is_killed_and_restarted_is_followed(
    exporter: Exporter, engine: SimulatedEngine
) -> None:
    engine.suspend()
    exporter.wait_until_down()
    engine.kill()
    engine.restart()
    exporter.wait_until_up()


def test_a_long_hang_stays_one_outage(stage: Stage, engine: SimulatedEngine) -> None:
    """Calls time out, connections are tried and hang again: users see one outage."""
    exporter = stage.exporter(engine, environ=SHORT_CALLS)
    exporter.wait_until_up()
    engine.control("hang")
    exporter.wait_until_down()
    calls = exporter.page().own("engine_calls_total")

    def is_tried_again() -> bool:
        assert exporter.is_down()
        assert exporter.health()[0] == 503
        return exporter.page().own("engine_calls_total") >= calls + 2

    # By the time that the page tells of the next connection, this one hangs as well.
    wait_until(is_tried_again, "the next connection is tried")
    assert len(exporter.log_lines(" WARNING the engine has not answered")) == 1
    assert len(exporter.log_lines(" WARNING ")) == 2  # the other one: values are made up
    engine.control("resume")
    exporter.wait_until_up()
    assert len(exporter.log_lines(" collecting")) == 2
