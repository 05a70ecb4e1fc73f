"""Processes that have DCGM's library in them: whether each is a client or an engine of its own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from do_dcgm_exporter.integration.deciding.exporter_arguments import (
    is_local,
    own_arguments,
    remote_engine,
)
from do_dcgm_exporter.integration.host import EXPORTER, OWN_SERVICE, Host, read_bytes
from do_dcgm_exporter.integration.looking.sockets import (
    TcpTable,
    socket_inodes,
    tcp_table,
    unix_peers,
)

_LIBRARY = re.compile(rb"/libdcgm\.so(?:\.(\d+))?")
_ENGINE = b"nv-hostengine"
_CONTAINER = re.compile(
    r"(?:/|docker-|libpod-|crio-|cri-containerd-)([0-9a-f]{64})(?:\.scope)?(?:/|$)",
    re.MULTILINE,
)
_UNIT = re.compile(r"/([^/\n]+\.service)(?:/|$)", re.MULTILINE)
_USER_MANAGER = re.compile(r"/user@\d+\.service/")


@dataclass(frozen=True, slots=True)
class DcgmProcess:
    """A process that has libdcgm mapped and is neither the engine nor ours.

    ``library_major`` is 0 where the library's name does not tell it. ``elsewhere`` is the
    engine of another port or host that an exporter's command line or environment names.
    """

    pid: int
    command: str
    unit: str
    container: str
    library_major: int
    is_client: bool
    elsewhere: str = ""

    @property
    def is_embedded(self) -> bool:
        """Whether it runs an engine of its own."""
        return not self.is_client and not self.elsewhere


@dataclass(frozen=True, slots=True)
class Processes:
    """All of them, and how many processes could not be looked into.

    ``engine_pids`` are the processes of engines; ``serving_pids`` those on our engine's port.
    """

    dcgm: tuple[DcgmProcess, ...] = ()
    engine_pids: tuple[int, ...] = ()
    serving_pids: tuple[int, ...] = ()
    unseen: int = 0

    @property
    def embedded(self) -> tuple[DcgmProcess, ...]:
        """The processes with an engine of their own."""
        return tuple(process for process in self.dcgm if process.is_embedded)

    def of_unit(self, unit: str) -> tuple[DcgmProcess, ...]:
        """The processes of a unit."""
        return tuple(process for process in self.dcgm if process.unit == unit)


@dataclass(slots=True)
class _Scan:
    """What is looked up once per scan."""

    proc: Path
    engine_ports: set[int]
    engine_sockets: set[int] = field(default_factory=set)
    tables: dict[str, TcpTable] = field(default_factory=dict)
    peers: Mapping[int, int] | None = None

    def table(self, process: str) -> TcpTable:
        """The TCP table of a process's network namespace."""
        try:
            namespace = os.readlink(f"{self.proc}/{process}/ns/net")
        except OSError:
            namespace = process
        if namespace not in self.tables:
            self.tables[namespace] = tcp_table(self.proc, process)
        return self.tables[namespace]


def scan(host: Host, engine_port: int, *, with_engines: bool = False) -> Processes:
    """Look at all processes.

    Engines are looked for only where there may be clients of them, or if they are asked for.
    """
    proc = host.proc
    mapped: dict[str, int] = {}
    unseen = 0
    for process in _numbers(proc):
        major = _library_major(proc, process)
        if major is None:
            unseen += _is_hidden(proc, process)
        elif major >= 0 and not _is_ours(proc, process):
            mapped[process] = major
    engines = {process for process in mapped if _is_engine(proc, process)}
    if with_engines or len(mapped) > len(engines):
        # A simulated one has no library; that of another user is hidden.
        engines |= {process for process in _numbers(proc) if _is_engine(proc, process)}
    scanned = _Scan(proc, {engine_port} if engine_port else set())
    serving = [engine for engine in engines if engine_port in _note_engine(scanned, engine)]
    found = (
        _dcgm_process(scanned, process, major)
        for process, major in mapped.items()
        if process not in engines
    )
    return Processes(
        tuple(process for process in found if process is not None),
        tuple(map(int, engines)),
        tuple(map(int, serving)),
        unseen,
    )


def _is_engine(proc: Path, process: str) -> bool:
    try:
        with open(f"{proc}/{process}/comm", "rb", buffering=0) as file:
            return file.read(32).rstrip() == _ENGINE
    except OSError:
        return False  # it has ended


def processes_of_unit(host: Host, unit: str) -> tuple[str, ...]:
    """Return the ids of all processes of a unit."""
    return tuple(pid for pid in _numbers(host.proc) if unit_of(host.proc, pid) == unit)


def _numbers(proc: Path) -> Iterator[str]:
    return (entry for entry in os.listdir(proc) if entry.isdigit())


def _library_major(proc: Path, process: str) -> int | None:
    """Return the major release of the mapped libdcgm, -1 without one, None if it is hidden."""
    path = f"{proc}/{process}/maps"
    try:
        with open(path, "rb", buffering=0) as file:
            maps = file.readall()
    except PermissionError:
        return None
    except OSError:
        return -1  # it has ended
    match = _LIBRARY.search(maps) if b"/libdcgm.so" in maps else None
    if match is None:
        return -1
    return int(match[1] or 0)


def _is_hidden(proc: Path, process: str) -> bool:
    """Whether a process that may not be looked into could be one of those sought."""
    return bool(read_bytes(f"{proc}/{process}/cmdline", 1))


def _is_ours(proc: Path, process: str) -> bool:
    """Whether it is the exporter of this package, or a program that asks for it."""
    return unit_of(proc, process) == OWN_SERVICE or any(
        "do_dcgm_exporter" in word or os.path.basename(word).startswith("do-dcgm-exporter")
        for word in _arguments(proc, process)[:4]
    )


def _note_engine(scanned: _Scan, engine: str) -> set[int]:
    """Note the sockets of an engine; return the ports it listens on."""
    try:
        inodes = set(socket_inodes(scanned.proc, engine))
    except OSError:
        return set()
    listening = scanned.table(engine).listening
    ports = {listening[inode] for inode in inodes if inode in listening}
    scanned.engine_ports |= ports
    scanned.engine_sockets |= inodes
    return ports


def _dcgm_process(scanned: _Scan, process: str, major: int) -> DcgmProcess | None:
    proc = scanned.proc
    try:
        inodes = set(socket_inodes(proc, process))
    except OSError:
        return None  # it has ended
    return DcgmProcess(
        int(process),
        command_name(proc, process),
        unit_of(proc, process),
        container_of(proc, process),
        major,
        _is_connected(scanned, process, inodes),
        _elsewhere(proc, process, scanned.engine_ports),
    )


def _is_connected(scanned: _Scan, process: str, inodes: Iterable[int]) -> bool:
    connected = scanned.table(process).connected
    if any(connected.get(inode) in scanned.engine_ports for inode in inodes):
        return True
    if scanned.peers is None:
        scanned.peers = unix_peers() if scanned.engine_sockets else {}
    return any(scanned.peers.get(inode) in scanned.engine_sockets for inode in inodes)


def _elsewhere(proc: Path, process: str, engine_ports: Iterable[int]) -> str:
    """Return the engine that an exporter was told of, if it is none of this host's."""
    if command_name(proc, process) != EXPORTER:
        return ""
    arguments = own_arguments(_arguments(proc, process))
    remote = remote_engine(arguments, environment_of(proc, process)) or ""
    return "" if is_local(remote, engine_ports) else remote


def command_name(proc: Path, process: str) -> str:
    """Return the name of a process's program, or of the script that it runs."""
    name = read_bytes(f"{proc}/{process}/comm", 64).decode("utf-8", "replace").strip()
    words = [os.path.basename(word) for word in _arguments(proc, process)[:4]]
    if EXPORTER in words:
        return EXPORTER
    # The kernel keeps 15 characters.
    return next((word for word in words if name and word.startswith(name)), name)


def _arguments(proc: Path, process: str) -> list[str]:
    text = read_bytes(f"{proc}/{process}/cmdline", 1 << 16)
    return text.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")


def environment_of(proc: Path, process: str) -> dict[str, str]:
    """Return the environment a process was started with, nothing of one that is hidden."""
    text = read_bytes(f"{proc}/{process}/environ", 1 << 20).decode("utf-8", "surrogateescape")
    return {name: value for name, _, value in (line.partition("=") for line in text.split("\0"))}


def unit_of(proc: Path, process: str) -> str:
    """Return the system's service unit of a process, nothing of a container's or a user's."""
    groups = _groups(proc, process)
    if _USER_MANAGER.search(groups) or container_of(proc, process):
        return ""
    units = _UNIT.findall(groups)
    return units[-1] if units else ""


def container_of(proc: Path, process: str) -> str:
    """Return the id of the container of a process, as docker and podman write it."""
    match = _CONTAINER.search(_groups(proc, process))
    return match[1] if match else ""


def _groups(proc: Path, process: str) -> str:
    """Return systemd's control group of a process: cgroup 2, or its hierarchy of version 1."""
    lines = read_bytes(f"{proc}/{process}/cgroup", 1 << 14).decode("utf-8", "replace").splitlines()
    chosen = [line for line in lines if line.startswith("0::") or ":name=systemd:" in line]
    return "\n".join(chosen or lines)
