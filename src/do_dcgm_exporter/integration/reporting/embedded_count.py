"""Count the processes with an embedded DCGM, for a metric of our exporter.

A timer runs this every five minutes, so it imports and asks as little as possible. The exporter
itself may not look at other processes; it reads the count from a file in /run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.changing.files import write_file
from do_dcgm_exporter.integration.deciding.records import Record, records_in
from do_dcgm_exporter.integration.host import COMMAND, Host
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, scan
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.page.embedded_dcgm import REPORT

# Longer than a client takes to find a restarted engine.
_PAUSE_SECONDS = 10.0


def write_count(host: Host, first: Sequence[DcgmProcess] | None) -> None:
    """Look again, and write down the processes that embed DCGM both times.

    This spares clients that are without an engine for a moment.
    """
    second, before = scan(host).embedded, {process.pid for process in first or ()}
    processes = [
        {"pid": one.pid, "command": one.command, "of": one.belongs_to}
        for one in second or ()
        if one.pid in before
    ]
    report = {"time": time.time(), "processes": None if second is None else processes}
    write_file(host.path(REPORT), json.dumps(report) + "\n")


def start_proof_if_needed(host: Host) -> None:
    """Start the proof of units that run unproven, or that failed with their drop-in."""
    drop_ins = records_in(look_at_our_files(host)).ours.items()
    unproven = {unit: ours.record for unit, ours in drop_ins if not ours.record.proven}
    if any(_is_due(systemd.view(unit), record) for unit, record in unproven.items()):
        systemd.start_later(f"{COMMAND}.service")


def _is_due(view: UnitView, record: Record) -> bool:
    return view.is_running or (view.is_in_trouble and view.invocation != record.invocation)


def main(host: Host | None = None, sleep: Callable[[float], None] = time.sleep) -> int:
    """Write the count, and return the exit status."""
    host = host or Host()
    try:
        if first := scan(host).embedded:
            sleep(_PAUSE_SECONDS)
        write_count(host, first)
        if host.runs_systemd:
            start_proof_if_needed(host)
    except (ExporterError, OSError) as error:
        print(f"embedded DCGMs are not counted: {error}", file=sys.stderr)
        return 1
    return 0
