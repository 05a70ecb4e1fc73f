"""What is written now and proven later, and containers of units."""

from __future__ import annotations

import pytest
from tests.unit.integration.conftest import ETC, LIB, UNIT, Machine
from tests.unit.integration.runs import (
    CLIENT,
    DROP_IN,
    READING,
    TOLD,
    apply,
    record,
    restarts,
    told,
    undo,
)

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.looking.configuration import Choice

# --- what is written now and proven later ---------------------------------------------------


def test_without_restarts_only_files_are_written(exporter: Machine) -> None:
    before = exporter.states()
    exporter.forget_asked()
    assert apply(exporter, restart=False)
    assert exporter.exists(DROP_IN)
    assert not record(exporter).proven
    assert before == exporter.states()
    assert [f"{UNIT} is pending"] == exporter.said
    verbs = {words[1] for words in exporter.asked() if words[0] == "systemctl"}
    assert {"daemon-reload"} == verbs - READING
    assert apply(exporter)
    assert CLIENT == exporter.engine_of(UNIT)
    assert record(exporter).proven


def test_without_restarts_nothing_is_undone_or_stopped(exporter: Machine) -> None:
    apply(exporter)
    before = exporter.files(), exporter.states()
    for choice in (Choice.LEAVE, Choice.STOP):
        assert apply(exporter, choice, restart=False)
        assert [f"{UNIT} is pending"] == exporter.said
        assert before == (exporter.files(), exporter.states())


def test_without_restarts_an_engine_that_does_not_answer_yet_is_waited_for_by_others(
    exporter: Machine,
) -> None:
    before = exporter.files(), exporter.states()
    assert apply(exporter, engine=EngineAnswer(Condition.ABSENT, "nobody"), restart=False)
    assert [f"{UNIT} is pending"] == exporter.said
    assert before == (exporter.files(), exporter.states())


def test_what_was_never_restarted_is_not_restarted_to_undo_it(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    apply(exporter, restart=False)
    exporter.forget_asked()
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())
    assert 0 == restarts(exporter)


def test_one_that_was_restarted_by_somebody_is_proven_without_another_restart(
    exporter: Machine,
) -> None:
    apply(exporter, restart=False)
    exporter.systemctl("restart", UNIT)
    exporter.forget_asked()
    assert apply(exporter)
    assert record(exporter).proven
    assert 0 == restarts(exporter)


def test_one_that_did_not_run_and_fails_as_a_client_is_taken_back(machine: Machine) -> None:
    machine.put_unit(UNIT, machine.ports[0])
    machine.write("stand-in/refuses", UNIT)
    before = machine.files()
    assert apply(machine)
    assert not record(machine).proven
    machine.systemctl("start", UNIT)
    assert "failed" == machine.run_of(UNIT)["active"]
    assert not apply(machine, engine=EngineAnswer(Condition.HUNG, "it hangs"))
    assert machine.exists(DROP_IN), "without an engine it cannot be blamed"
    assert not apply(machine)
    assert f"it exits as a client: journalctl -u {UNIT}" in told(machine)
    assert not machine.exists(f"{ETC}/{UNIT}.d")
    machine.forget_asked()
    assert not apply(machine), "it is not tried again"
    assert not machine.exists(f"{ETC}/{UNIT}.d")
    undo(machine)
    assert before == machine.files()


def test_one_that_had_failed_before_is_not_blamed(machine: Machine) -> None:
    machine.put_unit(UNIT, machine.ports[0])
    machine.write(f"{ETC}/{UNIT}.d/x.conf", f"[Service]\nEnvironment={TOLD}\n")
    machine.write("stand-in/refuses", UNIT)
    machine.systemctl("start", UNIT)
    machine.remove(f"{ETC}/{UNIT}.d/x.conf")
    machine.systemctl("daemon-reload")
    assert "failed" == machine.run_of(UNIT)["active"]
    apply(machine)
    apply(machine)
    assert machine.exists(DROP_IN)
    undo(machine)
    assert "failed" == machine.run_of(UNIT)["active"]


# --- containers of units -------------------------------------------------------------------


@pytest.fixture
def container(machine: Machine) -> Machine:
    """A machine with a unit that runs an exporter in a container."""
    machine.write("usr/bin/docker", "\x7fELF\0", 0o755)
    put_container(machine, "4.5.3-4.8.2")
    machine.enable(UNIT)
    machine.systemctl("start", UNIT)
    return machine


def put_container(machine: Machine, tag: str) -> None:
    image = f"nvcr.io/nvidia/k8s/dcgm-exporter:{tag}"
    command = f"/usr/bin/docker run --rm --net host {image} -a :{machine.ports[0]}"
    machine.write(f"{LIB}/{UNIT}", f"[Service]\nExecStart={command}\n")


def test_a_container_whose_own_command_has_changed_gets_a_new_drop_in(container: Machine) -> None:
    before = container.files(), container.states()
    assert apply(container), container.said
    assert f"run -e {TOLD} --rm" in container.read(DROP_IN)
    put_container(container, "4.6.0-4.9.0")
    container.systemctl("daemon-reload")
    container.forget_asked()
    assert apply(container), container.said
    assert ":4.6.0-4.9.0" in container.read(DROP_IN)
    assert 1 == restarts(container)
    assert CLIENT == container.engine_of(UNIT)
    put_container(container, "4.5.3-4.8.2")
    container.systemctl("daemon-reload")
    assert undo(container)
    assert before == (container.files(), container.states())
