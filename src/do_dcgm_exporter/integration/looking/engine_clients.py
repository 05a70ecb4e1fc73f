"""The services that are clients of the engine, named before it is stopped.

NVIDIA's exporter exits when its engine goes, and its unit does not start it again. A unit
with our drop-in comes back by itself.
"""

from __future__ import annotations

from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files
from do_dcgm_exporter.integration.looking.processes import scan

_ENGINE_PORT = 5555  # of nvidia-dcgm.service, whoever provides it


def main(host: Host | None = None) -> int:
    """Print their names, one a line."""
    for unit in client_units(host or Host()):
        print(unit)
    return 0


def client_units(host: Host) -> tuple[str, ...]:
    """Return the services that are connected to an engine, without ours and without drop-in."""
    found = {process.unit for process in scan(host, _ENGINE_PORT).dcgm if process.is_client}
    drop_ins = look_at_our_files(host).drop_ins
    ours = {unit for unit, text in drop_ins.items() if not text.startswith("->")}
    return tuple(sorted(found - ours - {"", OWN_SERVICE, ENGINE_SERVICE}))
