"""The services that are clients of the engine, named before it is stopped.

NVIDIA's exporter exits when its engine goes, and its unit does not start it again. A unit
with our drop-in comes back by itself.
"""

from __future__ import annotations

import os
from collections.abc import Collection

from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files
from do_dcgm_exporter.integration.looking.processes import unit_of
from do_dcgm_exporter.integration.looking.sockets import socket_inodes, tcp_table

_ENGINE_PORT = 5555  # of nvidia-dcgm.service, whoever provides it


def main(host: Host | None = None) -> int:
    """Print their names, one a line."""
    for unit in client_units(host or Host()):
        print(unit)
    return 0


def client_units(host: Host) -> tuple[str, ...]:
    """Return the services that are connected to the engine, without ours and without drop-in.

    Only those in the network of this process: in another one the port is somebody else's.
    """
    table = tcp_table(host.proc).connected
    connected = {inode for inode, port in table.items() if port == _ENGINE_PORT}
    if not connected:
        return ()
    found = {
        unit_of(host.proc, process)
        for process in filter(str.isdigit, os.listdir(host.proc))
        if _has_socket(host, process, connected)
    }
    drop_ins = look_at_our_files(host).drop_ins
    ours = {unit for unit, text in drop_ins.items() if not text.startswith("->")}
    return tuple(sorted(found - ours - {"", OWN_SERVICE, ENGINE_SERVICE}))


def _has_socket(host: Host, process: str, sought: Collection[int]) -> bool:
    try:
        return any(inode in sought for inode in socket_inodes(host.proc, process))
    except OSError:
        return False  # it has ended
