"""The simulated engine as a process: it starts, tells, survives, and ends when it should."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.waiting import wait_until

from dcgm_simulator import SCENARIOS
from dcgm_simulator.cli import main
from dcgm_simulator.process import ControlFailed, EngineFailed, SimulatedEngine
from dcgm_simulator.testing import load_bindings

SOURCES = Path(__file__).resolve().parents[3] / "src"


@pytest.fixture(scope="module")
def engine() -> Iterator[SimulatedEngine]:
    """One engine for all cases that leave it alive."""
    with SimulatedEngine.start("h100x1") as started:
        yield started


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def connect(engine: SimulatedEngine) -> socket.socket:
    host, _, port = engine.address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=5)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_starts_and_stops(scenario: str) -> None:
    with SimulatedEngine.start(scenario) as engine:
        assert engine.control("status")["scenario"] == scenario
    assert not is_running(engine.pid)


def test_first_line_says_what_it_is_and_where() -> None:
    command = [sys.executable, "-m", "dcgm_simulator", "--port", "0", "--scenario", "hgx"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
    assert line.startswith(
        "dcgm-simulator: SIMULATED engine, scenario hgx, DCGM 4.6.0, listening on 127.0.0.1:"
    )
    assert (rest, process.returncode) == ("", 0)


def test_taken_port_is_one_sentence_and_status_1(engine: SimulatedEngine) -> None:
    command = [sys.executable, "-m", "dcgm_simulator", "--port", str(engine.port)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert f"cannot listen on 127.0.0.1:{engine.port}" in result.stderr
    assert result.stderr.count("\n") == 1


def test_engine_that_cannot_start_says_why(engine: SimulatedEngine) -> None:
    with pytest.raises(EngineFailed, match="cannot listen"):
        SimulatedEngine.start(port=engine.port)


@pytest.mark.parametrize(
    "garbage",
    [b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 5000, b"\0" * 12, b"\x02\0\0\0\0\0\0\0\x01\0\0\0{}"],
    ids=["http", "ones", "zeroes", "greeting-without-magic"],
)
def test_garbage_ends_its_own_connection_only(engine: SimulatedEngine, garbage: bytes) -> None:
    with connect(engine) as client:
        client.sendall(garbage)
        client.settimeout(5)
        try:
            while client.recv(4096):
                pass
        except ConnectionResetError:
            pass
    wait_until(lambda: engine.control("status")["connections"] == [], "no connection is left")


def test_client_that_sends_half_a_frame_holds_nobody_up(engine: SimulatedEngine) -> None:
    with connect(engine) as client:
        client.sendall(b"\x20\0\0\0\0")
        bindings = load_bindings()
        parameters = bindings.structs.c_dcgmConnectV2Params_v2()
        handle = bindings.agent.dcgmConnect_v2(engine.address, parameters)
        assert bindings.agent.dcgmGetAllDevices(handle) == [0]
        bindings.agent.dcgmDisconnect(handle)


def test_engine_ends_when_its_parent_is_killed() -> None:
    script = (
        "import time; from dcgm_simulator.process import SimulatedEngine;"
        "engine = SimulatedEngine.start('h100x1'); print(engine.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert is_running(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until(lambda: not is_running(pid), "the engine ends")


def test_refused_connections_are_accepted_again(engine: SimulatedEngine) -> None:
    engine.control("refuse")
    with pytest.raises(ConnectionRefusedError):
        connect(engine)
    engine.control("resume")
    connect(engine).close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["set", "--entity", "gpu:9", "150", "1"], "no entity gpu:9"),
        (["set", "--entity", "gpx:0", "150", "1"], "is not an entity"),
        (["set", "--entity", "gpu:0", "NO_SUCH_FIELD", "1"], "has no field NO_SUCH_FIELD"),
        (["set", "--entity", "gpu:0", "150", "warm"], "'warm' is not a value for field 150"),
        (["set", "--entity", "gpu:0", "230", "blank"], "'blank' is not an integer"),
        (["set", "--entity", "gpu:0", "150", "status:lost"], "'lost' is not an integer"),
        (["mig", "--gpu", "0", "5g.50gb"], "unknown MIG profile 5g.50gb"),
        (["mig", "--gpu", "0", "4g.40gb,4g.40gb"], "more than the 7 slices"),
        (["lose-gpu", "7"], "no entity gpu:7"),
        (["nvlink", "--gpu", "0", "--link", "99", "down"], "GPU 0 has no NvLink 99"),
    ],
)
def test_command_that_makes_no_sense_says_why(
    engine: SimulatedEngine, arguments: list[str], message: str
) -> None:
    with pytest.raises(ControlFailed, match=message):
        engine.control(*arguments)


def test_command_without_an_engine_is_one_sentence_and_status_1(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["control", "--address", "127.0.0.1:1", "status"]) == 1
    assert "no simulated engine answers at 127.0.0.1:1" in capsys.readouterr().err


def test_bindings_need_only_their_directory_on_the_path(engine: SimulatedEngine) -> None:
    script = (
        f"import sys; sys.path.append({str(SOURCES / 'dcgm_simulator' / 'bindings')!r});"
        "import pydcgm, dcgm_structs as S, dcgm_agent as A; S._dcgmInit(); A.dcgmInit();"
        f"h = A.dcgmConnect_v2({engine.address!r}, S.c_dcgmConnectV2Params_v2());"
        "print(A.dcgmGetAllDevices(h))"
    )
    # -S: without what is installed here, the simulator itself included.
    result = subprocess.run(
        [sys.executable, "-I", "-S", "-c", script], capture_output=True, text=True, check=False
    )
    assert (result.stdout, result.stderr) == ("[0]\n", "")
