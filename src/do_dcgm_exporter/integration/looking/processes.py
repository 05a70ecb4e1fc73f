"""Processes that have DCGM's library in them: whether each is a client or an engine of its own."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE, remote_engine
from do_dcgm_exporter.integration.host import OWN_SERVICE, Host, read_bytes
from do_dcgm_exporter.integration.looking.control_groups import Kind, Owner, owner_of
from do_dcgm_exporter.integration.looking.programs import SHELLS, Programs
from do_dcgm_exporter.integration.looking.sockets import (
    TcpTable,
    socket_inodes,
    tcp_table,
    unix_peers,
)

_LIBRARY = re.compile(rb"/libdcgm\.so(?:\.(\d+))?")
_ENGINE = b"nv-hostengine"
# Programs that run another file, which is what their processes are called by.
_INTERPRETER = re.compile(r"python[\d.]*|perl[\d.]*|ruby[\d.]*|busybox")
_TEXT_FOLLOWS = re.compile(r"-[A-Za-z]*[cem]")
_LONGEST_CHAIN = 8


@dataclass(frozen=True, slots=True)
class DcgmProcess:
    """A process that has libdcgm mapped and is neither the engine nor ours.

    ``program`` is its file, or the script that it runs. ``library_major`` is 0 where the
    library's name does not tell it. ``told`` is the engine that an exporter's command line or
    environment names, if any does.
    """

    pid: int
    program: str
    owner: Owner
    library_major: int
    is_client: bool
    told: str | None = None

    @property
    def command(self) -> str:
        """The name of its program."""
        return os.path.basename(self.program)

    @property
    def unit(self) -> str:
        """Its unit, nothing if it belongs to something else."""
        return self.owner.name if self.owner.kind is Kind.UNIT else ""

    @property
    def container(self) -> str:
        """The id of its container."""
        return self.owner.name if self.owner.kind is Kind.CONTAINER else ""

    @property
    def is_embedded(self) -> bool:
        """Whether it runs an engine of its own; a client between two engines does not."""
        return not self.is_client and self.told is None


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

    host: Host
    engine_ports: set[int]
    engine_sockets: set[int] = field(default_factory=set)
    tables: dict[str, TcpTable] = field(default_factory=dict)
    peers: Mapping[int, int] | None = None

    def table(self, process: str) -> TcpTable:
        """The TCP table of a process's network namespace."""
        proc = self.host.proc
        try:
            namespace = os.readlink(f"{proc}/{process}/ns/net")
        except OSError:
            namespace = process
        if namespace not in self.tables:
            self.tables[namespace] = tcp_table(proc, process)
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
    scanned = _Scan(host, {engine_port} if engine_port else set())
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
        inodes = set(socket_inodes(scanned.host.proc, engine))
    except OSError:
        return set()
    listening = scanned.table(engine).listening
    ports = {listening[inode] for inode in inodes if inode in listening}
    scanned.engine_ports |= ports
    scanned.engine_sockets |= inodes
    return ports


def _dcgm_process(scanned: _Scan, process: str, major: int) -> DcgmProcess | None:
    proc = scanned.host.proc
    try:
        inodes = set(socket_inodes(proc, process))
    except OSError:
        return None  # it has ended
    program = program_of(proc, process)
    return DcgmProcess(
        int(process),
        program,
        owner_of(proc, process),
        major,
        _is_connected(scanned, process, inodes),
        _told(scanned.host, process, program),
    )


def _is_connected(scanned: _Scan, process: str, inodes: Iterable[int]) -> bool:
    connected = scanned.table(process).connected
    if any(connected.get(inode) in scanned.engine_ports for inode in inodes):
        return True
    if scanned.peers is None:
        scanned.peers = unix_peers() if scanned.engine_sockets else {}
    return any(scanned.peers.get(inode) in scanned.engine_sockets for inode in inodes)


def _told(host: Host, process: str, program: str) -> str | None:
    """Return the engine that an exporter was told of."""
    environment = environment_of(host.proc, process)
    if not Programs(host).may_be_exporter(program):
        return environment.get(REMOTE_VARIABLE)
    words = _arguments(host.proc, process)
    # argv[0] may be anything; the name of a script comes behind its interpreter's.
    place = words.index(program) if program in words else 0
    return remote_engine(words[place + 1 :], environment)


def program_of(proc: Path, process: str) -> str:
    """Return the path of a process's program, or of the script that it runs."""
    words = _arguments(proc, process)
    try:
        program = os.readlink(f"{proc}/{process}/exe").removesuffix(" (deleted)")
    except OSError:
        program = words[0]  # it is another user's, or a thread of the kernel
    name = os.path.basename(program)
    if name in SHELLS or _INTERPRETER.fullmatch(name):
        options = list(itertools.takewhile(lambda word: word.startswith("-"), words[1:]))
        script = words[len(options) + 1 : len(options) + 2]
        if script and not any(_TEXT_FOLLOWS.fullmatch(option) for option in options):
            program = script[0]
    return program or read_bytes(f"{proc}/{process}/comm", 64).decode("utf-8", "replace").strip()


def only_children(proc: Path, process: int) -> Iterator[tuple[int, str]]:
    """Yield id and program of a process and of its descendants, while each is an only child."""
    for _ in range(_LONGEST_CHAIN):
        yield process, program_of(proc, str(process))
        path = f"{proc}/{process}/task/{process}/children"
        children = read_bytes(path, 1 << 12).split()
        if len(children) != 1:
            return
        process = int(children[0])


def _arguments(proc: Path, process: str) -> list[str]:
    text = read_bytes(f"{proc}/{process}/cmdline", 1 << 16)
    return text.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")


def environment_of(proc: Path, process: str) -> dict[str, str]:
    """Return the environment a process was started with, nothing of one that is hidden."""
    text = read_bytes(f"{proc}/{process}/environ", 1 << 20).decode("utf-8", "surrogateescape")
    return {name: value for name, _, value in (line.partition("=") for line in text.split("\0"))}


def unit_of(proc: Path, process: str) -> str:
    """Return the system's service unit of a process, nothing of a container's or a user's."""
    owner = owner_of(proc, process)
    return owner.name if owner.kind is Kind.UNIT else ""
