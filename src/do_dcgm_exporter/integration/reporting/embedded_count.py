"""Count the processes with an embedded DCGM, for a metric of our exporter.

A timer runs this every five minutes, so it imports little and asks little. The exporter may
not look at other processes and reads the count from a file in /run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.changing.files import write_file
from do_dcgm_exporter.integration.changing.running import Busy, Means, alone
from do_dcgm_exporter.integration.deciding.records import Record, records_in
from do_dcgm_exporter.integration.host import COMMAND, Host
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, scan
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView
from do_dcgm_exporter.page.embedded_dcgm import REPORT
from do_dcgm_exporter.sockets import listens

_ENGINE_PORT = 5555
# Longer than a client needs to find an engine that is restarted.
_PAUSE_SECONDS = 10.0


class Count:
    """Two looks at the processes: who has no engine for a moment is accused by neither."""

    def __init__(self, host: Host, sleep: Callable[[float], None] = time.sleep) -> None:
        self._host = host
        self._sleep = sleep
        self._first = self._look()

    def write(self) -> None:
        """Look again if there is somebody to accuse, and write the count."""
        if self._first:
            self._sleep(_PAUSE_SECONDS)
        self.write_second_look()

    def write_second_look(self) -> None:
        """Look again, and write who has an embedded DCGM both times."""
        second, before = self._look(), {process.pid for process in self._first or ()}
        processes = [
            {"pid": one.pid, "command": one.command, "of": one.belongs_to}
            for one in second or ()
            if one.pid in before
        ]
        report = {"time": time.time(), "processes": None if second is None else processes}
        write_file(self._host.path(REPORT), json.dumps(report) + "\n")

    def _look(self) -> list[DcgmProcess] | None:
        """Look, unless there is no engine: then nobody can be told from a client."""
        processes = scan(self._host, _ENGINE_PORT)
        is_known = processes.engines or listens(self._host.proc, _ENGINE_PORT)
        return list(processes.embedded) if is_known else None


def start_proof_if_needed(host: Host, systemd: Systemd) -> None:
    """Have units proven that run unproven, or failed with their drop-in.

    Not while another run is at work: what it leaves unproven is seen the next time.
    """
    ours = records_in(look_at_our_files(host)).ours
    unproven = {unit: one.record for unit, one in ours.items() if not one.record.proven}
    if any(_is_due(systemd.view(unit), record) for unit, record in unproven.items()):
        try:
            with alone(Means(host, lambda *_: None), 0.0):
                systemd.start_later(f"{COMMAND}.service")
        except Busy:
            pass


def _is_due(view: UnitView, record: Record) -> bool:
    return view.is_running or (view.is_in_trouble and view.invocation != record.invocation)


def main(host: Host | None = None) -> int:
    """Count, and return the exit status."""
    host = host or Host()
    try:
        Count(host).write()
        if host.runs_systemd:
            start_proof_if_needed(host, Systemd())
    except (ExporterError, OSError) as error:
        print(f"embedded DCGMs are not counted: {error}", file=sys.stderr)
        return 1
    return 0
