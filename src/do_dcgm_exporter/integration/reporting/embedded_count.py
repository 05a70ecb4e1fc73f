"""Count the processes with an embedded DCGM, for a metric of our exporter.

A timer runs this every five minutes, so it imports little and asks little. The exporter may
not look at other processes and reads the count from a file in /run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence

from do_dcgm_exporter.embedded_dcgm import REPORT
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.changing.files import write_file
from do_dcgm_exporter.integration.changing.lock import is_locked
from do_dcgm_exporter.integration.deciding.record import Record
from do_dcgm_exporter.integration.deciding.records import records_in
from do_dcgm_exporter.integration.host import COMMAND, Host
from do_dcgm_exporter.integration.looking.our_files import look_at_our_files
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes, scan
from do_dcgm_exporter.integration.looking.sockets import listens
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView

_ENGINE_PORT = 5555
# Longer than a client needs to find an engine that is restarted.
_PAUSE_SECONDS = 10.0


class Count:
    """Two looks at the processes: who has no engine for a moment is accused by neither."""

    def __init__(self, host: Host, sleep: Callable[[float], None] = time.sleep) -> None:
        self._host = host
        self._sleep = sleep
        self._first = self._look()

    def write(self) -> tuple[DcgmProcess, ...]:
        """Look again if there is somebody to accuse, write the count, and return those."""
        if self._first and self._first.embedded:
            self._sleep(_PAUSE_SECONDS)
            return self.write_second_look()
        return self._write(self._first, ())

    def write_second_look(self) -> tuple[DcgmProcess, ...]:
        """Look again, and write who has an embedded DCGM both times."""
        second = self._look()
        before = {process.pid for process in self._first.embedded} if self._first else set()
        found = second.embedded if second else ()
        return self._write(second, tuple(one for one in found if one.pid in before))

    def _look(self) -> Processes | None:
        """Look, unless there is no engine: then nobody can be told from a client."""
        processes = scan(self._host, _ENGINE_PORT)
        is_known = processes.engines or listens(self._host.proc, _ENGINE_PORT)
        return processes if is_known else None

    def _write(
        self, seen: Processes | None, found: Sequence[DcgmProcess]
    ) -> tuple[DcgmProcess, ...]:
        entries = [
            {"pid": process.pid, "command": process.command, "of": owner_of(process)}
            for process in found
        ]
        report = {"time": time.time(), "processes": entries if seen else None}
        write_file(self._host.path(REPORT), json.dumps(report) + "\n")
        return tuple(found)


def owner_of(process: DcgmProcess) -> str:
    """Return what a process belongs to: a unit, a session, a container, or nothing but itself."""
    if process.container:
        return f"container {process.container[:12]}"
    return process.owner.name or process.command


def start_proof_if_needed(host: Host, systemd: Systemd) -> None:
    """Have units proven that run unproven, or failed with their drop-in.

    Not while another run is at work: what it leaves unproven is seen the next time.
    """
    records = {unit: one.record for unit, one in records_in(look_at_our_files(host)).ours.items()}
    unproven = [unit for unit, record in records.items() if not record.proven]
    if any(_is_due(systemd.view(unit), records[unit]) for unit in unproven) and not is_locked(host):
        systemd.start_later(f"{COMMAND}.service")


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
