"""Whether an exporter came back: active, a client, and serving metrics on its own port."""

from __future__ import annotations

import time
from collections.abc import Callable

from do_dcgm_exporter.integration import exporter_arguments
from do_dcgm_exporter.integration.changing.running import Means
from do_dcgm_exporter.integration.deciding.exporter import Form, UnitExporter
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.processes import processes_of_unit, scan
from do_dcgm_exporter.integration.looking.web import Served, scrape
from do_dcgm_exporter.sockets import find_holder, ports_of

_POLL_SECONDS = 0.5
# Restarted by systemd so often, it will not stay up.
_MOST_RESTARTS = 3


class Proof:
    """An exporter whose coming back as a client is waited for."""

    def __init__(self, means: Means, exporter: UnitExporter, engine_port: int) -> None:
        self._means = means
        self._unit, self._log = exporter.name, exporter.view.log
        self._engine_port = engine_port
        arguments, environment = exporter.command.arguments, exporter.command.environment
        self._is_container = exporter.command.form is Form.CONTAINER
        self._address, self._port = exporter_arguments.listen_address(arguments, environment)
        self._tls = exporter_arguments.serves_tls(arguments, environment)
        # Release 3 has an empty page for an interval.
        self._is_slow = (
            2 * exporter_arguments.collect_interval(arguments, environment) > means.proof_seconds
        )
        self._restarts_before = 0

    def is_given(self) -> bool:
        """Return whether it is a client that serves metrics at this moment."""
        return not self._look(Served.METRICS)[0]

    def restart_and_wait(self, clock: Callable[[], float] = time.monotonic) -> str:
        """Restart it and wait until it is back; return why it is not.

        It has to serve as much as before in the end, if it had the time.
        """
        means, end = self._means, clock() + self._means.proof_seconds
        in_the_end = Served.METRICS
        if self._is_slow or self._served() is not Served.METRICS:
            in_the_end = Served.EMPTY_PAGE
        try:
            means.systemd.restart(self._unit, means.proof_seconds)
            self._restarts_before = means.systemd.view(self._unit).restarts
        except CommandFailed as error:
            return str(error)
        while True:
            late = clock() >= end
            obstacle, is_final = self._look(in_the_end if late else Served.METRICS)
            if late or is_final:
                return obstacle
            means.sleep(_POLL_SECONDS)

    def _look(self, enough: Served) -> tuple[str, bool]:
        """Say what speaks against it, nothing if it is back; and whether waiting is in vain."""
        try:
            view = self._means.systemd.view(self._unit)
        except CommandFailed as error:
            return str(error), False  # too busy to answer is no sign of anything
        restarts = view.restarts - self._restarts_before
        if view.active_state == "failed" or restarts >= _MOST_RESTARTS:
            return f"it exits as a client: {self._log}", True
        if not view.is_running:
            return f"it does not stay up as a client: {self._log}", False
        if self._served() < enough:
            return f"it does not serve metrics after {self._means.proof_seconds:g} s", False
        if not self._is_client():
            return "it still runs an engine of its own: the setting does not reach it", False
        return "", True

    def _served(self) -> Served:
        """Ask it for its metrics, on every port that its processes listen on."""
        proc = self._means.host.proc
        ports = {port for pid in self._pids() for port in ports_of(proc, pid)}
        address = self._address or "127.0.0.1"
        found = (scrape(address, port, tls=self._tls) for port in sorted(ports))
        return max(found, default=Served.NOTHING)

    def _is_client(self) -> bool:
        pids = {int(pid) for pid in self._pids()}
        found = scan(self._means.host, self._engine_port).dcgm
        return all(process.is_client for process in found if process.pid in pids)

    def _pids(self) -> tuple[str, ...]:
        """Return its processes; those of a container are another unit's."""
        pids = processes_of_unit(self._means.host, self._unit)
        holder = find_holder(self._port, self._means.host.proc) if self._is_container else None
        return (*pids, str(holder.pid)) if holder else pids
