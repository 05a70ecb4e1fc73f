"""Who listens on which TCP port, and who is connected to which: proc(5), /proc/PID/net/tcp."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from do_dcgm_exporter.integration.host import read_bytes

_ESTABLISHED = b"01"
_LISTENING = b"0A"
_LARGEST_TABLE = 1 << 24


@dataclass(frozen=True, slots=True)
class TcpTable:
    """The TCP sockets of one network namespace, by inode.

    ``connected`` gives the port at the other end, ``listening`` the own one.
    """

    connected: Mapping[int, int]
    listening: Mapping[int, int]


def tcp_table(proc: Path, process: str = "self") -> TcpTable:
    """Read the table of the network namespace that a process lives in."""
    connected: dict[int, int] = {}
    listening: dict[int, int] = {}
    for table in ("tcp", "tcp6"):
        for line in read_bytes(f"{proc}/{process}/net/{table}", _LARGEST_TABLE).splitlines()[1:]:
            columns = line.split()
            if len(columns) < 10:
                continue
            if columns[3] == _ESTABLISHED:
                connected[int(columns[9])] = _port(columns[2])
            elif columns[3] == _LISTENING:
                listening[int(columns[9])] = _port(columns[1])
    return TcpTable(connected, listening)


def _port(address: bytes) -> int:
    return int(address.rpartition(b":")[2], 16)


def listens(proc: Path, port: int) -> bool:
    """Whether somebody listens on a port of this machine."""
    return port in tcp_table(proc).listening.values()


def ports_of(proc: Path, process: str) -> set[int]:
    """Return the ports that a process listens on, none of one that may not be looked into."""
    try:
        return _ports(tcp_table(proc, process).listening, proc, process)
    except OSError:
        return set()


def ports_at_other_ends(proc: Path, process: str) -> set[int]:
    """Return the ports that a process is connected to.

    Raises OSError if it has ended or may not be looked into.
    """
    return _ports(tcp_table(proc, process).connected, proc, process)


def _ports(by_inode: Mapping[int, int], proc: Path, process: str) -> set[int]:
    return {by_inode[inode] for inode in socket_inodes(proc, process) if inode in by_inode}


def socket_inodes(proc: Path, process: str) -> Iterator[int]:
    """Yield the inodes of a process's sockets. Raises OSError if it may not be looked into."""
    directory = f"{proc}/{process}/fd"
    for descriptor in os.listdir(directory):
        try:
            target = os.readlink(f"{directory}/{descriptor}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield int(target[8:-1])
