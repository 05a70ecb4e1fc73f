"""apply and restore, against a stand-in service manager: what users see of them."""

from __future__ import annotations

import pytest
from tests.unit.integration.conftest import ETC, LIB, UNIT, Machine
from tests.unit.integration.runs import CLIENT, DROP_IN, STATE, apply, restarts, told, undo

from do_dcgm_exporter.integration.looking.configuration import Choice
from do_dcgm_exporter.integration.looking.engine_probe import Condition, EngineAnswer


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
    assert set() == verbs - {"list-units"}
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


# --- engines that cannot be used ---------------------------------------------------------


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
    assert "it speaks DCGM 4, the engine is DCGM 5.0.0" in told(exporter)


def falls(machine: Machine) -> None:
    """Let the exporter, a client by now, end as it does when its engine goes."""
    machine.systemctl("stop", UNIT)
    machine.write("stand-in/refuses", UNIT)
    machine.systemctl("start", UNIT)
    assert "failed" == machine.run_of(UNIT)["active"]


GONE = EngineAnswer(Condition.ABSENT, "nobody listens on localhost:5555")
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
    assert "nobody listens on localhost:5555" in told(exporter)
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


def test_which_dcgm_it_speaks_has_to_be_known(machine: Machine) -> None:
    machine.write("usr/bin/dcgm-exporter", "\x7fELF\0 DCGM_REMOTE_HOSTENGINE_INFO\0", 0o755)
    machine.put_unit(UNIT, machine.ports[0])
    assert not apply(machine)
    assert not machine.exists(DROP_IN)
    assert "shows only while it runs" in told(machine)


# --- exporters that do not come back -----------------------------------------------------


def test_one_that_does_not_come_back_is_put_back(refuser: Machine) -> None:
    before = refuser.files(), refuser.states()
    assert not apply(refuser)
    assert before[1] == refuser.states()
    files = refuser.files()
    assert "it exits as a client" in files.pop(f"{STATE}/refused/{UNIT}")
    assert before[0] == files
    assert "it exits as a client: journalctl" in told(refuser)
    assert "its drop-in was taken back and it runs as before" in told(refuser)
    undo(refuser)
    assert before == (refuser.files(), refuser.states())


def test_one_that_did_not_come_back_is_not_tried_again_and_again(refuser: Machine) -> None:
    apply(refuser)
    refuser.forget_asked()
    assert not apply(refuser)
    assert 0 == restarts(refuser)
    assert UNIT in told(refuser)


@pytest.mark.parametrize("reason", ["asked to", "changed"])
def test_one_that_did_not_come_back_is_tried_again(refuser: Machine, reason: str) -> None:
    apply(refuser)
    refuser.remove("stand-in/refuses")
    if reason == "changed":
        refuser.put_unit(UNIT, refuser.ports[0], "Restart=on-failure", enable=False)
        refuser.systemctl("daemon-reload")
    assert apply(refuser, retry=reason == "asked to")
    assert CLIENT == refuser.engine_of(UNIT)


def test_one_that_serves_no_metrics_is_put_back(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    # As a client it listens where nobody answers.
    exporter.write("stand-in/serves-nothing-as-client", UNIT)
    assert not apply(exporter)
    assert "does not serve metrics" in told(exporter)
    undo(exporter)
    assert before == (exporter.files(), exporter.states())


def test_one_that_the_setting_does_not_reach_is_put_back(exporter: Machine) -> None:
    exporter.write("stand-in/ignores-settings", UNIT)
    assert not apply(exporter)
    assert "the setting does not reach it" in told(exporter)
    assert not exporter.exists(DROP_IN)


# --- what admins do ----------------------------------------------------------------------


def test_an_edited_drop_in_is_the_admins(exporter: Machine) -> None:
    apply(exporter)
    mine = exporter.read(DROP_IN) + "# mine\n"
    exporter.write(DROP_IN, mine)
    assert not apply(exporter)
    assert mine == exporter.read(DROP_IN)
    assert DROP_IN in told(exporter)
    assert not undo(exporter)
    assert mine == exporter.read(DROP_IN)
    assert [f"/{DROP_IN} was edited: it is yours and stays"] == exporter.said


def test_a_forbidden_drop_in_is_not_written(exporter: Machine) -> None:
    exporter.link(DROP_IN, "/dev/null")
    exporter.systemctl("daemon-reload")
    before = exporter.files(), exporter.states()
    assert apply(exporter)
    assert before == (exporter.files(), exporter.states())
    assert f"you forbid it by /{DROP_IN} -> /dev/null" in told(exporter)


def test_a_decision_made_later_is_respected(exporter: Machine) -> None:
    apply(exporter)
    exporter.write(
        f"{ETC}/{UNIT}.d/mine.conf",
        "[Service]\nEnvironment=DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555\n",
    )
    exporter.systemctl("daemon-reload")
    assert apply(exporter)
    assert not exporter.exists(DROP_IN)
    assert "gpu7:5555" == exporter.engine_of(UNIT)


def test_an_upgraded_unit_stays_a_client_without_another_restart(exporter: Machine) -> None:
    apply(exporter)
    exporter.forget_asked()
    exporter.put_unit(UNIT, exporter.ports[0], "Nice=5", enable=False)
    assert apply(exporter)
    assert exporter.exists(DROP_IN)
    assert 0 == restarts(exporter)
    assert CLIENT == exporter.engine_of(UNIT)


def test_a_unit_that_is_gone_is_forgotten(exporter: Machine) -> None:
    apply(exporter)
    exporter.systemctl("stop", UNIT)
    exporter.remove(f"{ETC}/multi-user.target.wants/{UNIT}")
    exporter.remove(f"{LIB}/{UNIT}")
    exporter.systemctl("daemon-reload")
    exporter.forget_asked()
    assert apply(exporter)
    assert not exporter.exists(f"{ETC}/{UNIT}.d")
    assert not {"start", "restart"} & {words[1] for words in exporter.asked()}


def test_policy_may_forbid_a_restart(exporter: Machine) -> None:
    apply(exporter, may_restart=lambda _: False)
    assert exporter.exists(DROP_IN)
    assert "embedded" == exporter.engine_of(UNIT)
    assert f"systemctl restart {UNIT}" in told(exporter)


# --- other choices -----------------------------------------------------------------------


def test_left_exporters_are_named(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    assert apply(exporter, Choice.LEAVE)
    assert before == (exporter.files(), exporter.states())
    assert f"{UNIT} keeps its embedded DCGM: embedded-exporters is leave" == told(exporter)


def test_stopped_exporters_are_disabled_and_come_back(exporter: Machine) -> None:
    exporter.link(f"{ETC}/alias.service", f"/{LIB}/{UNIT}")
    exporter.link(f"{ETC}/gpu.target.requires/{UNIT}", f"../../../../{LIB}/{UNIT}")
    before = exporter.files(), exporter.states()
    assert apply(exporter, Choice.STOP)
    assert "inactive" == exporter.run_of(UNIT)["active"]
    assert not any(UNIT in path or "alias" in path for path in exporter.files() if "wants/" in path)
    assert not exporter.exists(f"{ETC}/alias.service")
    assert apply(exporter, Choice.STOP)
    undo(exporter)
    assert before == (exporter.files(), exporter.states())


def test_a_socket_that_may_start_a_stopped_exporter_is_named(exporter: Machine) -> None:
    exporter.write(f"{LIB}/nvidia-dcgm-exporter.socket", "[Socket]\nListenStream=9400\n")
    apply(exporter, Choice.STOP)
    assert f"{UNIT}: nvidia-dcgm-exporter.socket may start it again" in told(exporter)


def test_minds_can_be_changed(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    for choice, engine in (
        (Choice.STOP, None),
        (Choice.REWRITE, CLIENT),
        (Choice.LEAVE, "embedded"),
        (Choice.REWRITE, CLIENT),
        (Choice.STOP, None),
        (Choice.LEAVE, "embedded"),
    ):
        assert apply(exporter, choice), (choice, exporter.said)
        assert engine == exporter.engine_of(UNIT)
    assert before == (exporter.files(), exporter.states())
