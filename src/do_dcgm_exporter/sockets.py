"""Who listens on which TCP port, and who is connected to which: proc(5), /proc/PID/net/tcp."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
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


def ports_of(proc: Path, processes: Iterable[str]) -> dict[str, set[int]]:
    """Return the ports that processes listen on.

    Those that have ended or may not be looked into are left out.
    """
    return _ports(proc, processes, _LISTENING, _LOCAL)


def ports_at_other_ends(proc: Path, processes: Iterable[str]) -> dict[str, set[int]]:
    """Return the ports that processes are connected to.

    Those that have ended or may not be looked into are left out.
    """
    return _ports(proc, processes, _ESTABLISHED, _REMOTE)


def _listening(proc: Path) -> dict[int, int]:
    try:
        return _table(proc, _LISTENING, _LOCAL)
    except FileNotFoundError:
        return {}  # /proc is not mounted, as in a bare chroot


def _ports(proc: Path, processes: Iterable[str], state: str, end: int) -> dict[str, set[int]]:
    """Return the ports at one end of each process's sockets in a state.

    For every reading the kernel walks all buckets of its connections, of which a large host has
    half a million. So a namespace's table is read once, after the sockets have been listed.
    """
    inodes = {}
    for process in processes:
        with suppress(OSError):
            inodes[process] = frozenset(_inodes(proc, process))
    tables: dict[str, dict[int, int]] = {}
    ports = {}
    for process, own in inodes.items():
        with suppress(OSError):
            namespace = os.readlink(proc / process / "ns" / "net")
            table = tables.get(namespace)
            if table is None:
                table = _table(proc / process, state, end)
                os.readlink(proc / process / "ns" / "net")  # else it has ended, amid its two tables
                tables[namespace] = table
            ports[process] = {table[inode] for inode in own if inode in table}
    return ports


def _table(place: Path, state: str, end: int) -> dict[int, int]:
    """Return the ports at one end of all sockets in a state, by inode.

    They are those of the network namespace that a process lives in; ``place`` is its folder in
    /proc, or /proc itself for our own. Raises OSError if the process has ended.
    """
    text = (place / "net" / "tcp").read_text()
    with suppress(FileNotFoundError):  # the kernel has no IPv6
        text += (place / "net" / "tcp6").read_text()
    ports = {}
    for columns in map(str.split, text.splitlines()):
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
