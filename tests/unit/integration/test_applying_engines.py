"""apply where the engine cannot be used, or goes away later."""

from __future__ import annotations

import pytest
from tests.unit.integration.conftest import ETC, LIB, UNIT, Machine
from tests.unit.integration.runs import (
    CLIENT,
    DROP_IN,
    apply,
    falls,
    record,
    restarts,
    told,
)

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer


@pytest.mark.parametrize(
    ("engine", "word"),
    [
        (EngineAnswer(Condition.ABSENT, "nobody is there"), "nobody is there"),
        (EngineAnswer(Condition.HUNG, "it hangs"), "it hangs"),
        (EngineAnswer(Condition.NO_CLIENT, "no library"), "no library"),
        (EngineAnswer(Condition.DOES_NOT_FIT, "", "4.5.3", "3.3.9"), "DCGM 3.3.9"),
        (EngineAnswer(Condition.ANSWERS), "of an unknown release"),
    ],
)
def test_without_an_engine_that_fits_nothing_changes(
    exporter: Machine, engine: EngineAnswer, word: str
) -> None:
    before = exporter.files(), exporter.states()
    assert not apply(exporter, engine=engine)
    assert before == (exporter.files(), exporter.states())
    assert 0 == restarts(exporter)
    assert UNIT in told(exporter)
    assert word in told(exporter)
    assert apply(exporter)
    assert CLIENT == exporter.engine_of(UNIT)


def test_an_engine_that_goes_away_later_is_no_reason_to_change_anything(exporter: Machine) -> None:
    apply(exporter)
    before = exporter.files(), exporter.states()
    exporter.write(f"{ETC}/{UNIT}.d/more.conf", "[Service]\nExecStart=/usr/bin/dcgm-exporter\n")
    assert apply(exporter, engine=EngineAnswer(Condition.ABSENT, "gone"))
    exporter.remove(f"{ETC}/{UNIT}.d/more.conf")
    assert before == (exporter.files(), exporter.states())


def test_an_engine_that_becomes_another_release_gets_its_clients_back_to_themselves(
    exporter: Machine,
) -> None:
    before = exporter.files(), exporter.states()
    apply(exporter)
    newer = EngineAnswer(Condition.ANSWERS, engine="5.0.0")
    assert apply(exporter, engine=newer)  # it runs, so it need not be asked
    exporter.systemctl("stop", UNIT)
    exporter.write("stand-in/refuses", UNIT)
    exporter.systemctl("start", UNIT)
    assert "failed" == exporter.run_of(UNIT)["active"]
    assert not apply(exporter, engine=newer)
    assert before == (exporter.files(), exporter.states())
    assert "it uses DCGM 4, the engine is DCGM 5.0.0" in told(exporter)


GONE = EngineAnswer(Condition.ABSENT, "nothing listens on localhost:5555")
ENGINES_UNIT = f"{LIB}/nvidia-dcgm.service", "[Service]\nExecStart=/usr/bin/nv-hostengine\n"


@pytest.mark.parametrize("unit", ["none", "disabled"])
def test_clients_of_an_engine_that_will_not_come_are_put_back(exporter: Machine, unit: str) -> None:
    if unit == "disabled":
        exporter.write(*ENGINES_UNIT)
    before = exporter.files(), exporter.states()
    apply(exporter)
    falls(exporter)
    assert not apply(exporter, engine=GONE, engine_unit="none")
    assert before == (exporter.files(), exporter.states())
    assert f"{UNIT} keeps its embedded DCGM: the engine at" in told(exporter)
    assert "nothing listens on localhost:5555" in told(exporter)
    exporter.remove("stand-in/refuses")
    assert apply(exporter)
    assert CLIENT == exporter.engine_of(UNIT)


@pytest.mark.parametrize(
    ("engine", "unit"), [(GONE, "nvidia"), (EngineAnswer(Condition.HUNG, "it hangs"), "none")]
)
def test_clients_of_an_engine_that_will_come_back_wait_for_it(
    exporter: Machine, engine: EngineAnswer, unit: str
) -> None:
    exporter.write(*ENGINES_UNIT)
    apply(exporter)
    falls(exporter)
    exporter.forget_asked()
    assert not apply(exporter, engine=engine, engine_unit=unit)
    assert 0 == restarts(exporter)
    assert exporter.exists(DROP_IN)
    why = f"the engine at {CLIENT} cannot be used: {engine.reason}"
    assert [f"{UNIT}, which is a client by our drop-in, does not run: {why}"] == exporter.said


def test_a_client_that_does_not_run_though_its_engine_does_is_no_success(exporter: Machine) -> None:
    apply(exporter)
    falls(exporter)
    assert not apply(exporter)
    assert [
        f"{UNIT}, which is a client by our drop-in, does not run: journalctl -u {UNIT}"
    ] == exporter.said


def test_an_engine_that_is_restarted_meanwhile_is_not_held_against_an_exporter(
    exporter: Machine,
) -> None:
    exporter.write("stand-in/engine-comes-back", "1")
    assert apply(exporter), told(exporter)
    assert CLIENT == exporter.engine_of(UNIT)
    assert record(exporter).proven


def test_what_an_engine_never_stayed_for_is_tried_again_by_the_next_run(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    exporter.write("stand-in/engine-comes-back", "2")
    assert not apply(exporter)
    assert before == (exporter.files(), exporter.states())
    assert apply(exporter), told(exporter)
    assert CLIENT == exporter.engine_of(UNIT)


def test_an_engine_that_goes_meanwhile_is_not_held_against_an_exporter(exporter: Machine) -> None:
    before, listening = (exporter.files(), exporter.states()), exporter.read("proc/net/tcp")
    exporter.write("stand-in/engine-goes", "")
    assert not apply(exporter)
    assert before == (exporter.files(), exporter.states())
    exporter.remove("stand-in/engine-goes")
    exporter.write("proc/net/tcp", listening)
    assert apply(exporter), told(exporter)
    assert CLIENT == exporter.engine_of(UNIT)


def test_one_that_fell_with_its_engine_before_it_was_proven_is_tried_again(
    exporter: Machine,
) -> None:
    assert apply(exporter, restart=False)
    exporter.write("stand-in/engine-comes-back", "1")
    exporter.systemctl("restart", UNIT)
    assert "failed" == exporter.run_of(UNIT)["active"]
    assert apply(exporter), told(exporter)
    assert CLIENT == exporter.engine_of(UNIT)


def test_its_dcgm_release_has_to_be_known(machine: Machine) -> None:
    machine.write("usr/bin/dcgm-exporter", "\x7fELF\0 DCGM_REMOTE_HOSTENGINE_INFO\0", 0o755)
    machine.put_unit(UNIT, machine.ports[0])
    assert not apply(machine)
    assert not machine.exists(DROP_IN)
    assert "is only known while it runs" in told(machine)
