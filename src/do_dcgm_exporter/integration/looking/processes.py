"""Processes that use DCGM's library: what each belongs to, and whether it is a client."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE, remote_engine
from do_dcgm_exporter.integration.host import OWN_SERVICE, Host, read_bytes
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.process_owners import Owner, OwnerKind, owner_of
from do_dcgm_exporter.sockets import listens, ports_at_other_ends, ports_of

_LIBRARY = re.compile(rb"/libdcgm\.so(?:\.(\d+))?")
_ENGINE = "nv-hostengine"
_ENGINE_PORT = 5555  # of nvidia-dcgm.service, from whatever package
_LONGEST_COMMAND = 15  # the kernel's TASK_COMM_LEN without the NUL
_LONGEST_CHAIN = 8


@dataclass(frozen=True, slots=True)
class DcgmProcess:
    """A process that has libdcgm mapped and is neither the engine nor ours.

    ``program`` is its file, or the script that it runs. ``library_major`` is 0 if the
    library's name does not say. ``told`` is the engine that an exporter is told to use by its
    command line or environment, if any.
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
    def container(self) -> str:
        """The id of its container."""
        return self.owner.name if self.owner.kind is OwnerKind.CONTAINER else ""

    @property
    def belongs_to(self) -> str:
        """What it belongs to: a unit, a session, a container, or just itself."""
        if self.container:
            return f"container {self.container[:12]}"
        return str(self.owner) or self.command

    @property
    def is_embedded(self) -> bool:
        """Whether it embeds DCGM; a client that waits for its engine does not."""
        return not self.is_client and self.told is None


@dataclass(frozen=True, slots=True)
class Processes:
    """All such processes, and the number of processes that could not be looked into.

    ``engines`` has the ports that each engine's process listens on. Without an engine, a
    process that embeds DCGM looks like a client that waits.
    """

    dcgm: tuple[DcgmProcess, ...] = ()
    engines: Mapping[int, set[int]] = field(default_factory=dict)
    unseen: int = 0
    has_engine: bool = True

    @property
    def embedded(self) -> tuple[DcgmProcess, ...] | None:
        """The processes that embed DCGM, None if that cannot be known."""
        found = tuple(process for process in self.dcgm if process.is_embedded)
        return found if self.has_engine else None


def scan(host: Host, engine_port: int = _ENGINE_PORT) -> Processes:
    """Look at all processes; ``engine_port`` is taken for an engine's even if none is visible."""
    proc = host.proc
    engine_processes: list[str] = []
    majors: dict[str, int] = {}
    unseen = 0
    for process in _numbers(proc):
        if _command(proc, process) == _ENGINE:
            engine_processes.append(process)
            continue
        try:
            library = _LIBRARY.search((proc / process / "maps").read_bytes())
        except PermissionError:
            # Kernel threads have no command line.
            unseen += bool(read_bytes(f"{proc}/{process}/cmdline", 1))
            continue
        except OSError:
            continue  # it has ended
        if library and not _is_ours(proc, process):
            majors[process] = int(library[1] or 0)
    listened = ports_of(proc, engine_processes)
    engines = {int(process): listened.get(process, set()) for process in engine_processes}
    ports, found = {engine_port}.union(*engines.values()), []
    for process, others in ports_at_other_ends(proc, majors).items():
        program, owner = program_of(proc, process), owner_of(proc, process)
        told, is_client = _told(host, process, program), not ports.isdisjoint(others)
        found.append(DcgmProcess(int(process), program, owner, majors[process], is_client, told))
    return Processes(tuple(found), engines, unseen, bool(engines) or listens(proc, engine_port))


def _is_ours(proc: Path, process: str) -> bool:
    """Return whether it is a program of this package."""
    return owner_of(proc, process).unit == OWN_SERVICE or any(
        "do_dcgm_exporter" in word or os.path.basename(word).startswith("do-dcgm-exporter")
        for word in _arguments(proc, process)[:4]
    )


def _told(host: Host, process: str, program: str) -> str | None:
    """Return the engine that an exporter was told to use."""
    text = read_bytes(f"{host.proc}/{process}/environ", 1 << 20).decode("utf-8", "surrogateescape")
    assignments = (line.partition("=") for line in text.split("\0"))
    environment = {name: value for name, _, value in assignments}
    if not Programs(host).may_be_exporter(program):
        return environment.get(REMOTE_VARIABLE)
    words = _arguments(host.proc, process)
    # argv[0] may be anything; a script's name comes after its interpreter's.
    place = words.index(program) if program in words else 0
    return remote_engine(words[place + 1 :], environment)


def program_of(proc: Path, process: str) -> str:
    """Return the path of a process's program, or of the script that was executed.

    The kernel names a process after the file that was executed, even if that was a script.
    """
    words = _arguments(proc, process)
    command = _command(proc, process)
    try:
        program = os.readlink(f"{proc}/{process}/exe").removesuffix(" (deleted)")
    except OSError:
        return words[0] or command  # another user's, or a kernel thread
    paths = (program, *words[1:])
    names = (os.path.basename(path)[:_LONGEST_COMMAND] for path in paths)
    return next((path for path, name in zip(paths, names) if name == command), program)


def _command(proc: Path, process: str) -> str:
    return read_bytes(f"{proc}/{process}/comm", 64).decode("utf-8", "replace").rstrip("\n")


def only_children(proc: Path, process: int) -> Iterator[tuple[int, str]]:
    """Yield id and program of a process and its descendants, as long as each is an only child."""
    for _ in range(_LONGEST_CHAIN):
        yield process, program_of(proc, str(process))
        path = f"{proc}/{process}/task/{process}/children"
        children = read_bytes(path, 1 << 12).split()
        if len(children) != 1:
            return
        process = int(children[0])


def processes_of_unit(host: Host, unit: str) -> tuple[str, ...]:
    """Return the ids of all processes of a unit."""
    return tuple(pid for pid in _numbers(host.proc) if owner_of(host.proc, pid).unit == unit)


def _numbers(proc: Path) -> Iterator[str]:
    return (entry for entry in os.listdir(proc) if entry.isdigit())


def _arguments(proc: Path, process: str) -> list[str]:
    text = read_bytes(f"{proc}/{process}/cmdline", 1 << 16)
    return text.decode("utf-8", "surrogateescape").rstrip("\0").split("\0")
