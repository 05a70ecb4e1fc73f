"""apply and restore, against a stand-in service manager: what users see of them."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.integration.conftest import ETC, LIB, UNIT, Machine, Page
from tests.unit.integration.runs import (
    CLIENT,
    DROP_IN,
    STATE,
    apply,
    record,
    restarts,
    told,
    undo,
)

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.deciding.records import sha256
from do_dcgm_exporter.integration.looking import systemd
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
    assert "it uses DCGM 4, the engine is DCGM 5.0.0" in told(exporter)


def falls(machine: Machine) -> None:
    """Let the exporter, a client by now, end as it does when its engine goes."""
    machine.systemctl("stop", UNIT)
    machine.write("stand-in/refuses", UNIT)
    machine.systemctl("start", UNIT)
    assert machine.run_of(UNIT)["sub"] in ("failed", "auto-restart")


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


def test_its_dcgm_release_has_to_be_known(machine: Machine) -> None:
    machine.write("usr/bin/dcgm-exporter", "\x7fELF\0 DCGM_REMOTE_HOSTENGINE_INFO\0", 0o755)
    machine.put_unit(UNIT, machine.ports[0])
    assert not apply(machine)
    assert not machine.exists(DROP_IN)
    assert "is only known while it runs" in told(machine)


# --- exporters that do not come back -----------------------------------------------------


def test_one_that_does_not_come_back_is_put_back(refuser: Machine) -> None:
    before = refuser.files(), refuser.states()
    assert not apply(refuser)
    assert before[1] == refuser.states()
    files = refuser.files()
    assert "it exits as a client" in files.pop(f"{STATE}/refused/{UNIT}")
    assert before[0] == files
    assert "it exits as a client: journalctl" in told(refuser)
    assert "its drop-in was removed, and it runs as before" in told(refuser)
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


def test_one_that_serves_less_than_before_is_put_back(exporter: Machine, empty_page: int) -> None:
    exporter.write("stand-in/port-as-client", f"{UNIT} {empty_page}")
    assert not apply(exporter)
    assert "does not serve metrics" in told(exporter)
    assert "embedded" == exporter.engine_of(UNIT)


@pytest.fixture
def empty_page() -> Iterator[int]:
    """A port that serves a page without metrics."""

    class Empty(Page):
        text = b""

    with http.server.HTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


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


def test_a_drop_in_that_is_edited_during_the_proof_is_the_admins(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart = systemd.restart

    def edit_and_restart(*arguments: Any) -> None:
        exporter.write(DROP_IN, exporter.read(DROP_IN) + "# mine\n")
        restart(*arguments)

    monkeypatch.setattr(systemd, "restart", edit_and_restart)
    assert apply(exporter)
    assert CLIENT == exporter.engine_of(UNIT)
    assert exporter.read(DROP_IN).endswith("# mine\n")


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


def test_a_unit_whose_file_is_gone_while_it_runs_loses_its_drop_in(exporter: Machine) -> None:
    apply(exporter)
    exporter.remove(f"{LIB}/{UNIT}")
    exporter.forget_asked()
    assert apply(exporter)
    assert not exporter.exists(f"{ETC}/{UNIT}.d")
    assert not {"start", "restart"} & {words[1] for words in exporter.asked()}


def test_policy_may_forbid_a_removal_to_restart_anything(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(exporter)
    forbids = "#!/bin/sh\necho policy-rc.d forbids \"'$1 $2'\" >&2; exit 1\n"
    exporter.write("usr/share/do-dcgm-exporter/bin/may-act", forbids, 0o755)
    monkeypatch.setenv("DPKG_MAINTSCRIPT_PACKAGE", "do-dcgm-exporter")
    assert not undo(exporter)
    why = f"policy-rc.d forbids 'restart {UNIT}'"
    assert [f"{UNIT}: does not run as before: {why}"] == exporter.said
    assert not exporter.exists(DROP_IN)
    assert CLIENT == exporter.engine_of(UNIT)


def test_where_policy_forbids_nothing_a_removal_restarts_what_ran(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(exporter)
    exporter.write("usr/share/do-dcgm-exporter/bin/may-act", "#!/bin/sh\n", 0o755)
    monkeypatch.setenv("DPKG_MAINTSCRIPT_PACKAGE", "do-dcgm-exporter")
    assert undo(exporter)
    assert "embedded" == exporter.engine_of(UNIT)


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
    assert f"it does not run as a client: journalctl -u {UNIT}" in told(machine)
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


# What changes nothing.
READING = {"list-units", "list-unit-files", "show"}
TOLD = "DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555"


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


# --- what cannot be changed ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "link"])
def test_one_that_cannot_be_changed_is_told_and_the_others_go_on(
    exporter: Machine, kind: str
) -> None:
    other = "other-exporter.service"
    exporter.put_unit(other, exporter.ports[1])
    exporter.systemctl("start", other)
    if kind == "file":
        exporter.write(f"{ETC}/{UNIT}.d", "mine")
    else:
        exporter.link(f"{ETC}/{UNIT}.d", "nowhere")
    assert not apply(exporter)
    sentence = f"{UNIT}: /{ETC}/{UNIT}.d is not a folder, so it gets no drop-in"
    assert [sentence] == [line for line in exporter.said if line.startswith(UNIT)]
    assert "embedded" == exporter.engine_of(UNIT)
    assert CLIENT == exporter.engine_of(other)
    assert undo(exporter)
    assert "embedded" == exporter.engine_of(other)


def test_restore_needs_no_room_on_the_disk(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exporter.files(), exporter.states()
    apply(exporter)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())


def test_restore_says_what_it_could_not_undo(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(exporter)

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", read_only)
        patched.setattr(Path, "unlink", read_only)
        exporter.forget_asked()
        assert not undo(exporter)
    assert [f"{UNIT} cannot be changed: Read-only file system"] == exporter.said
    assert CLIENT == exporter.engine_of(UNIT)
    assert 0 == restarts(exporter)
    assert undo(exporter)
    assert "embedded" == exporter.engine_of(UNIT)


def test_restore_says_what_does_not_run_afterwards(exporter: Machine) -> None:
    apply(exporter)
    exporter.write("stand-in/fails", UNIT)
    assert not undo(exporter)
    assert f"{UNIT}: does not run as before: it exits at once: journalctl -u {UNIT}" in told(
        exporter
    )
    assert not exporter.exists(f"{ETC}/{UNIT}.d")


def test_one_that_waits_for_its_next_start_is_started_as_before(exporter: Machine) -> None:
    before = exporter.files()
    apply(exporter)
    exporter.write("stand-in/auto-restarts", UNIT)
    falls(exporter)
    assert "auto-restart" == exporter.run_of(UNIT)["sub"]
    exporter.remove("stand-in/refuses")
    assert undo(exporter)
    assert before == exporter.files()
    assert "embedded" == exporter.engine_of(UNIT)


def test_one_that_waits_for_its_next_start_is_stopped(exporter: Machine) -> None:
    apply(exporter)
    exporter.write("stand-in/auto-restarts", UNIT)
    falls(exporter)
    exporter.remove("stand-in/refuses")
    assert apply(exporter, Choice.STOP)
    assert "inactive" == exporter.run_of(UNIT)["active"]
    assert undo(exporter)
    assert "embedded" == exporter.engine_of(UNIT)


# --- what version 0.1.0 has left ------------------------------------------------------------


def leave_old_state(machine: Machine, **more: object) -> None:
    """Leave a drop-in and a state as version 0.1.0 did."""
    settings = f"[Unit]\n[Service]\nEnvironment={TOLD}\n"
    header = f"# Made by it.\n# ln -sf /dev/null /{DROP_IN}\n"
    seal = f"# sha256 of all other lines: {sha256(header + settings)}\n"
    machine.write(DROP_IN, header + seal + settings)
    machine.systemctl("daemon-reload")
    machine.systemctl("restart", UNIT)
    unit = {
        "unit": UNIT, "change": "rewritten", "was_active": True, "file_state": "enabled",
        "drop_in": {"path": f"/{DROP_IN}", "sha256": "x", "made_directory": True}, "links": [],
        "source": "s", "engine": CLIENT, "reason": "", "settled": True,
    }  # fmt: skip
    state = {"format": 1, "units": [unit], "containers": [], "snap": None, "colour": "red", **more}
    machine.write(f"{STATE}/integration.json", json.dumps(state))


@pytest.mark.parametrize("first", ["apply", "restore"])
def test_the_state_of_version_0_1_0_is_carried_over(exporter: Machine, first: str) -> None:
    before = exporter.files(), exporter.states()
    leave_old_state(exporter)
    if first == "apply":
        exporter.forget_asked()
        assert apply(exporter)
        assert 0 == restarts(exporter)
        assert (CLIENT, True) == (record(exporter).engine, record(exporter).made_folder)
        assert not exporter.exists(f"{STATE}/integration.json")
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())


def test_what_only_a_person_can_undo_of_version_0_1_0_is_told(exporter: Machine) -> None:
    container = {"engine": "docker", "name": "gpu", "old_id": "a1", "kept_as": "gpu.old",
                 "restart_policy": "always", "was_running": True}  # fmt: skip
    snap = {"port": "5577", "enabled": ["dcgm.nv-hostengine"], "active": []}
    leave_old_state(exporter, containers=[container], snap=snap)
    apply(exporter)
    kept = "/var/lib/do-dcgm-exporter/integration.0.1.0"
    stopped = "version 0.1.0 stopped gpu.old, the engine of the snap dcgm, and they stay"
    assert f"{stopped}: how they were stands in {kept}" in told(exporter)
    assert exporter.exists(kept)


def leave_old_state_of_a_stopped_unit(machine: Machine) -> None:
    """Leave a unit stopped and disabled, and a state, as version 0.1.0 did."""
    link = f"/{ETC}/multi-user.target.wants/{UNIT}"
    leave_old_state(machine)
    state = json.loads(machine.read(f"{STATE}/integration.json"))
    state["units"][0] |= {"change": "stopped", "links": [[link, f"/{LIB}/{UNIT}"]]}
    machine.write(f"{STATE}/integration.json", json.dumps(state))
    machine.remove(DROP_IN)
    machine.remove(link)
    (machine.root / ETC / f"{UNIT}.d").rmdir()
    machine.systemctl("daemon-reload")
    machine.systemctl("stop", UNIT)


def test_units_that_version_0_1_0_has_stopped_come_back(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    leave_old_state_of_a_stopped_unit(exporter)
    assert apply(exporter, Choice.STOP)
    assert exporter.exists(f"{STATE}/stopped/{UNIT}")
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())


@pytest.mark.parametrize("first", ["apply", "restore"])
def test_the_state_of_version_0_1_0_outlives_a_disk_that_takes_nothing(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    before = exporter.files(), exporter.states()
    leave_old_state_of_a_stopped_unit(exporter)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        patched.setattr(Path, "symlink_to", full)
        if first == "restore":
            assert not undo(exporter)
        else:
            with pytest.raises(OSError, match="No space left"):
                apply(exporter, Choice.STOP)
    assert exporter.exists(f"{STATE}/integration.json")
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())


# --- other choices -----------------------------------------------------------------------


def test_left_exporters_are_named(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    assert apply(exporter, Choice.LEAVE)
    assert before == (exporter.files(), exporter.states())
    assert f"{UNIT} keeps its embedded DCGM: it is left alone, as configured" == told(exporter)


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


def test_links_to_a_unit_that_was_removed_stay_removed(exporter: Machine) -> None:
    apply(exporter, Choice.STOP)
    exporter.remove(f"{LIB}/{UNIT}")
    exporter.systemctl("daemon-reload")
    assert undo(exporter)
    assert not exporter.exists(f"{ETC}/multi-user.target.wants/{UNIT}")
    assert not exporter.exists(f"{STATE}/stopped/{UNIT}")


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
