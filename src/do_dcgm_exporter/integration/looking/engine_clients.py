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
    """Print the services that are clients, without ours and those with a drop-in, one a line."""
    host = host or Host()
    clients = {process.unit for process in scan(host, _ENGINE_PORT).dcgm if process.is_client}
    drop_ins = look_at_our_files(host).drop_ins
    ours = {unit for unit, text in drop_ins.items() if not text.startswith("->")}
    for unit in sorted(clients - ours - {"", OWN_SERVICE, ENGINE_SERVICE}):
        print(unit)
    return 0
