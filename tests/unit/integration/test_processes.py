"""Processes with a DCGM in them: clients of the engine, or engines of their own."""

from __future__ import annotations

import ctypes
import json
import os
import socket
from pathlib import Path

import pytest
from tests.unit.integration.conftest import HEAD, LISTENS, Machine

from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.processes import (
    DcgmProcess,
    only_children,
    processes_of_unit,
    program_of,
    scan,
)
from do_dcgm_exporter.integration.reporting.embedded_count import write_count
from do_dcgm_exporter.process_owners import Owner, OwnerKind, owner_of
from do_dcgm_exporter.sockets import ports_at_other_ends, ports_of

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
        # Perhaps it waits for one that is just starting.
        ("-r\0localhost:5555", "", False),
        ("-f\0x", "DCGM_REMOTE_HOSTENGINE_INFO=localhost:5555", False),
        ("--kubernetes\0false\0-r\0localhost:5555", "", True),
    ],
)
def test_one_that_was_told_of_an_engine_has_none_of_its_own(
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
    found = scan(machine.host, 5555)
    assert {7: {5555}, 8: set()} == found.engines


GUEST_UNIT = "system.slice/a.service"
USER = "/user.slice/user-7.slice/user@7.service"


@pytest.mark.parametrize(
    ("group", "owner"),
    [
        ("0::/system.slice/a.service\n", Owner(OwnerKind.UNIT, "a.service")),
        ("0::/system.slice/a.service/below\n", Owner(OwnerKind.UNIT, "a.service")),
        (
            "0::/system.slice/system-gpu.slice/gpu@0.service\n",
            Owner(OwnerKind.UNIT, "gpu@0.service"),
        ),
        ("1:name=systemd:/system.slice/a.service\n9:cpu:/x.service\n",
         Owner(OwnerKind.UNIT, "a.service")),
        ("1:name=systemd:/\n0::/system.slice/a.service\n", Owner(OwnerKind.UNIT, "a.service")),
        (f"0::/system.slice/docker-{CONTAINER}.scope\n", Owner(OwnerKind.CONTAINER, CONTAINER)),
        (f"0::/docker/{CONTAINER}\n", Owner(OwnerKind.CONTAINER, CONTAINER)),
        (f"0::/machine.slice/libpod-{CONTAINER}.scope/x\n", Owner(OwnerKind.CONTAINER, CONTAINER)),
        (f"0::/system.slice/a.service/libpod-payload-{CONTAINER}\n",
         Owner(OwnerKind.CONTAINER, CONTAINER)),
        (f"0::/kubepods.slice/pod1.slice/cri-containerd-{CONTAINER}.scope\n",
         Owner(OwnerKind.CONTAINER, CONTAINER, pod=True)),
        (f"0::/system.slice/containerd.service/kubepods-x.slice:cri-containerd:{CONTAINER}\n",
         Owner(OwnerKind.CONTAINER, CONTAINER, pod=True)),
        ("0::/user.slice/user-0.slice/session-1.scope\n",
         Owner(OwnerKind.SESSION, "session-1.scope")),
        (f"0::{USER}/app.slice/a.service\n", Owner(OwnerKind.USER_UNIT, "a.service", "7")),
        (f"0::{USER}/app.slice/a.service/libpod-payload-{CONTAINER}\n",
         Owner(OwnerKind.USER_UNIT, "a.service", "7")),
        (f"0::/system.slice/nerdctl-{CONTAINER}.scope\n", Owner(OwnerKind.CONTAINER, CONTAINER)),
        (f"0::{USER}/user.slice/libpod-{CONTAINER}.scope\n", Owner(OwnerKind.CONTAINER, CONTAINER)),
        (f"0::{USER}/app.slice/app-x.scope\n", Owner(OwnerKind.SESSION, "user@7.service")),
        (f"0::/machine.slice/machine-gpu.scope/payload/{GUEST_UNIT}\n",
         Owner(OwnerKind.GUEST, "machine-gpu.scope")),
        (f"0::/lxc.payload.gpu/{GUEST_UNIT}\n", Owner(OwnerKind.GUEST, "lxc.payload.gpu")),
        ("0::/system.slice/run-r7.scope\n", Owner(OwnerKind.NOTHING)),
        ("0::/init.scope\n", Owner(OwnerKind.NOTHING)),
        ("0::/\n", Owner(OwnerKind.NOTHING)),
    ],
)  # fmt: skip
def test_whose_a_process_is(machine: Machine, group: str, owner: Owner) -> None:
    machine.put_process(20, cgroup=group)
    assert owner == owner_of(machine.root / "proc", "20")
    unit = owner.name if owner.kind is OwnerKind.UNIT else "a.service"
    of_unit = ("20",) if owner.kind is OwnerKind.UNIT else ()
    assert of_unit == processes_of_unit(machine.host, unit)


@pytest.mark.parametrize(("ids", "kind"), [("20", OwnerKind.UNIT), ("20\t7", OwnerKind.GUEST)])
def test_what_has_another_id_where_it_lives_is_a_guests(
    machine: Machine, ids: str, kind: OwnerKind
) -> None:
    machine.put_process(20, cgroup="0::/system.slice/a.service\n", status=f"NSpid:\t{ids}\n")
    assert kind is owner_of(machine.root / "proc", "20").kind


@pytest.mark.parametrize(
    ("command", "words", "exe", "program"),
    [
        ("dcgm-exporter", "metrics\0-a", "/usr/bin/dcgm-exporter", "/usr/bin/dcgm-exporter"),
        ("dcgm-exporter", "x", "/usr/bin/dcgm-exporter (deleted)", "/usr/bin/dcgm-exporter"),
        ("dcgm-exporter", "/usr/bin/python3\0-IB\0/x/dcgm-exporter", "/usr/bin/python3.11",
         "/x/dcgm-exporter"),
        ("nvidia_dcgm_exp", "sh\0/x/nvidia_dcgm_exporter", "/usr/bin/dash",
         "/x/nvidia_dcgm_exporter"),
        ("python3", "python3\0-c\0import x", "/usr/bin/python3.11", "/usr/bin/python3.11"),
        ("sh", "sh\0-c\0/usr/bin/dcgm-exporter -a", "/usr/bin/dash", "/usr/bin/dash"),
        ("sh", "/bin/sh\0/opt/start", "/usr/bin/dash", "/usr/bin/dash"),
        ("dcgm-exporter", "/usr/bin/dcgm-exporter", "", "/usr/bin/dcgm-exporter"),
        ("kworker", "", "", "kworker"),
    ],
)  # fmt: skip
def test_the_program_of_a_process_is_known(
    machine: Machine, command: str, words: str, exe: str, program: str
) -> None:
    machine.put_process(20, comm=f"{command}\n", cmdline=f"{words}\0" if words else "")
    if exe:
        machine.link("proc/20/exe", exe)
    assert program == program_of(machine.root / "proc", "20")


def test_only_children_are_followed(machine: Machine) -> None:
    for pid, children in ((20, "21 "), (21, "22 "), (22, "23 24 ")):
        machine.put_process(pid, comm="x\n", cmdline=f"/bin/p{pid}\0")
        machine.write(f"proc/{pid}/task/{pid}/children", children)
    found = list(only_children(machine.root / "proc", 20))
    assert [(20, "/bin/p20"), (21, "/bin/p21"), (22, "/bin/p22")] == found


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


def test_ports_of_this_process_are_known() -> None:
    proc = Path("/proc")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert port not in ports_at_other_ends(proc, ["self"])["self"]
        with socket.create_connection(("127.0.0.1", port)):
            assert port in ports_at_other_ends(proc, ["self"])["self"]
            assert port in ports_of(proc, ["self"])["self"]


# --- the report --------------------------------------------------------------------------


def test_the_report_names_whose_they_are(machine: Machine) -> None:
    machine.put_process(20, **EXPORTER, maps=LIBRARY.format("4"),
                        cgroup="0::/system.slice/a.service\n")  # fmt: skip
    machine.put_process(21, **EXPORTER, maps=LIBRARY.format("4"),
                        cgroup=f"0::/docker/{CONTAINER}\n")  # fmt: skip
    machine.put_process(22, comm="agent\n", cmdline="agent\0", maps=LIBRARY.format("4"))
    write_count(machine.host, scan(machine.host).embedded)
    report = machine.root / "run/do-dcgm-exporter-integration/embedded-dcgm.json"
    assert 0o644 == report.stat().st_mode & 0o777
    owners = [process["of"] for process in json.loads(report.read_text())["processes"]]
    assert {"a.service", f"container {CONTAINER[:12]}", "agent"} == set(owners)
