"""The network of a machine: a namespace with loopback, which has the metadata address, too."""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

CLONE_NEWNET = 0x40000000  # sched.h

# With a small table of connections of its own: a look at who listens on a port walks through all
# of it, and the host's has a quarter of a million entries. Linux before 6.1 has no such setting.
ADD = """
setting=/proc/sys/net/ipv4/tcp_child_ehash_entries
[ ! -w $setting ] || echo 1024 >$setting
exec ip netns add "$1"
"""


class Network:
    """A network namespace, by its name."""

    def __init__(self, name: str) -> None:
        """Add it."""
        self.path = Path("/run/netns", name)
        subprocess.run(["unshare", "--net", "sh", "-c", ADD, "sh", name], check=True)
        for command in ("link set lo up", "addr add 169.254.169.254/32 dev lo"):
            subprocess.run(["ip", "-n", name, *command.split()], check=True)

    def listen(self, address: str, port: int) -> socket.socket:
        """Return a socket of this process that listens on an address in there."""
        return self._in_there(lambda: socket.create_server((address, port)))

    def connect(self, port: int) -> socket.socket:
        """Return a connection of this process to a port in there. Raises OSError."""
        return self._in_there(lambda: socket.create_connection(("127.0.0.1", port), 5.0))

    def delete(self) -> None:
        """Delete it, if it is still there."""
        subprocess.run(["ip", "netns", "delete", self.path.name], check=False)

    def _in_there(self, make: Callable[[], socket.socket]) -> socket.socket:
        def make_in_there() -> socket.socket:
            with self.path.open() as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), CLONE_NEWNET):
                    raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), "setns")
            return make()

        # Only its thread moves there.
        with ThreadPoolExecutor(max_workers=1) as executor:
            return executor.submit(make_in_there).result()
