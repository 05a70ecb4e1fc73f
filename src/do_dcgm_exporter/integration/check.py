"""``check``: what is on this machine, and what is wrong with it."""

from __future__ import annotations

from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.processes import scan


def check(host: Host, *, as_json: bool) -> int:
    """Print what is found; return 1 with problems."""
    found = scan(host, 5555).embedded
    for process in found:
        print(f"{process.command} (pid {process.pid}) has a DCGM of its own")
    return int(bool(found) and not as_json)
