"""Open listening sockets, and find out who has the port if that fails."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import Any

from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.sockets import find_holder

# The errors of a host without IPv6, or without one of the addresses of a name.
_ABSENT = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL})


class CannotListen(ExporterError):
    """Raised when the address cannot be listened on."""


class PortTaken(CannotListen):
    """Raised when another process listens on the port already."""


def listen(address: ListenAddress, *, proc: Path = Path("/proc")) -> list[socket.socket]:
    """Listen on ``address``: on IPv4 and IPv6 when it has no host, on all of a name's addresses."""
    try:
        return _listen_on(address) if address.host else [_listen_everywhere(address.port)]
    except socket.gaierror as error:
        raise CannotListen(
            f"cannot listen on {address}: {error.strerror}; see --address"
        ) from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise _port_taken(address, proc) from error
        # Not the error's own text, to which create_server() adds the address in its own form.
        reason = os.strerror(error.errno or 0)
        raise CannotListen(f"cannot listen on {address}: {reason}; see --address") from error


def _port_taken(address: ListenAddress, proc: Path) -> PortTaken:
    holder = find_holder(address.port, proc) or "another process"
    return PortTaken(
        f"cannot listen on {address}: port {address.port} is taken by {holder}; "
        "stop it or choose another --address"
    )


def _listen_everywhere(port: int) -> socket.socket:
    """Listen on one socket for both families, or on IPv4 where the kernel has no IPv6."""
    if socket.has_dualstack_ipv6():
        try:
            return socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
        except OSError as error:
            if error.errno not in _ABSENT:
                raise
    return socket.create_server(("0.0.0.0", port))


def _listen_on(address: ListenAddress) -> list[socket.socket]:
    """Listen on all addresses of the host that this machine has, with the same port."""
    listeners: list[socket.socket] = []
    port, absent = address.port, None
    try:
        for family, resolved in _resolve(address):
            try:
                listeners.append(
                    socket.create_server((resolved[0], port, *resolved[2:]), family=family)
                )
            except OSError as error:
                if error.errno not in _ABSENT:
                    raise
                absent = error
            else:
                port = listeners[0].getsockname()[1]
        if absent and not listeners:
            raise absent
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners


def _resolve(address: ListenAddress) -> list[tuple[socket.AddressFamily, tuple[Any, ...]]]:
    found = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )
    return [(family, resolved) for family, _, _, _, resolved in found]
