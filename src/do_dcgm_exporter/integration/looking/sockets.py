"""Who listens and who is connected: /proc/net/tcp, and peers of unix sockets by sock_diag(7)."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from do_dcgm_exporter.integration.host import read_bytes

_ESTABLISHED = b"01"
_LISTENING = b"0A"
_LARGEST_TABLE = 1 << 24

# linux/netlink.h, linux/sock_diag.h, linux/unix_diag.h
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE = 3
_ERROR = 2
_SHOW_PEER = 4
_PEER = 2
_ALL_STATES = 0xFFFFFFFF


@dataclass(frozen=True, slots=True)
class TcpTable:
    """The TCP sockets of one network namespace, by inode.

    ``connected`` gives the port at the other end, ``listening`` the own one.
    """

    connected: Mapping[int, int]
    listening: Mapping[int, int]


def tcp_table(proc: Path, process: str = "self") -> TcpTable:
    """Read the table of the namespace that a process lives in: proc(5), /proc/pid/net."""
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


def socket_inodes(proc: Path, process: str) -> Iterator[int]:
    """Yield the inodes of a process's sockets. Raises PermissionError."""
    directory = f"{proc}/{process}/fd"
    for descriptor in os.listdir(directory):
        try:
            target = os.readlink(f"{directory}/{descriptor}")
        except FileNotFoundError:
            continue  # closed meanwhile
        if target.startswith("socket:["):
            yield int(target[8:-1])


def ports_of(proc: Path, process: str) -> set[int]:
    """Return the ports that a process listens on, none of one that may not be looked into."""
    try:
        inodes = set(socket_inodes(proc, process))
    except OSError:
        return set()
    listening = tcp_table(proc, process).listening
    return {listening[inode] for inode in inodes if inode in listening}


def unix_peers() -> dict[int, int]:
    """Return which unix socket is connected with which, by inode.

    An end in another network namespace is there as the peer of the end in this one.
    Empty where the kernel does not tell.
    """
    request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, _ALL_STATES, 0, _SHOW_PEER, 0, 0)
    header = struct.pack("=IHHII", 16 + len(request), _SOCK_DIAG_BY_FAMILY, _DUMP, 1, 0)
    peers: dict[int, int] = {}
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as diag:
            diag.settimeout(1.0)
            diag.send(header + request)
            while _take_answer(diag.recv(1 << 17), peers):
                pass
    except OSError:
        return peers  # a kernel without unix_diag
    return peers


def _take_answer(data: bytes, peers: dict[int, int]) -> bool:
    """Add what one datagram says; return whether more will come."""
    while len(data) >= 16:
        length, kind = struct.unpack_from("=IH", data)
        if kind in (_DONE, _ERROR) or length < 16:
            return False
        inode = struct.unpack_from("=I", data, 20)[0]
        for attribute, value in _attributes(data[32:length]):
            if attribute == _PEER:
                peer = struct.unpack("=I", value)[0]
                peers[inode] = peer
                peers.setdefault(peer, inode)
        data = data[(length + 3) & ~3 :]
    return True


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:
            return
        yield kind, data[4:length]
        data = data[(length + 3) & ~3 :]
