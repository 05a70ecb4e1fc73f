"""Tell systemd how the service is doing, by the protocol of sd_notify(3)."""

from __future__ import annotations

import logging
import os
import socket
import time

_log = logging.getLogger(__name__)

READY = "READY=1"
STOPPING = "STOPPING=1"
WATCHDOG = "WATCHDOG=1"

# A manager that does not read its socket must not block us for longer.
_SEND_TIMEOUT = 1.0


def notify(*states: str) -> None:
    """Send ``states`` in one message; without a service manager do nothing."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket, as systemd spells it
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(_SEND_TIMEOUT)
            channel.sendto("\n".join(states).encode(), address)
    except OSError as error:
        _log.debug("the service manager was not told %s: %s", states, error)


def reloading() -> str:
    """Return the state that begins a reload; READY ends it (Type=notify-reload)."""
    return f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}"


def status(text: str) -> str:
    """Return the state that shows ``text`` in ``systemctl status``, on one line."""
    return "STATUS=" + " ".join(text.split())


def watchdog_interval() -> float | None:
    """Return the seconds within which systemd expects WATCHDOG, or None if it does not.

    Ping at half of it, as sd_watchdog_enabled(3) advises.
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    microseconds = os.environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or int(microseconds) == 0:
        return None
    return int(microseconds) / 1e6
