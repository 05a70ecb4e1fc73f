"""One connection to an engine, through bindings of several releases."""

from __future__ import annotations

import ctypes
import os
import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.builders import Bench, gpu, gpu_instance, some_gpu

from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.bindings import Bindings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence, read_value
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import (
    CallRefused,
    EngineUnavailable,
    NvmlNotLoaded,
    ReturnCode,
    VersionSkew,
)
from do_dcgm_exporter.dcgm.health_errors import HealthError
from do_dcgm_exporter.dcgm.versions import Versions

StartBench = Callable[..., Bench]
VERSIONS = ("3.3.9", "4.2.3", "4.5.3", "4.6.0")
every_version = pytest.mark.parametrize("version", VERSIONS)
SWITCH, LINK = EntityKind.SWITCH, EntityKind.LINK


def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


# Connecting.


@every_version
def test_a_connection_knows_both_releases(bench: StartBench, version: str) -> None:
    assert Versions(version, version) == bench("h100x1", version).connect().versions


def test_a_closed_port_is_an_engine_that_is_away(simulated: Callable[[str], Bindings]) -> None:
    address = EngineAddress("127.0.0.1", closed_port())
    with pytest.raises(EngineUnavailable) as caught:
        HostEngine.connect(simulated("4.6.0"), address, 0.1, CallCount())
    assert f"no engine answers at {address} (" in str(caught.value)
    assert ReturnCode.CONNECTION_NOT_VALID == caught.value.code


def test_an_engine_without_the_driver_is_named(bench: StartBench) -> None:
    with pytest.raises(NvmlNotLoaded, match="install or load the NVIDIA driver"):
        bench("no-nvml").connect()


@pytest.mark.parametrize(
    ("client", "engine", "restart"),
    [("3.3.9", "4.2.3", "do-dcgm-exporter"), ("4.6.0", "3.3.9", "nvidia-dcgm")],
)
def test_another_major_release_is_refused_at_once(
    bench: StartBench, client: str, engine: str, restart: str
) -> None:
    mixed = bench("h100x1", engine, client)
    with pytest.raises(VersionSkew) as caught:
        mixed.connect()
    assert f"is {client} but the running engine is {engine}: restart {restart}" in str(caught.value)
    assert [] == mixed.engine.control("status")["connections"]


def test_a_client_that_is_newer_than_its_engine_is_told_when_it_reads(bench: StartBench) -> None:
    connection = bench("h100x1", "4.5.3", "4.6.0").connect()
    with pytest.raises(VersionSkew, match="restart nvidia-dcgm"):
        connection.latest([gpu(0)], [150])


def test_ipv6_needs_dcgm_4(simulated: Callable[[str], Bindings]) -> None:
    address = EngineAddress("::1", closed_port())
    with pytest.raises(EngineUnavailable) as caught:
        HostEngine.connect(simulated("3.3.9"), address, 0.1, CallCount())
    expected = (
        f"DCGM 3.3.9 cannot connect to an IPv6 address ({address}): use 127.0.0.1 or install DCGM 4"
    )
    assert expected == str(caught.value)


def test_a_socket_that_is_not_there_is_named(
    simulated: Callable[[str], Bindings], tmp_path: Path
) -> None:
    address = EngineAddress(socket_path=str(tmp_path / "nv-hostengine"))
    with pytest.raises(
        EngineUnavailable, match=r"there is no socket at .*nv-hostengine: .*--domain-socket"
    ):
        HostEngine.connect(simulated("4.6.0"), address, 0.1, CallCount())


def test_a_socket_in_tmp_is_said_to_be_hidden_from_the_service(
    simulated: Callable[[str], Bindings],
) -> None:
    address = EngineAddress(socket_path="/tmp/no-such-hostengine")
    with pytest.raises(EngineUnavailable, match=r"PrivateTmp=yes.*--domain-socket /run/"):
        HostEngine.connect(simulated("4.6.0"), address, 0.1, CallCount())


def test_a_socket_that_may_not_be_used_is_named(
    simulated: Callable[[str], Bindings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "nv-hostengine"
    path.touch()
    # Root may use every socket.
    monkeypatch.setattr(os, "access", lambda asked, _mode: asked != path)
    with pytest.raises(EngineUnavailable, match="this user may not connect to the socket"):
        HostEngine.connect(
            simulated("4.6.0"), EngineAddress(socket_path=str(path)), 0.1, CallCount()
        )


def test_a_directory_that_may_not_be_looked_into_is_named(
    simulated: Callable[[str], Bindings], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, _mode: path != tmp_path)
    address = EngineAddress(socket_path=str(tmp_path / "nv-hostengine.sock"))
    with pytest.raises(EngineUnavailable, match=r"this user may not look into .* for the socket"):
        HostEngine.connect(simulated("4.6.0"), address, 0.1, CallCount())


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3"])
def test_vsock_is_said_to_need_a_newer_dcgm(
    simulated: Callable[[str], Bindings], version: str
) -> None:
    address = EngineAddress("3", 5555, is_vsock=True)
    sentence = f"DCGM {version} cannot connect to vsock://3:5555: vsock needs DCGM 4.5 or newer"
    with pytest.raises(EngineUnavailable, match=sentence):
        HostEngine.connect(simulated(version), address, 0.1, CallCount())


@pytest.mark.parametrize("version", ["4.5.3", "4.6.0", "4.7.0"])
def test_nobody_at_a_vsock_is_named(simulated: Callable[[str], Bindings], version: str) -> None:
    address = EngineAddress("3", 5555, is_vsock=True)
    calls = CallCount()
    with pytest.raises(EngineUnavailable, match="no engine answers at vsock://3:5555"):
        HostEngine.connect(simulated(version), address, 0.1, calls)
    assert calls.calls == 1


def test_a_unix_socket_serves_as_well(simulated: Callable[[str], Bindings], tmp_path: Path) -> None:
    from dcgm_simulator.process import SimulatedEngine

    path = tmp_path / "socket"
    with SimulatedEngine.start("h100x1", domain_socket=path):
        address = EngineAddress(socket_path=str(path))
        connection = HostEngine.connect(simulated("4.6.0"), address, 2.0, CallCount())
        assert (0,) == connection.gpu_ids()
        connection.disconnect()


def test_a_connection_that_is_born_dead_is_found_out() -> None:
    """``dcgmConnect_v2`` can answer OK with a handle that is of no use (DcgmApi.cpp)."""
    dead = FakeBindings(engine_version_code=ReturnCode.CONNECTION_NOT_VALID)
    with pytest.raises(EngineUnavailable, match="the connection to the engine is gone"):
        HostEngine.connect(dead.bindings, EngineAddress(), 1.0, CallCount())
    assert ["dcgmConnect_v2", "dcgmDisconnect"] == dead.calls


def test_an_engine_that_does_not_tell_its_release_is_asked_on() -> None:
    silent = FakeBindings(engine_version_code=ReturnCode.FUNCTION_NOT_FOUND)
    connection = HostEngine.connect(silent.bindings, EngineAddress(), 1.0, CallCount())
    assert Versions("4.2.3", "") == connection.versions
    assert ["dcgmConnect_v2", "dcgmGetAllSupportedDevices"] == silent.calls


def test_a_killed_engine_is_told_at_once_and_disconnecting_is_safe(bench: StartBench) -> None:
    started = bench()
    connection = started.connect()
    started.engine.kill()
    for _ in range(2):
        with pytest.raises(EngineUnavailable, match="the connection to the engine is gone"):
            connection.gpu_ids()
    connection.disconnect()
    connection.disconnect()


def test_an_engine_that_hangs_is_given_up_by_the_library(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DCGM_SIMULATOR_CALL_TIMEOUT", "0.05")
    started = bench()
    connection = started.connect()
    started.engine.control("hang")
    with pytest.raises(EngineUnavailable, match="the engine did not answer in time"):
        connection.gpu_ids()


def test_every_call_is_counted(bench: StartBench) -> None:
    started = bench()
    connection = started.connect()
    before = started.calls.calls
    assert 3 == before  # connect, version, probe
    connection.gpu_ids()
    with pytest.raises(CallRefused):
        connection.create_field_group([65000])
    assert 5 == started.calls.calls


# Discovering.


@every_version
def test_a_gpu_has_an_identity(bench: StartBench, version: str) -> None:
    identity = bench("h100x8", version).connect().device_identity(3)
    assert identity.uuid.startswith("GPU-")
    assert identity.model.endswith("(simulated)")
    assert len("00000000:00:00.0") == len(identity.pci_bus_id)


@every_version
def test_the_mig_hierarchy(bench: StartBench, version: str) -> None:
    nodes = bench("h100x8-mig", version).connect().mig_hierarchy()
    instances = [node for node in nodes if node.entity.kind is EntityKind.GPU_INSTANCE]
    parts = [node for node in nodes if node.entity.kind is EntityKind.COMPUTE_INSTANCE]
    assert [gpu(0)] * 4 + [gpu(1)] * 4 == [node.parent for node in instances]
    assert [node.entity for node in instances] == [node.parent for node in parts]
    assert () == bench("h100x1", version).connect().mig_hierarchy()


@every_version
def test_kinds_that_a_machine_does_not_have_are_refused(bench: StartBench, version: str) -> None:
    connection = bench("h100x1", version).connect()
    assert () == connection.entity_ids(SWITCH)
    for kind in (LINK, EntityKind.CPU):
        with pytest.raises(CallRefused):
            connection.entity_ids(kind)


@every_version
def test_cores_by_cpu(bench: StartBench, version: str) -> None:
    cores = bench("grace", version).connect().cores_by_cpu()
    assert {0: tuple(range(72)), 1: tuple(range(72, 144))} == cores


@every_version
def test_the_state_of_every_nvlink(bench: StartBench, version: str) -> None:
    states = bench("h100x8", version).connect().nvlink_states()
    assert set(range(8)) == set(states)
    assert 18 == sum(state == 3 for state in states[0])


@pytest.mark.parametrize("version", ["4.5.3", "4.6.0"])
def test_peer_to_peer_states_by_ordered_pair(bench: StartBench, version: str) -> None:
    states = bench("h100x8", version).connect().p2p_states()
    assert {(a, b) for a in range(8) for b in range(8) if a != b} == set(states)
    assert {0} == set(states.values())


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3"])
def test_older_bindings_have_no_peer_to_peer_states(bench: StartBench, version: str) -> None:
    with pytest.raises(CallRefused, match="these bindings have no dcgmGetNvLinkP2PStatus"):
        bench("h100x1", version).connect().p2p_states()


def test_an_optional_function_that_the_engine_lacks_is_refused_not_skew(bench: StartBench) -> None:
    connection = bench("h100x1", "4.2.3", "4.5.3").connect()
    with pytest.raises(CallRefused):
        connection.p2p_states()


def test_bindings_without_a_function_refuse_it(bench: StartBench) -> None:
    connection = bench().connect()
    with pytest.raises(CallRefused, match="these bindings have no dcgmNothing"):
        connection._call("dcgmNothing")


@every_version
def test_profiling_fields_are_those_of_the_gpu(bench: StartBench, version: str) -> None:
    offered = bench("h100x1", version).connect().profiling_field_ids(0)
    assert {1001, 1002, 1005, 1012} <= offered
    with pytest.raises(CallRefused) as caught:
        bench("a100-no-prof", version).connect().profiling_field_ids(0)
    assert ReturnCode.MODULE_NOT_LOADED == caught.value.code


# Watching and reading.


def watched(connection: HostEngine, field_ids: list[int], *numbers: int) -> Watch:
    group, taken = connection.create_group([gpu(number) for number in numbers])
    watch = Watch(group, connection.create_field_group(field_ids), taken, tuple(field_ids))
    connection.watch(watch, 20.0, 0.0, 2)
    return watch


@every_version
def test_what_is_watched_can_be_read(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    connection = started.connect()
    watched(connection, [150, 155, 50, 1], 0, 5)
    values = connection.latest([gpu(0), gpu(5)], [150, 155, 50, 1])
    found = {(v.entity, v.field_id): read_value(v) for v in values}
    assert 8 == len(found)
    assert {int, float, str} == {type(value) for value in found.values()}
    assert Absence.NOT_WATCHED is read_value(connection.latest([gpu(1)], [150])[0])


@every_version
def test_a_live_value_needs_no_watch(bench: StartBench, version: str) -> None:
    connection = bench("h100x8-mig", version).connect()
    profiles = connection.live([gpu_instance(number) for number in range(4)], [50])
    assert ["1g.10gb", "1g.10gb", "2g.20gb", "3g.40gb"] == sorted(p.payload for p in profiles)


@pytest.mark.parametrize(
    ("version", "limit"), [("3.3.9", 64), ("4.2.3", 1024), ("4.5.3", 1024), ("4.6.0", 1024)]
)
def test_a_call_takes_so_many_entities_and_no_more(
    bench: StartBench, version: str, limit: int
) -> None:
    connection = bench("h100x1", version).connect()
    assert limit == connection.entities_per_call
    entities = [Entity(EntityKind.GPU, number) for number in range(limit + 1)]
    assert limit == len(connection.latest(entities[:limit], [150]))
    with pytest.raises(CallRefused):
        connection.latest(entities, [150])


@every_version
def test_a_group_leaves_out_what_the_engine_does_not_take(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    started.engine.control("lose-gpu", "1")
    started.pass_time(1)
    connection = started.connect()
    _, taken = connection.create_group([gpu(0), gpu(1), gpu(2), gpu(99), gpu(2)])
    takes_lost_ones = version in ("3.3.9", "4.2.3")
    assert ((gpu(0), gpu(1), gpu(2)) if takes_lost_ones else (gpu(0), gpu(2))) == taken


@every_version
def test_the_status_of_a_gpu_tells_its_loss_since_4_5(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    started.engine.control("lose-gpu", "1")
    started.pass_time(1)
    connection = started.connect()
    if version == "3.3.9":
        with pytest.raises(CallRefused, match="have no dcgmGetGpuStatus"):
            connection.gpu_status(1)
    else:
        expected = [1, 1] if version == "4.2.3" else [1, 4]
        assert expected == [connection.gpu_status(0), connection.gpu_status(1)]


@every_version
def test_names_of_groups_are_never_given_twice(bench: StartBench, version: str) -> None:
    started = bench("h100x1", version)
    first, second = started.connect(), started.connect()
    for connection in (first, second, first):
        connection.create_field_group([150])
    status = started.engine.control("status")
    names = [group["name"] for group in status["field_groups"]]
    assert 3 == len(set(names))


@every_version
def test_disconnecting_leaves_nothing_behind(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    connection = started.connect()
    watched(connection, [150, 155], *range(8))
    assert 16 == len(started.engine.control("status")["watches"])
    connection.disconnect()
    status = started.engine.control("status")
    assert ([], [], [], []) == (
        status["connections"],
        status["groups"],
        status["field_groups"],
        status["watches"],
    )


@every_version
def test_kept_samples_can_be_asked_for_from_a_time_on(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    connection = started.connect()
    group, taken = connection.create_group([gpu(0), gpu(1)])
    watch = Watch(group, connection.create_field_group([230]), taken, (230,))
    connection.watch(watch, 20.0, 600.0, 0)
    (first,) = started.engine.control("xid", "--gpu", "0", "31")["timestamps"]
    (second,) = started.engine.control("xid", "--gpu", "1", "43")["timestamps"]
    started.pass_time(5)

    def told_since(timestamp: int) -> list[tuple[Any, ...]]:
        found = connection.since(watch, timestamp)
        return sorted((v.entity, v.timestamp, v.payload) for v in found if v.status == 0)

    assert [(gpu(0), first, 31), (gpu(1), second, 43)] == told_since(0)
    assert [(gpu(1), second, 43)] == told_since(second)
    statuses = [(v.entity, v.status) for v in connection.since(watch, second + 1)]
    assert [(gpu(0), ReturnCode.NO_DATA), (gpu(1), ReturnCode.NO_DATA)] == statuses


def test_a_kind_of_entity_that_nobody_knows_yet_is_passed_over(bench: StartBench) -> None:
    """An exception in a callback from C would be printed and lost, and the rest with it."""
    started = bench("h100x1")
    connection = started.connect()
    group, taken = connection.create_group([gpu(0)])
    watch = Watch(group, connection.create_field_group([230]), taken, (230,))
    connection.watch(watch, 20.0, 600.0, 0)
    known = connection.bindings.agent.dcgmGetValuesSince_v2

    def with_one_more(handle: Any, *asked: Any) -> Any:
        *_, callback, _user_data = asked
        callback(99, 0, None, 0, None)
        return known(handle, *asked)

    agent = SimpleNamespace(**vars(connection.bindings.agent) | {
        "dcgmGetValuesSince_v2": with_one_more
    })  # fmt: skip
    connection.bindings = replace(connection.bindings, agent=agent)
    assert [gpu(0)] == [value.entity for value in connection.since(watch, 0)]


@every_version
def test_health_incidents(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    connection = started.connect()
    group, _ = connection.create_group([gpu(2)])
    connection.watch_health(group, 30.0, 600.0)
    assert [] == connection.health_incidents(group)
    started.engine.control("health", "--entity", "gpu:2", "--system", "16", "--code", "4", "fail")
    assert [(gpu(2), 16, 20, 4)] == connection.health_incidents(group)


def test_health_errors_have_names(bench: StartBench) -> None:
    connection = bench().connect()
    assert "DCGM_FR_OK" == connection.health_error(0).name
    assert HealthError("DCGM_FR_9999", "UNKNOWN", "UNKNOWN") == connection.health_error(9999)


def test_texts_that_are_no_utf_8_are_read_nevertheless() -> None:
    fake = FakeBindings()
    connection = HostEngine.connect(fake.bindings, EngineAddress(), 1.0, CallCount())
    assert ("GPU-\ufffd", "", "") == connection.device_identity(0)
    assert some_gpu(0) != connection.device_identity(0)


class FakeBindings:
    """Bindings for faults that the simulator does not have."""

    def __init__(self, engine_version_code: int = ReturnCode.OK) -> None:
        self.calls: list[str] = []
        self._engine_version_code = engine_version_code
        agent = SimpleNamespace(
            dcgmVersionInfo=lambda: VersionInformation(rawBuildInfoString=b"version:4.2.3;x"),
            dcgmConnect_v2=lambda _where, _parameters: self._note("dcgmConnect_v2", "handle"),
            dcgmDisconnect=lambda _handle: self._note("dcgmDisconnect", None),
            dcgmGetAllSupportedDevices=lambda _: self._note("dcgmGetAllSupportedDevices", [0]),
            dcgmGetDeviceAttributes=lambda _handle, _gpu: SimpleNamespace(
                identifiers=Identifiers(uuid=b"GPU-\xff")
            ),
        )
        structs = SimpleNamespace(
            DCGMError=ZeroDivisionError,
            c_dcgmConnectV2Params_v2=SimpleNamespace,
            c_dcgmVersionInfo_v2=VersionInformation,
            dcgmVersionInfo_version2=2,
            _dcgmGetFunctionPointer=lambda _name: self._engine_version,
        )
        self.bindings = Bindings(Path(), structs, agent, {}, False)

    def _note(self, call: str, answer: Any) -> Any:
        self.calls.append(call)
        return answer

    def _engine_version(self, _handle: Any, _answer: Any) -> int:
        return self._engine_version_code


class VersionInformation(ctypes.Structure):
    """As DCGM has it, as far as it is read."""

    _fields_ = (("version", ctypes.c_uint32), ("rawBuildInfoString", ctypes.c_char * 512))


class Identifiers(ctypes.Structure):
    """As DCGM has it, as far as it is read."""

    _fields_ = tuple((name, ctypes.c_char * 64) for name in ("uuid", "pciBusId", "deviceName"))
