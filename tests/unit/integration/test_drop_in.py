"""The drop-in: its text, and whose the one on the disk is."""

from __future__ import annotations

import pytest
from do_dcgm_exporter.integration.changing.drop_in import Owner, WrittenFile
from do_dcgm_exporter.integration.changing.state import (
    Change,
    ContainerRecord,
    SnapRecord,
    State,
    UnitRecord,
)
from tests.unit.integration.conftest import ETC, Machine
from tests.unit.integration.test_problems import view

from do_dcgm_exporter.integration.changing import drop_in, state
from do_dcgm_exporter.integration.changing.policy import may_restart
from do_dcgm_exporter.integration.deciding.exporter_command import ExporterCommand, Form
from do_dcgm_exporter.integration.looking.systemd import ExecCommand

UNIT = "a.service"
PATH = f"{ETC}/{UNIT}.d/zz-do-dcgm-exporter.conf"
ENGINE = "localhost:5555"


def settings_of(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_a_program_is_told_by_its_environment() -> None:
    text = drop_in.text_for(view(UNIT), ExporterCommand(Form.DIRECT, None), ENGINE)
    assert [
        "[Unit]",
        "After=nvidia-dcgm.service",
        "StartLimitIntervalSec=0",
        "[Service]",
        "Restart=always",
        "RestartSec=5",
        "Environment=DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555",
    ] == settings_of(text)
    assert f"ln -sf /dev/null /{PATH}" in text


def test_a_oneshot_must_not_always_be_restarted() -> None:
    text = drop_in.text_for(view(UNIT, type="oneshot"), ExporterCommand(Form.SCRIPT, None), ENGINE)
    assert "Restart=on-failure" in settings_of(text)


def test_an_ipv6_engine_keeps_its_brackets() -> None:
    text = drop_in.text_for(view(UNIT), ExporterCommand(Form.DIRECT, None), "[::1]:5555")
    assert 'Environment="DCGM_REMOTE_HOSTENGINE_INFO=[::1]:5555"' in settings_of(text)


def test_only_the_containers_command_gets_the_flag() -> None:
    docker = "/usr/bin/docker"
    commands = (
        ExecCommand("/bin/sh", ("sh", "-c", "echo 50% of $HOME"), ("ignore-failure",)),
        ExecCommand(docker, (docker, "run", "-e", "A=%i ${B}", "image"), ("privileged",)),
    )
    found = ExporterCommand(Form.CONTAINER, None, position=1)
    text = drop_in.text_for(view(UNIT, commands=commands), found, ENGINE)
    assert [
        "ExecStart=",
        'ExecStart=-@/bin/sh sh -c "echo 50%% of $HOME"',
        'ExecStart=+/usr/bin/docker run -e "A=%%i ${B}" image -r localhost:5555',
    ] == settings_of(text)[-3:]


def test_whose_it_is(machine: Machine) -> None:
    host = machine.host
    written = drop_in.announce(host, UNIT, "ours\n")
    assert WrittenFile(f"/{PATH}", drop_in.sha256("ours\n"), made_directory=True) == written
    assert Owner.NOBODY is drop_in.owner(host, UNIT, written)
    drop_in.write(host, written, "ours\n")
    assert Owner.OURS is drop_in.owner(host, UNIT, written)
    assert Owner.ADMIN is drop_in.owner(host, UNIT, None)
    machine.write(PATH, "ours\n# mine\n")
    assert Owner.ADMIN is drop_in.owner(host, UNIT, written)
    assert not drop_in.remove(host, written)
    machine.remove(PATH)
    machine.link(PATH, "/dev/null")
    assert Owner.FORBIDDEN is drop_in.owner(host, UNIT, written)
    assert not drop_in.remove(host, written)
    machine.remove(PATH)
    machine.link(PATH, "/etc/passwd")
    assert Owner.ADMIN is drop_in.owner(host, UNIT, written)


def test_it_can_be_known_again_without_a_record() -> None:
    text = drop_in.text_for(view(UNIT), ExporterCommand(Form.DIRECT, None), ENGINE)
    assert drop_in.is_as_written(UNIT, text)
    assert not drop_in.is_as_written("b.service", text)
    for edited in (text + "\n", text.replace("5555", "5556"), text.replace("# Made", "# made"), ""):
        assert not drop_in.is_as_written(UNIT, edited)


def test_a_directory_with_somebody_elses_file_stays(machine: Machine) -> None:
    written = drop_in.announce(machine.host, UNIT, "ours\n")
    drop_in.write(machine.host, written, "ours\n")
    machine.write(f"{ETC}/{UNIT}.d/mine.conf", "")
    assert drop_in.remove(machine.host, written)
    assert [f"{ETC}/{UNIT}.d/mine.conf"] == [
        path for path in machine.files() if path.endswith(".conf")
    ]


def test_what_an_interrupted_write_has_left_is_removed(machine: Machine) -> None:
    written = drop_in.announce(machine.host, UNIT, "ours\n")
    machine.write(f"{ETC}/{UNIT}.d/.zz-do-dcgm-exporter.conf.new", "our")
    assert drop_in.remove(machine.host, written)
    assert not machine.exists(f"{ETC}/{UNIT}.d")


# --- records -----------------------------------------------------------------------------


def test_records_are_read_back(machine: Machine) -> None:
    unit = UnitRecord(
        UNIT, Change.STOPPED, was_active=True, file_state="enabled",
        drop_in=WrittenFile("/x", "0", made_directory=True), links=(("/a", "b"),), source="s",
        engine=ENGINE, reason="r", settled=True,
    )  # fmt: skip
    container = ContainerRecord("docker", "gpu", "a1", "gpu.old", "always", was_running=True)
    known = State({UNIT: unit}, {"docker:gpu": container}, SnapRecord("5577", ("a", "b"), ("a",)))
    state.save(machine.host, known)
    assert known == state.load(machine.host)
    state.save(machine.host, State())
    assert not machine.exists(state.STATE_FILE.as_posix())
    assert State() == state.load(machine.host)


# --- policy-rc.d -------------------------------------------------------------------------


@pytest.mark.parametrize(("status", "allowed"), [(0, True), (101, False), (104, True)])
def test_policy_counts_for_maintainer_scripts(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, status: int, allowed: bool
) -> None:
    machine.write("usr/sbin/policy-rc.d", f"#!/bin/sh\nexit {status}\n", 0o755)
    assert may_restart(machine.host, UNIT)
    monkeypatch.setenv("DPKG_MAINTSCRIPT_PACKAGE", "do-dcgm-exporter")
    assert allowed is may_restart(machine.host, UNIT)
    machine.remove("usr/sbin/policy-rc.d")
    assert may_restart(machine.host, UNIT)
