"""Processes with a DCGM in them: clients of the engine, or engines of their own."""

from __future__ import annotations

import ctypes
import json
import os
import socket
from pathlib import Path

import pytest
from do_dcgm_exporter.integration.reporting.embedded_report import write_report
from tests.unit.integration.conftest import HEAD, LISTENS, Machine

from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.processes import (
    DcgmProcess,
    command_name,
    container_of,
    processes_of_unit,
    scan,
    unit_of,
)
from do_dcgm_exporter.integration.looking.sockets import socket_inodes, tcp_table, unix_peers

LIBRARY = "7f00 r-xp 0 0 0 /usr/lib/x86_64-linux-gnu/libdcgm.so.{}\n"
EXPORTER = {"comm": "dcgm-exporter\n", "cmdline": "/usr/bin/dcgm-exporter\0", "environ": ""}
ESTABLISHED = " 1: 0100007F:9C40 0100007F:{port:04X} 01 0 0 0 0 0 {inode}\n"
CONTAINER = "a1" * 32


def connect(machine: Machine, pid: int, inode: int, port: int = 5555) -> None:
    """Give a process a connection."""
    line = ESTABLISHED.format(port=port, inode=inode)
    machine.write("proc/net/tcp", machine.read("proc/net/tcp") + line)
    machine.link(f"proc/{pid}/fd/5", f"socket:[{inode}]")


def only(machine: Machine, port: int = 5555) -> DcgmProcess:
    (process,) = scan(machine.host, port).dcgm
    return process


@pytest.mark.parametrize(
    ("library", "major"), [("4.5.3", 4), ("3", 3), ("4.6.0 (deleted)", 4), ("", 0)]
)
def test_a_process_with_the_library_and_no_connection_is_embedded(
    machine: Machine, library: str, major: int
) -> None:
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format(library).replace("so.\n", "so\n"))
    found = only(machine)
    assert (20, "dcgm-exporter", True, major) == (
        found.pid, found.command, found.is_embedded, found.library_major
    )  # fmt: skip


def test_a_client_over_tcp_is_none(machine: Machine) -> None:
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format("4"))
    connect(machine, 20, 77)
    assert not only(machine).is_embedded


def test_a_client_of_another_engine_of_this_host_is_none(machine: Machine) -> None:
    machine.put_process(8, comm="nv-hostengine\n", cmdline="nv-hostengine\0")
    other = LISTENS.replace("15B3", "15C9").replace(" 7\n", " 8\n")
    machine.write("proc/net/tcp", machine.read("proc/net/tcp") + other)
    machine.link("proc/8/fd/3", "socket:[8]")
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format("4"))
    connect(machine, 20, 77, 0x15C9)
    assert not only(machine).is_embedded


def test_a_connection_to_something_else_does_not_count(machine: Machine) -> None:
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format("4"))
    connect(machine, 20, 77, 443)
    assert only(machine).is_embedded


def test_each_network_namespace_has_a_table_of_its_own(machine: Machine) -> None:
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format("4"))
    (machine.root / "proc/20/net").unlink()
    (machine.root / "proc/20/ns/net").unlink()
    machine.link("proc/20/ns/net", "net:[2]")
    machine.write("proc/20/net/tcp", HEAD + ESTABLISHED.format(port=5555, inode=77))
    machine.link("proc/20/fd/5", "socket:[77]")
    assert not only(machine).is_embedded


@pytest.mark.parametrize(
    ("words", "variable", "embedded"),
    [
        ("-r\0gpu7:5555", "", False),
        ("-f\0x", "DCGM_REMOTE_HOSTENGINE_INFO=gpu7:5555", False),
        # Told of ours, and not connected to it: it does not do as it was told.
        ("-r\0localhost:5555", "", True),
        ("-f\0x", "DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555", True),
    ],
)
def test_one_that_was_told_of_an_engine_elsewhere_has_none(
    machine: Machine, words: str, variable: str, embedded: bool
) -> None:
    machine.put_process(
        20, comm="dcgm-exporter\n", cmdline=f"/usr/bin/dcgm-exporter\0{words}\0",
        environ=f"A=1\0{variable}\0", maps=LIBRARY.format("4"),
    )  # fmt: skip
    assert embedded is only(machine).is_embedded


@pytest.mark.parametrize(
    "files",
    [
        {"comm": "nv-hostengine\n", "cmdline": "nv-hostengine\0-p\0" + "5556\0"},
        {"comm": "python3\n", "cmdline": "/usr/bin/python3\0-I\0/usr/bin/do-dcgm-exporter\0"},
        {"comm": "x\n", "cmdline": "x\0", "cgroup": "0::/system.slice/do-dcgm-exporter.service\n"},
        {"comm": "python3\n", "cmdline": "python3\0-c\0import do_dcgm_exporter.x\0"},
    ],
)
def test_engines_and_ourselves_are_not_counted(machine: Machine, files: dict[str, str]) -> None:
    machine.put_process(20, **files, maps=LIBRARY.format("4"))
    assert () == scan(machine.host, 5555).dcgm


def test_engines_are_known_with_the_one_on_our_port(machine: Machine) -> None:
    machine.put_process(8, comm="nv-hostengine\n", cmdline="nv-hostengine\0")
    found = scan(machine.host, 5555, with_engines=True)
    assert {7, 8} == set(found.engine_pids)
    assert (7,) == found.serving_pids


@pytest.mark.parametrize(
    ("group", "unit", "container"),
    [
        ("0::/system.slice/a.service\n", "a.service", ""),
        ("0::/system.slice/system-gpu.slice/gpu@0.service\n", "gpu@0.service", ""),
        ("1:name=systemd:/system.slice/a.service\n9:cpu:/x.service\n", "a.service", ""),
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", "", CONTAINER),
        (f"0::/docker/{CONTAINER}\n", "", CONTAINER),
        (f"0::/machine.slice/libpod-{CONTAINER}.scope/container\n", "", CONTAINER),
        (f"0::/kubepods.slice/pod1.slice/cri-containerd-{CONTAINER}.scope\n", "", CONTAINER),
        ("0::/user.slice/user-0.slice/session-1.scope\n", "", ""),
        ("0::/user.slice/user-7.slice/user@7.service/app.slice/a.service\n", "", ""),
    ],
)
def test_whose_a_process_is(machine: Machine, group: str, unit: str, container: str) -> None:
    machine.put_process(20, cgroup=group)
    proc = machine.root / "proc"
    assert (unit, container) == (unit_of(proc, "20"), container_of(proc, "20"))
    assert (("20",) if unit else ()) == processes_of_unit(machine.host, unit or "b.service")


def test_a_scripts_name_is_the_programs(machine: Machine) -> None:
    proc = machine.root / "proc"
    machine.put_process(20, comm="python3\n", cmdline="/usr/bin/python3\0-IB\0/x/dcgm-exporter\0")
    machine.put_process(21, comm="a-name-of-fifte\n", cmdline="/bin/a-name-of-fifteen-and-more\0")
    machine.put_process(22, comm="kworker\n", cmdline="")
    assert "dcgm-exporter" == command_name(proc, "20")
    assert "a-name-of-fifteen-and-more" == command_name(proc, "21")
    assert "kworker" == command_name(proc, "22")


# --- the real /proc ----------------------------------------------------------------------


def test_what_is_hidden_is_counted(machine: Machine) -> None:
    machine.put_process(20, comm="x\n", cmdline="x\0")
    (machine.root / "proc/20/maps").unlink()
    (machine.root / "proc/20/maps").mkdir()  # reading it fails, as without permission
    assert 0 == scan(machine.host, 5555).unseen
    if os.geteuid() != 0:
        (machine.root / "proc/20/maps").rmdir()
        machine.write("proc/20/maps", "", 0o000)
        assert 1 == scan(machine.host, 5555).unseen


def test_a_library_that_is_really_mapped_is_found(tmp_path: Path) -> None:
    copy = tmp_path / "libdcgm.so.4"
    library = next(
        Path(line.split()[-1])
        for line in Path("/proc/self/maps").read_text().splitlines()
        if line.rstrip().endswith("libc.so.6")
    )
    copy.write_bytes(library.with_name("libm.so.6").read_bytes())
    ctypes.CDLL(str(copy))
    found = [process for process in scan(Host(), 5555).dcgm if process.pid == os.getpid()]
    assert [4] == [process.library_major for process in found]


def test_the_tcp_table_is_read() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client:
            table = tcp_table(Path("/proc"))
            own = set(socket_inodes(Path("/proc"), "self"))
            assert port in {table.listening.get(inode) for inode in own}
            assert port in {table.connected.get(inode) for inode in own}
            assert os.fstat(client.fileno()).st_ino in own


def test_the_peer_of_a_unix_socket_is_found(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener, socket.socket(socket.AF_UNIX) as client:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        client.connect(str(tmp_path / "socket"))
        server, _ = listener.accept()
        with server:
            ends = [os.fstat(end.fileno()).st_ino for end in (client, server)]
            peers = unix_peers()
    assert ends[::-1] == [peers[end] for end in ends]


def test_a_client_over_a_unix_socket_is_none(machine: Machine) -> None:
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format("4"))
    client, server = socket.socketpair()
    with client, server:
        machine.link("proc/20/fd/5", f"socket:[{os.fstat(client.fileno()).st_ino}]")
        assert only(machine).is_embedded
        machine.link("proc/7/fd/9", f"socket:[{os.fstat(server.fileno()).st_ino}]")
        assert not only(machine).is_embedded


# --- the report --------------------------------------------------------------------------


def test_the_report_names_whose_they_are(machine: Machine) -> None:
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format("4"),
                        cgroup="0::/system.slice/a.service\n")  # fmt: skip
    machine.put_process(21, **EXPORTER, maps=LIBRARY.format("4"),
                        cgroup=f"0::/docker/{CONTAINER}\n")  # fmt: skip
    machine.put_process(22, comm="agent\n", cmdline="agent\0", maps=LIBRARY.format("4"))
    write_report(machine.host, scan(machine.host, 5555), 5555)
    report = machine.root / "run/do-dcgm-exporter-integration/embedded-dcgm.json"
    assert 0o644 == report.stat().st_mode & 0o777
    owners = [process["of"] for process in json.loads(report.read_text())["processes"]]
    assert {"a.service", f"container {CONTAINER[:12]}", "agent"} == set(owners)


def test_without_an_engine_the_report_says_that_nothing_is_known(machine: Machine) -> None:
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format("4"))
    machine.write("proc/net/tcp", HEAD)
    assert () == write_report(machine.host, scan(machine.host, 5555), 5555)
    text = machine.read("run/do-dcgm-exporter-integration/embedded-dcgm.json")
    assert '"processes": null' in text
