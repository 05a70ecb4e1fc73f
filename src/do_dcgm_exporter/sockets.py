"""Who listens on which TCP port, and who is connected to which: proc(5), /proc/PID/net/tcp."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_ESTABLISHED, _LISTENING = "01", "0A"
_LOCAL, _REMOTE, _STATE, _INODE = 1, 2, 3, 9  # columns


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that listens on a port."""

    command: str
    pid: int

    def __str__(self) -> str:
        return f"{self.command} (pid {self.pid})"


def find_holder(port: int, proc: Path = Path("/proc")) -> Holder | None:
    """Return the process that listens on ``port``, if we may look at its descriptors."""
    wanted = {inode for inode, listened in _listening(proc).items() if listened == port}
    for process in filter(str.isdigit, os.listdir(proc) if wanted else ()):
        try:
            if not wanted.isdisjoint(_inodes(proc, process)):
                command = (proc / process / "comm").read_text().strip()
                return Holder(command, int(process))
        except OSError:
            continue  # gone meanwhile, or not ours to look at
    return None


def listens(proc: Path, port: int) -> bool:
    """Return whether a process listens on a port of this machine."""
    return port in _listening(proc).values()


def ports_of(proc: Path, process: str) -> set[int]:
    """Return the ports that a process listens on, none of one that may not be looked into."""
    try:
        return _ports(proc, process, _table(proc / process, _LISTENING, _LOCAL))
    except OSError:
        return set()


def ports_at_other_ends(proc: Path, process: str) -> set[int]:
    """Return the ports that a process is connected to.

    Raises OSError if it has ended or may not be looked into.
    """
    return _ports(proc, process, _table(proc / process, _ESTABLISHED, _REMOTE))


def _listening(proc: Path) -> dict[int, int]:
    return _table(proc, _LISTENING, _LOCAL)


def _ports(proc: Path, process: str, table: Mapping[int, int]) -> set[int]:
    return {table[inode] for inode in _inodes(proc, process) if inode in table}


def _table(place: Path, state: str, end: int) -> dict[int, int]:
    """Return the ports at one end of all sockets in a state, by inode.

    They are those of the network namespace that a process lives in; ``place`` is its folder in
    /proc, or /proc itself for our own.
    """
    ports = {}
    for table in ("tcp", "tcp6"):
        try:
            lines = (place / "net" / table).read_text().splitlines()[1:]
        except OSError:
            continue  # the kernel has no IPv6, or the process has ended
        for columns in map(str.split, lines):
            if len(columns) > _INODE and columns[_STATE] == state:
                ports[int(columns[_INODE])] = int(columns[end].rpartition(":")[2], 16)
    return ports


def _inodes(proc: Path, process: str) -> Iterator[int]:
    """Yield the inodes of a process's sockets. Raises OSError."""
    directory = f"{proc}/{process}/fd"
    for descriptor in os.listdir(directory):
        try:
            target = os.readlink(f"{directory}/{descriptor}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield int(target[8:-1])
