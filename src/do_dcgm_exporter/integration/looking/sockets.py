"""Who listens on which TCP port, and who is connected to which: proc(5), /proc/PID/net/tcp."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from do_dcgm_exporter.integration.host import read_bytes

_ESTABLISHED, _LISTENING = b"01", b"0A"
_LOCAL, _REMOTE, _STATE, _INODE = 1, 2, 3, 9  # columns
_LARGEST_TABLE = 1 << 24


def listens(proc: Path, port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    return port in _table(proc, "self", _LISTENING, _LOCAL).values()


def ports_of(proc: Path, process: str) -> set[int]:
    """Return the ports that a process listens on, none of one that may not be looked into."""
    try:
        return _ports(proc, process, _table(proc, process, _LISTENING, _LOCAL))
    except OSError:
        return set()


def ports_at_other_ends(proc: Path, process: str) -> set[int]:
    """Return the ports that a process is connected to.

    Raises OSError if it has ended or may not be looked into.
    """
    return _ports(proc, process, _table(proc, process, _ESTABLISHED, _REMOTE))


def _ports(proc: Path, process: str, table: Mapping[int, int]) -> set[int]:
    return {table[inode] for inode in _inodes(proc, process) if inode in table}


def _table(proc: Path, process: str, state: bytes, end: int) -> dict[int, int]:
    """Return the ports at one end of all sockets in a state, by inode.

    They are those of the network namespace that the process lives in.
    """
    ports = {}
    for table in ("tcp", "tcp6"):
        for line in read_bytes(f"{proc}/{process}/net/{table}", _LARGEST_TABLE).splitlines()[1:]:
            columns = line.split()
            if len(columns) > _INODE and columns[_STATE] == state:
                ports[int(columns[_INODE])] = int(columns[end].rpartition(b":")[2], 16)
    return ports


def _inodes(proc: Path, process: str) -> Iterator[int]:
    """Yield the inodes of a process's sockets."""
    directory = f"{proc}/{process}/fd"
    for descriptor in os.listdir(directory):
        try:
            target = os.readlink(f"{directory}/{descriptor}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield int(target[8:-1])
