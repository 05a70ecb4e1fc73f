"""apply and restore, against a stand-in service manager: what users see of them."""

from __future__ import annotations

import pytest
from tests.unit.integration.conftest import ETC, LIB, UNIT, Machine
from tests.unit.integration.runs import (
    CLIENT,
    DROP_IN,
    READING,
    apply,
    restarts,
    undo,
)

from do_dcgm_exporter.integration.looking.configuration import Choice


def test_an_embedded_exporter_becomes_a_client(exporter: Machine) -> None:
    assert apply(exporter)
    assert CLIENT == exporter.engine_of(UNIT)
    assert f"Environment=DCGM_REMOTE_HOSTENGINE_INFO={CLIENT}\n" in exporter.read(DROP_IN)
    assert [f"{UNIT}: is a client of {CLIENT} now"] == exporter.said
    assert 1 == restarts(exporter)


def test_what_is_applied_is_not_applied_again(exporter: Machine) -> None:
    apply(exporter)
    files = exporter.files()
    exporter.forget_asked()
    assert apply(exporter)
    assert files == exporter.files()
    verbs = {words[1] for words in exporter.asked() if words[0] == "systemctl"}
    assert set() == verbs - READING
    assert [] == exporter.said


def test_restore_leaves_every_byte_and_state_as_before(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    apply(exporter)
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())


def test_a_directory_of_drop_ins_that_was_there_stays(exporter: Machine) -> None:
    (exporter.root / ETC / f"{UNIT}.d").mkdir()
    before = exporter.files()
    apply(exporter)
    undo(exporter)
    assert before == exporter.files()


@pytest.mark.parametrize(
    "line",
    [
        "Environment=DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555",
        "ExecStart=/usr/bin/dcgm-exporter -r gpu7:5555",
        "EnvironmentFile=/etc/default/x",
    ],
)
def test_a_decision_of_somebodys_is_left_alone(exporter: Machine, line: str) -> None:
    exporter.write("etc/default/x", "DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n")
    exporter.write(f"{ETC}/{UNIT}.d/mine.conf", f"[Service]\n{line}\n")
    exporter.systemctl("daemon-reload")
    before = exporter.files(), exporter.states()
    exporter.forget_asked()
    for choice in Choice:
        assert apply(exporter, choice)
        assert before == (exporter.files(), exporter.states())
    assert 0 == restarts(exporter)


def test_one_that_does_not_run_is_not_started(machine: Machine) -> None:
    machine.put_unit(UNIT, machine.ports[0], enable=False)
    assert apply(machine)
    assert machine.exists(DROP_IN)
    assert 0 == restarts(machine)
    assert [f"{UNIT}: will be a client of {CLIENT} when it is started"] == machine.said
    machine.systemctl("start", UNIT)
    assert CLIENT == machine.engine_of(UNIT)


def test_one_that_was_started_meanwhile_runs_as_before_after_restore(machine: Machine) -> None:
    machine.put_unit(UNIT, machine.ports[0], enable=False)
    apply(machine)
    machine.systemctl("start", UNIT)
    undo(machine)
    assert "embedded" == machine.engine_of(UNIT)


def test_one_that_was_stopped_meanwhile_stays_stopped(exporter: Machine) -> None:
    apply(exporter)
    exporter.systemctl("stop", UNIT)
    undo(exporter)
    assert "inactive" == exporter.run_of(UNIT)["active"]


def test_a_mask_is_respected(exporter: Machine) -> None:
    exporter.link(f"{ETC}/{UNIT}", "/dev/null")
    exporter.systemctl("daemon-reload")
    before = exporter.files()
    apply(exporter)
    assert before == exporter.files()
    assert 0 == restarts(exporter)


def test_an_instance_gets_a_drop_in_of_its_own(machine: Machine) -> None:
    machine.write(f"{LIB}/gpu@.service", "[Service]\nExecStart=/usr/bin/dcgm-exporter -a :%i\n")
    first, second = (f"gpu@{port}.service" for port in machine.ports[:2])
    machine.systemctl("start", first)
    machine.link(f"{ETC}/multi-user.target.wants/{second}", f"/{LIB}/gpu@.service")
    assert apply(machine)
    assert CLIENT == machine.engine_of(first)
    assert machine.exists(f"{ETC}/{second}.d/zz-do-dcgm-exporter.conf")
    assert not machine.exists(f"{ETC}/gpu@.service.d")


def test_a_loaded_instance_is_found_whatever_its_name(machine: Machine) -> None:
    template = r"gpu\x20exporter@.service"
    machine.write(f"{LIB}/{template}", "[Service]\nExecStart=/usr/bin/dcgm-exporter -a :%i\n")
    unit = template.replace("@", f"@{machine.ports[0]}")
    machine.systemctl("start", unit)
    machine.systemctl("stop", unit)
    before = machine.files(), machine.states()
    assert apply(machine), machine.said
    machine.systemctl("start", unit)
    assert CLIENT == machine.engine_of(unit)
    machine.systemctl("stop", unit)
    assert undo(machine)
    assert before[0] == machine.files()


def test_several_are_changed_at_once(machine: Machine) -> None:
    units = [f"exporter-{port}.service" for port in machine.ports]
    for unit, port in zip(units, machine.ports, strict=True):
        machine.put_unit(unit, port)
        machine.systemctl("start", unit)
    before = machine.files(), machine.states()
    machine.forget_asked()
    assert apply(machine)
    assert {CLIENT} == {machine.engine_of(unit) for unit in units}
    # Once for what was written, once for what was proven.
    assert 2 == len([words for words in machine.asked() if words[1:2] == ["daemon-reload"]])
    undo(machine)
    assert before == (machine.files(), machine.states())
