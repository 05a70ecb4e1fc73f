"""The whole command: a machine in a directory, a simulated engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.builders import Bench
from tests.unit.integration.conftest import ENGINE, ETC, LIB, UNIT, Machine

import dcgm_simulator
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.changing.running import Means, alone
from do_dcgm_exporter.integration.cli import main
from do_dcgm_exporter.integration.looking import survey

StartBench = Callable[..., Bench]
ELSEWHERE = EngineAnswer(Condition.ANSWERS, client="3.3.9", engine="3.3.9", gpus=4)
STATE = "var/lib/do-dcgm-exporter/integration.json"
# podman is asked only where it has been used.
STORAGE = "var/lib/containers/storage/overlay"
CONF = "etc/do-dcgm-exporter/do-dcgm-exporter.conf"


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
    return said(machine, capsys, "--wait")  # a slow machine is no hanging one


def said(
    machine: Machine, capsys: pytest.CaptureFixture[str], *options: str
) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    status = run(machine, "check", "--json", *options)
    return status, json.loads(capsys.readouterr().out)


def identities(data: dict[str, Any]) -> list[str]:
    return [problem["id"] for problem in data["problems"]]


def test_a_clean_machine(with_engine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    files = with_engine.files()
    status, data = checked(with_engine, capsys)
    assert (0, [], []) == (status, data["problems"], data["unseen"])
    assert ("answers", "4.5.3", 8) == tuple(
        data["engine"][key] for key in ("condition", "engine", "gpus")
    )
    assert files == with_engine.files()
    assert 0 == run(with_engine, "check", "--wait")
    assert "no problems" in capsys.readouterr().out


def test_an_exporter_before_and_after(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    status, data = checked(with_engine, capsys)
    assert (1, ["embedded-dcgm"]) == (status, identities(data))
    assert [UNIT] == [process["of"] for process in data["embedded_processes"]]
    assert "rewrite" == data["exporters"][0]["goal"]

    assert 0 == run(with_engine, "apply")
    status, data = checked(with_engine, capsys)
    assert (0, [], []) == (status, data["problems"], data["embedded_processes"])
    assert data["exporters"][0]["drop_in"]["proven"]
    assert 0 == run(with_engine, "check", "--wait")
    assert ", by our drop-in\n" in capsys.readouterr().out

    assert 0 == run(with_engine, "restore")
    status, data = checked(with_engine, capsys)
    assert (1, ["embedded-dcgm"]) == (status, identities(data))
    assert data["exporters"][0]["drop_in"] is None


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
    assert ("3.3.9", "4.5.3") == (data["engine"]["engine"], data["local_engine"]["engine"])


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
    assert 200 == data["health"]["status"], "it was asked on another port"


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
    assert 1 == run(with_engine, "check", "--wait")
    said = capsys.readouterr().out
    assert "embedded DCGM, you forbid it by /etc/systemd" in said
    assert "client of" not in said
    status, data = checked(with_engine, capsys)
    assert (1, ["embedded-dcgm"]) == (status, identities(data))
    assert data["exporters"][0]["embedded"]


def test_apply_counts_afterwards(with_engine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    report = "run/do-dcgm-exporter-integration/embedded-dcgm.json"
    assert 0 == run(with_engine, "apply", "--choice", "leave")
    assert [UNIT] == [one["of"] for one in json.loads(with_engine.read(report))["processes"]]
    assert 0 == run(with_engine, "apply")
    assert [] == json.loads(with_engine.read(report))["processes"]


def test_for_dpkg_drop_ins_are_written_and_nothing_is_restarted(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    assert 0 == run(with_engine, "apply", "--no-restart")
    service = "do-dcgm-exporter-integrate.service"
    assert f"{UNIT}: restarted in the background by {service}\n" == capsys.readouterr().out
    with alone(Means(with_engine.host, with_engine.tell)):
        assert 0 == run(with_engine, "apply", "--no-restart")
    assert "another run is in progress" in capsys.readouterr().out
    assert "embedded" == with_engine.engine_of(UNIT)
    status, data = checked(with_engine, capsys)
    assert (1, ["unproven"]) == (status, identities(data))
    assert 0 == run(with_engine, "apply")
    assert (0, []) == (checked(with_engine, capsys)[0], checked(with_engine, capsys)[1]["problems"])


def test_a_choice_on_the_command_line(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    assert 0 == run(with_engine, "apply", "--choice", "leave")
    said = capsys.readouterr()
    assert "it is left alone, as configured" in said.err
    assert "until the next boot" in said.out
    assert 0 == run(with_engine, "apply", "--choice", "stop")
    assert "inactive" == with_engine.run_of(UNIT)["active"]


def test_an_exporter_that_is_left_is_no_success(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    with_engine.write(
        "usr/bin/dcgm-exporter", "\x7fELF\0 libdcgm.so.3 \0DCGM_REMOTE_HOSTENGINE_INFO\0", 0o755
    )
    with_engine.put_unit(UNIT, with_engine.ports[0])
    assert 1 == run(with_engine, "apply")
    assert "it uses DCGM 3, the engine is DCGM 4.5.3" in capsys.readouterr().err


def put_container(machine: Machine) -> None:
    """Put a client into a container that docker or podman may know."""
    (machine.root / STORAGE).mkdir(parents=True)
    machine.write("run/docker.pid", "42")
    machine.put_process(
        20, comm="dcgm-exporter\n", cmdline="dcgm-exporter\0-r\0localhost\0",
        maps="7f00 r-xp 0 0 0 /usr/lib/libdcgm.so.4\n", cgroup=f"0::/docker/{'a1' * 32}\n",
    )  # fmt: skip


def test_everything_may_hang(
    with_engine: Machine, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    put_container(with_engine)
    sleeps = "#!/bin/sh\nsleep 3600\n"
    for program in ("busctl", "systemctl", "docker", "podman", "dpkg-query"):
        with_engine.program(program, sleeps)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        listens(with_engine, port, 7)
        configure(with_engine, f"localhost:{port}")
        status, data = said(with_engine, capsys)
    assert 1 == status
    assert ["no-driver", "engine-hung"] == identities(data)
    unseen = " ".join(data["unseen"])
    for name in ("services", "docker", "podman", "packages", "own service"):
        assert name in unseen, name
    # It ended, so nothing is waited for that is not limited; and five seconds are promised.
    assert (survey._FIRST_LOOK + survey._LOOKS) * survey.PATIENCE < 5.0


def test_a_look_may_be_given_more_time(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    """A command that takes longer than the default allows is waited for, if one asks for that."""
    slow = "#!/bin/sh\nsleep 4\nprintf 'ii \\tdatacenter-gpu-manager-4-core\\t1:4.5.3-1\\n'\n"
    with_engine.program("dpkg-query", slow)
    too_late = "packages: no answer in time; --wait waits longer"
    assert too_late in said(with_engine, capsys)[1]["unseen"]
    assert checked(with_engine, capsys)[1]["unseen"] == []


def test_what_could_not_be_looked_at_is_told(
    with_engine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    put_container(with_engine)
    with_engine.program("podman", "#!/bin/sh\necho 'cannot clone: Permission denied' >&2; exit 1\n")
    status, data = checked(with_engine, capsys)
    assert (2, []) == (status, data["problems"])
    assert ["podman: podman ps --quiet: cannot clone: Permission denied"] == data["unseen"]


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
    assert 2 == run(with_engine, "apply")
    assert "embedded-exporters" in capsys.readouterr().err
    status, data = checked(with_engine, capsys)
    assert 1 == status
    assert "configuration" == identities(data)[0]
    assert 0 == run(with_engine, "restore")
    assert not with_engine.exists(f"{ETC}/{UNIT}.d")


@pytest.mark.parametrize("text", ["no JSON", '{"format": 99}', '{"format": 1, "units": 5}', "[]"])
def test_an_old_state_that_cannot_be_read_is_told_and_stays(
    with_engine: Machine, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    with_engine.write(STATE, text)
    for command in ("apply", "restore"):
        assert 1 == run(with_engine, command)
        (sentence,) = capsys.readouterr().err.splitlines()
        assert "integration.json cannot be understood (" in sentence
        assert text == with_engine.read(STATE)
    assert not with_engine.exists(f"{ETC}/{UNIT}.d")
    status, data = checked(with_engine, capsys)
    assert (1, ["embedded-dcgm", "record"]) == (status, identities(data))


# The command for a machine in a directory, as a process of its own.
PROGRAM = """
import sys
from pathlib import Path
from do_dcgm_exporter.integration.cli import main
from do_dcgm_exporter.integration.host import Host
sys.exit(main(sys.argv[2:], Host(Path(sys.argv[1]))))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_a_sentence_and_another_takes_it_up(
    with_engine: Machine, number: signal.Signals
) -> None:
    with_engine.put_unit(UNIT, with_engine.ports[0])
    with_engine.systemctl("start", UNIT)
    with_engine.write("stand-in/hangs", "restart")
    command = [sys.executable, "-c", PROGRAM, str(with_engine.root), "apply"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not any(words[1:2] == ["restart"] for words in with_engine.asked()):
            time.sleep(0.05)
        process.send_signal(number)
        _, said = process.communicate()
    assert 130 == process.returncode
    (sentence,) = said.splitlines()
    assert "interrupted; 'do-dcgm-exporter-integrate apply' continues" in sentence
    assert "embedded" == with_engine.engine_of(UNIT)
    with alone(Means(with_engine.host, with_engine.tell), waits=False) as is_alone:
        assert is_alone, "the lock is held by somebody"
    with_engine.remove("stand-in/hangs")
    assert 0 == run(with_engine, "apply")
    assert "embedded" != with_engine.engine_of(UNIT)


@pytest.mark.parametrize(
    "arguments", [[], ["undo"], ["status"], ["check", "--all"], ["apply", "--choice", "x"]]
)
def test_a_wrong_command_line_is_refused(machine: Machine, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as end:
        run(machine, *arguments)
    assert 2 == end.value.code
