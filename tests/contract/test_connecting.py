"""Connections: how they are made, refused, lost and left."""

from __future__ import annotations

import ctypes
import socket
import threading
import time
from typing import Any

import pytest

INVALID, TIMEOUT, BADPARAM, NOT_FOUND, MISMATCH = -21, -11, -1, -20, -12


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_engine_tells_its_version(target: Any, handle: Any) -> None:
    info = target.structs.c_dcgmVersionInfo_v2()
    info.version = target.structs.dcgmVersionInfo_version2
    ask = target.structs._dcgmGetFunctionPointer("dcgmHostengineVersionInfo")
    assert ask(handle, ctypes.byref(info)) == 0
    assert "version:" + ".".join(map(str, target.version)) in info.rawBuildInfoString


def test_closed_port_is_retried_until_the_timeout_then_invalid(target: Any) -> None:
    start = time.monotonic()
    with target.failing(INVALID):
        target.connect(f"127.0.0.1:{free_port()}", timeout_ms=300)
    assert time.monotonic() - start >= 0.2


def test_port_that_is_no_number_is_a_bad_parameter(target: Any) -> None:
    with target.failing(BADPARAM):
        target.connect("127.0.0.1:port")


def test_bracketed_ipv6_is_accepted_from_4_on(target: Any) -> None:
    expected = BADPARAM if target.version < (4,) else INVALID
    with target.failing(expected):
        target.connect(f"[::1]:{free_port()}", timeout_ms=100)


def test_call_on_a_handle_nobody_gave_out_is_invalid(target: Any, handle: Any) -> None:
    with target.failing(INVALID):
        target.agent.dcgmGetAllDevices(ctypes.c_void_p(0x7654321))


def test_disconnecting_twice_is_harmless(target: Any) -> None:
    handle = target.connect()
    target.agent.dcgmDisconnect(handle)
    target.agent.dcgmDisconnect(handle)
    with target.failing(INVALID):
        target.agent.dcgmGetAllDevices(handle)


def test_two_connections_are_independent(target: Any) -> None:
    first, second = target.connect(), target.connect()
    target.agent.dcgmDisconnect(first)
    assert target.agent.dcgmGetAllDevices(second)


def test_unix_socket_works_as_well(target: Any, dcgm_version: str, tmp_path: Any) -> None:
    if not target.is_simulated:
        pytest.skip("needs an engine with a domain socket of its own")
    from dcgm_simulator.process import SimulatedEngine

    path = tmp_path / "engine"
    parameters = target.structs.c_dcgmConnectV2Params_v2()
    parameters.addressIsUnixSocket, parameters.timeoutMs = 1, 500
    with SimulatedEngine.start("h100x1", dcgm_version, domain_socket=path):
        handle = target.agent.dcgmConnect_v2(str(path), parameters)
        assert target.agent.dcgmGetAllDevices(handle) == [0]
        target.agent.dcgmDisconnect(handle)
    assert not path.exists()


def test_killed_engine_leaves_a_dead_handle_and_a_new_one_works(
    target: Any, own_engine: Any
) -> None:
    handle = target.connect(own_engine.address)
    group, field_group = target.watch(handle, [(1, 0)], [150])
    own_engine.kill()
    for _ in range(2):
        with target.failing(INVALID):
            target.agent.dcgmGetAllDevices(handle)
    own_engine.restart()
    with target.failing(INVALID):
        target.agent.dcgmGetAllDevices(handle)
    again = target.connect(own_engine.address)
    assert target.agent.dcgmGetAllDevices(again) == [0]
    assert target.one(again, 150).status == -16
    with pytest.raises(target.structs.DCGMError):
        target.agent.dcgmUnwatchFields(again, group, field_group)


def test_hung_engine_times_a_call_out(
    target: Any, own_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCGM_SIMULATOR_CALL_TIMEOUT", "0.3")
    handle = target.connect(own_engine.address)
    own_engine.suspend()
    try:
        with target.failing(TIMEOUT):
            target.agent.dcgmGetAllDevices(handle)
    finally:
        own_engine.resume()
    # The answer that came too late must not be taken for that of the next call.
    assert target.agent.dcgmGetEntityGroupEntities(handle, 3, 0) == []
    assert target.agent.dcgmGetAllDevices(handle) == [0]


def test_connecting_to_a_hung_engine_waits_beyond_the_timeout(target: Any, own_engine: Any) -> None:
    own_engine.control("hang")
    connected = threading.Event()

    def connect() -> None:
        target.connect(own_engine.address, timeout_ms=50)
        connected.set()

    threading.Thread(target=connect, daemon=True).start()
    assert not connected.wait(0.5)
    own_engine.control("resume")
    assert connected.wait(5)


def test_engine_that_dies_while_a_client_connects_gives_it_a_dead_handle(
    target: Any, own_engine: Any
) -> None:
    own_engine.control("hang")
    threading.Timer(0.3, own_engine.kill).start()
    handle = target.connect(own_engine.address)
    with target.failing(INVALID):
        target.agent.dcgmGetAllDevices(handle)


def test_disconnecting_frees_a_call_that_waits_for_a_hung_engine(
    target: Any, own_engine: Any
) -> None:
    handle = target.connect(own_engine.address)
    own_engine.control("hang")
    failures: list[Any] = []

    def call() -> None:
        try:
            target.agent.dcgmGetAllDevices(handle)
        except target.structs.DCGMError as error:
            failures.append(error.value)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    time.sleep(0.1)
    target.agent.dcgmDisconnect(handle)
    thread.join(5)
    assert failures == [INVALID]


def test_dropped_connection_stays_dead(target: Any, faults: Any) -> None:
    handle = target.connect()
    faults.control("drop")
    for _ in range(2):
        with target.failing(INVALID):
            target.agent.dcgmGetAllDevices(handle)
    assert target.agent.dcgmGetAllDevices(target.connect())


def test_several_threads_may_use_one_connection(target: Any, handle: Any) -> None:
    wrong: list[Any] = []
    expected = target.agent.dcgmGetAllDevices(handle)

    def work() -> None:
        for _ in range(20):
            if target.agent.dcgmGetAllDevices(handle) != expected:
                wrong.append("devices")
            if target.agent.dcgmGetDeviceAttributes(handle, 0).version != 0x3001464:
                wrong.append("attributes")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


SKEWED = {
    # bindings → engine → call → status
    "3.3.9": {
        "4.2.3": {"latest": 0, "group info": MISMATCH, "entities": MISMATCH, "since": MISMATCH}
    },
    "4.2.3": {
        "3.3.9": {"latest": NOT_FOUND, "group info": MISMATCH},
        "4.6.0": {"latest": 0, "nvlink": 0},
    },
    "4.6.0": {"4.5.3": {"latest": NOT_FOUND, "nvlink": MISMATCH, "entities": 0}},
}


def test_version_skew_fails_the_calls_it_fails_in_reality(
    target: Any, faults: Any, dcgm_version: str
) -> None:
    try:
        for engine, calls in SKEWED[dcgm_version].items():
            faults.control("skew", engine)
            for call, status in calls.items():
                assert status_of(target, call) == status, (engine, call)
    finally:
        faults.control("skew", dcgm_version)


def status_of(target: Any, call: str) -> int:
    """The status of a call over a new connection."""
    handle = target.connect()
    group, field_group = target.watch(handle, [(1, 0)], [150])
    calls = {
        "latest": lambda: target.one(handle, 150),
        "group info": lambda: target.agent.dcgmGroupGetInfo(handle, group),
        "entities": lambda: target.agent.dcgmGetEntityGroupEntities(handle, 3, 0),
        "since": lambda: target.since(handle, group, field_group, 0),
        "nvlink": lambda: target.agent.dcgmGetNvLinkLinkStatus(handle),
    }
    try:
        calls[call]()
    except target.structs.DCGMError as error:
        return int(error.value)
    return 0
