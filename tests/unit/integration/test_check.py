"""The whole of check, status and refresh: a machine in a directory, a simulated engine."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.builders import Bench
from tests.unit.integration.conftest import ENGINE, ETC, LIB, UNIT, Machine

import dcgm_simulator
from do_dcgm_exporter.integration.cli import main
from do_dcgm_exporter.integration.looking import survey
from do_dcgm_exporter.integration.looking.engine_probe import Condition, EngineAnswer
from do_dcgm_exporter.settings import EngineAddress

StartBench = Callable[..., Bench]
ELSEWHERE = EngineAnswer(Condition.ANSWERS, client="3.3.9", engine="3.3.9", gpus=4)
STATE = "var/lib/do-dcgm-exporter/integration.json"
CONF = "etc/do-dcgm-exporter/do-dcgm-exporter.conf"
# As they are; with_engine sets others.
FIRST_LOOK, LOOK = survey._LONGEST_FIRST_LOOK, survey._LONGEST_LOOK


def listens(machine: Machine, port: int, inode: int) -> None:
    line = f" 0: 0100007F:{port:04X} 00000000:0000 0A 0 0 0 0 0 {inode}\n"
    machine.write("proc/net/tcp", machine.read("proc/net/tcp") + line)


@pytest.fixture
def with_engine(machine: Machine, bench: StartBench, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine whose engine answers, and whose exporter serves."""
    started = bench("h100x8", "4.5.3")
    monkeypatch.setenv("DCGM_SIMULATOR_VERSION", "4.5.3")
    monkeypatch.setenv("STAND_IN_ENGINE_PORT", started.engine.address.rpartition(":")[2])
    configure(machine, started.engine.address)
    listens(machine, int(started.engine.address.rpartition(":")[2]), 7)
    machine.program(
        "dpkg-query", "#!/bin/sh\nprintf 'ii \\tdatacenter-gpu-manager-4-core\\t1:4.5.3-1\\n'\n"
    )
    # A slow machine is no hanging one.
    monkeypatch.setattr(survey, "_LONGEST_FIRST_LOOK", 60.0)
    monkeypatch.setattr(survey, "_LONGEST_LOOK", 60.0)
    return machine


def configure(machine: Machine, engine: str, **more: object) -> None:
    settings = {
        "remote-hostengine-info": engine,
        "dcgm-bindings": dcgm_simulator.bindings_directory(),
        "address": f"127.0.0.1:{machine.ports[2]}",
        "forward": "false",
        **{key.replace("_", "-"): value for key, value in more.items()},
    }
    machine.write(CONF, "".join(f"{key} = {value}\n" for key, value in settings.items()))


def run(machine: Machine, *arguments: str) -> int:
    return main(arguments, machine.host)


def checked(machine: Machine, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = run(machine, "check", "--json")
    return status, json.loads(capsys.readouterr().out)


def identities(data: dict[str, Any]) -> list[str]:
    return [problem["id"] for problem in data["problems"]]


def test_a_clean_machine(with_engine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    files = with_engine.files()
    status, data = checked(with_engine, capsys)
    assert (0, [], []) == (status, data["problems"], data["unseen"])
    assert ("answers", "4.5.3", True, 8) == tuple(
        data["engine"][key] for key in ("condition", "version", "fits", "gpus")
    )
    assert files == with_engine.files()
    assert 0 == run(with_engine, "check")
    assert "no problems" in capsys.readouterr().out


def test_an_exporter_before_and_after(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    status, data = checked(with_engine, capsys)
    assert (1, ["embedded-dcgm"]) == (status, identities(data))
    assert [UNIT] == [process["of"] for process in data["embedded_processes"]]
    assert "rewrite" == data["exporters"][0]["would"]

    assert 0 == run(with_engine, "apply", "--dry-run")
    assert "would be made a client" in capsys.readouterr().out
    assert not with_engine.exists(f"{ETC}/{UNIT}.d")
    assert 0 == run(with_engine, "apply")
    status, data = checked(with_engine, capsys)
    assert (0, [], []) == (status, data["problems"], data["embedded_processes"])
    assert "rewritten" == data["exporters"][0]["changed"]

    assert 0 == run(with_engine, "status")
    assert f"{UNIT}: is a client of " in capsys.readouterr().out
    assert 0 == run(with_engine, "status", "--json")
    assert UNIT == json.loads(capsys.readouterr().out)["units"][0]["unit"]
    assert 0 == run(with_engine, "restore")
    capsys.readouterr()
    assert 0 == run(with_engine, "status")
    assert "nothing is changed\n" == capsys.readouterr().out


def test_exporters_are_judged_by_the_engine_of_this_machine(
    with_engine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ours asks an engine of another host, which speaks another DCGM than the one here.
    here: list[str] = []

    def ask(address: EngineAddress, *_: object) -> EngineAnswer:
        here.append(str(address))
        return ELSEWHERE if address.host == "gpu7" else ENGINE

    monkeypatch.setattr(survey, "ask_engine", ask)
    configure(with_engine, "gpu7:5555")
    listens(with_engine, 5555, 7)
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    status, data = checked(with_engine, capsys)
    assert {"gpu7:5555", "localhost:5555"} == set(here)
    assert (1, ["embedded-dcgm"]) == (status, identities(data))
    assert ["do-dcgm-exporter-integrate apply"] == data["problems"][0]["remedy"]
    assert ("3.3.9", "4.5.3") == (data["engine"]["version"], data["local_engine"]["version"])


@pytest.mark.parametrize(
    "lines",
    [
        "Environment=DO_DCGM_EXPORTER_ADDRESS=127.0.0.1:{port}",
        "EnvironmentFile=/etc/default/ours",
        "ExecStart=\nExecStart=/usr/bin/nice /usr/bin/do-dcgm-exporter --address 127.0.0.1:{port}",
        "Environment=P={port}\nExecStart=\nExecStart=/bin/do-dcgm-exporter --address :${{P}}",
    ],
)
def test_drop_ins_of_our_own_service_count(
    with_engine: Machine,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    lines: str,
) -> None:
    unit, port = "do-dcgm-exporter.service", with_engine.ports[1]
    configure(with_engine, f"localhost:{os.environ['STAND_IN_ENGINE_PORT']}", address="127.0.0.1:9")
    with_engine.write("etc/default/ours", f"DO_DCGM_EXPORTER_ADDRESS=127.0.0.1:{port}\n")
    with_engine.write(f"{LIB}/{unit}", "[Service]\nExecStart=/usr/bin/do-dcgm-exporter\n")
    with_engine.write(f"{ETC}/{unit}.d/mine.conf", f"[Service]\n{lines.format(port=port)}\n")
    with_engine.systemctl("start", unit)
    # Who looks has other variables than the service.
    monkeypatch.setenv("DO_DCGM_EXPORTER_ADDRESS", "127.0.0.1:10")
    status, data = checked(with_engine, capsys)
    assert (0, []) == (status, data["problems"])
    assert (port, 200) == (data["address"]["port"], data["health"]["status"])


@pytest.mark.parametrize("option", ["--adress :1", "--address nowhere:x"])
def test_a_wrong_option_in_a_drop_in_is_a_problem(
    with_engine: Machine, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    command = f"[Service]\nExecStart=/usr/bin/do-dcgm-exporter {option}\n"
    with_engine.write(f"{LIB}/do-dcgm-exporter.service", command)
    status, data = checked(with_engine, capsys)
    assert 1 == status
    assert "configuration" == identities(data)[0]
    assert "do-dcgm-exporter.service: " in data["problems"][0]["what"]
    assert option.split(maxsplit=1)[0] in data["problems"][0]["what"]
    assert ["systemctl cat do-dcgm-exporter.service"] == data["problems"][0]["remedy"]


def test_a_forbidden_drop_in_is_the_admins_wish(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.link(f"{ETC}/{UNIT}.d/zz-do-dcgm-exporter.conf", "/dev/null")
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    assert 1 == run(with_engine, "check")
    said = capsys.readouterr().out
    assert "a DCGM of its own, you forbid it by /etc/systemd" in said
    assert "client of" not in said
    status, data = checked(with_engine, capsys)
    assert (1, ["embedded-dcgm"]) == (status, identities(data))
    assert data["exporters"][0]["embedded"]


def test_refresh_counts_and_may_apply(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    report = "run/do-dcgm-exporter-integration/embedded-dcgm.json"
    assert 0 == run(with_engine, "refresh")
    assert 1 == len(json.loads(with_engine.read(report))["processes"])
    assert 0 == run(with_engine, "refresh", "--apply")
    assert 0 == len(json.loads(with_engine.read(report))["processes"])


def test_a_choice_on_the_command_line(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    assert 0 == run(with_engine, "apply", "--choice", "leave")
    said = capsys.readouterr()
    assert "--choice is leave" in said.err
    assert "until the next boot" in said.out
    assert 0 == run(with_engine, "apply", "--choice", "stop")
    assert "inactive" == with_engine.run_of(UNIT)["active"]


def test_an_exporter_that_is_left_is_no_success(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.write("usr/bin/dcgm-exporter", "\x7fELF\0 libdcgm.so.3 \0", 0o755)
    with_engine.put_unit(UNIT, with_engine.ports[0])
    assert 1 == run(with_engine, "apply")
    assert "it speaks DCGM 3, the engine is DCGM 4.5.3" in capsys.readouterr().err


def test_everything_may_hang(
    with_engine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "_LONGEST_FIRST_LOOK", FIRST_LOOK)
    monkeypatch.setattr(survey, "_LONGEST_LOOK", LOOK)
    with_engine.put_unit(UNIT, with_engine.ports[0])
    sleeps = "#!/bin/sh\nsleep 3600\n"
    for program in ("busctl", "systemctl", "docker", "podman", "snap", "dpkg-query"):
        with_engine.program(program, sleeps)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        listens(with_engine, port, 7)
        configure(
            with_engine, f"localhost:{port}",
            forward="true", forward_url=f"http://127.0.0.1:{port}/v1/gpu_metrics",
        )  # fmt: skip
        status, data = checked(with_engine, capsys)
    assert 1 == status
    assert ["no-driver", "engine-hung", "endpoint-unreachable"] == identities(data)
    assert "no answer within 2 s" in data["endpoint"]["reason"]
    unseen = " ".join(data["unseen"])
    for name in ("services", "docker", "podman", "snap", "packages", "own service"):
        assert name in unseen, name
    # It ended, so nothing is waited for that is not limited; and five seconds are promised.
    assert FIRST_LOOK + LOOK < 5.0


def test_what_could_not_be_looked_at_is_told(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.program("podman", "#!/bin/sh\necho 'cannot clone: Permission denied' >&2; exit 1\n")
    status, data = checked(with_engine, capsys)
    assert (2, []) == (status, data["problems"])
    assert ["podman: podman ps --all: cannot clone: Permission denied"] == data["unseen"]


def test_without_systemd_nothing_is_changed(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    (with_engine.root / "run/systemd/system").rmdir()
    assert 0 == run(with_engine, "apply")
    assert "systemd does not run here" in capsys.readouterr().out
    assert not with_engine.exists(f"{ETC}/{UNIT}.d")
    status, data = checked(with_engine, capsys)
    assert 2 == status
    assert ["services: systemd does not run here"] == data["unseen"]


def test_in_a_chroot_files_are_restored(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    assert 0 == run(with_engine, "apply")
    (with_engine.root / "run/systemd/system").rmdir()
    with_engine.forget_asked()
    assert 0 == run(with_engine, "restore")
    assert not with_engine.exists(f"{ETC}/{UNIT}.d")
    assert [] == with_engine.asked()


def test_a_wrong_configuration_is_a_problem_and_no_reason_not_to_restore(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    assert 0 == run(with_engine, "apply")
    with_engine.write(CONF, "embedded-exporters = mine\n")
    for command in ("apply", "refresh"):
        assert 2 == run(with_engine, command)
        assert "embedded-exporters" in capsys.readouterr().err
    status, data = checked(with_engine, capsys)
    assert 1 == status
    assert "configuration" == identities(data)[0]
    assert 0 == run(with_engine, "restore")
    assert not with_engine.exists(f"{ETC}/{UNIT}.d")


@pytest.mark.parametrize("text", ["no JSON", '{"format": 99}', '{"format": 1}', "[]"])
def test_a_state_that_cannot_be_read_is_not_overwritten(
    with_engine: Machine, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with_engine.write(STATE, text)
    for command in (["apply"], ["apply", "--dry-run"], ["status"], ["status", "--json"]):
        assert 2 == run(with_engine, *command)
        (sentence,) = capsys.readouterr().err.splitlines()
        assert "integration.json is not as it was written (" in sentence
        assert "'do-dcgm-exporter-integrate restore' undoes what is known" in sentence
    assert 2 == run(with_engine, "refresh", "--apply")
    assert with_engine.exists("run/do-dcgm-exporter-integration/embedded-dcgm.json")
    capsys.readouterr()
    assert text == with_engine.read(STATE)
    status, data = checked(with_engine, capsys)
    assert 2 == status
    assert "integration.json" in data["unseen"][0]


@pytest.mark.parametrize("systemd", ["with systemd", "in a chroot"])
def test_without_a_readable_state_what_is_known_is_undone_and_the_rest_named(
    with_engine: Machine, capsys: pytest.CaptureFixture[str], systemd: str
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    assert 0 == run(with_engine, "apply")
    with_engine.write(STATE, "no JSON")
    if systemd == "in a chroot":
        (with_engine.root / "run/systemd/system").rmdir()
    for _ in range(2):
        capsys.readouterr()
        assert 1 == run(with_engine, "restore")
        assert f"{STATE}.unreadable has the state" in capsys.readouterr().err
        assert not with_engine.exists(f"{ETC}/{UNIT}.d")
    if systemd == "with systemd":
        assert "embedded" == with_engine.engine_of(UNIT)
    assert "no JSON" == with_engine.read(f"{STATE}.unreadable")
    with_engine.remove(f"{STATE}.unreadable")
    assert 0 == run(with_engine, "restore")


def test_the_state_is_roots_alone(with_engine: Machine) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    run(with_engine, "apply")
    path = Path(with_engine.root, STATE)
    assert 0o600 == path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    "arguments", [[], ["undo"], ["check", "--all"], ["apply", "--choice", "x"]]
)
def test_a_wrong_command_line_is_refused(machine: Machine, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(machine, *arguments)
    assert 2 == end.value.code
