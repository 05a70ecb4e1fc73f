"""The file under /run that tells the exporter how many embedded DCGMs run beside it."""

from __future__ import annotations

import json
import time

from do_dcgm_exporter.embedded_dcgm import REPORT
from do_dcgm_exporter.integration.changing.files import write_file
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes
from do_dcgm_exporter.integration.looking.sockets import listens


def write_report(host: Host, processes: Processes, engine_port: int) -> tuple[DcgmProcess, ...]:
    """Write what runs now; return the processes with an engine of their own.

    Without an engine nobody can be its client: nothing is told then, for nothing is known.
    """
    known = listens(host.proc, engine_port)
    found = processes.embedded if known else ()
    report = {
        "time": time.time(),
        "processes": [
            {"pid": process.pid, "command": process.command, "of": owner_of(process)}
            for process in found
        ]
        if known
        else None,
    }
    write_file(host.path(REPORT), json.dumps(report) + "\n")
    return found


def owner_of(process: DcgmProcess) -> str:
    """Return what a process belongs to: its unit, its container, or itself."""
    if process.unit:
        return process.unit
    return f"container {process.container[:12]}" if process.container else process.command


def origin_of(process: DcgmProcess) -> str:
    """Say where a process comes from: without a unit or a container, from a person's session."""
    return owner_of(process) if process.unit or process.container else "started by hand"
