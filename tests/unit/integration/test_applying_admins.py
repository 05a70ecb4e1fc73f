"""apply and restore beside what admins decide, before, meanwhile and afterwards."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.integration.conftest import ETC, LIB, UNIT, Machine
from tests.unit.integration.runs import (
    CLIENT,
    DROP_IN,
    STATE,
    apply,
    restarts,
    told,
    undo,
)

from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.configuration import Choice

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
