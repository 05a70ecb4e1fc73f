"""Whether an exporter came back: active, a client, and serving metrics on its own port."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from do_dcgm_exporter.integration.changing.means import Means
from do_dcgm_exporter.integration.deciding.exporter import Form, UnitExporter
from do_dcgm_exporter.integration.exporter_arguments import (
    collect_interval,
    listen_address,
    serves_tls,
)
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.processes import processes_of_unit, scan
from do_dcgm_exporter.integration.looking.sockets import socket_inodes, tcp_table
from do_dcgm_exporter.integration.looking.web import Served, scrape
from do_dcgm_exporter.port_holder import find_holder

_POLL_SECONDS = 0.5
# Restarted by systemd so often, it will not stay up.
_MOST_RESTARTS = 3


@dataclass(frozen=True, slots=True)
class _Seen:
    """What speaks against it, nothing if it is back; and whether waiting changes nothing."""

    obstacle: str
    is_final: bool = False


class Watched:
    """An exporter whose coming back as a client is waited for."""

    def __init__(self, means: Means, exporter: UnitExporter, engine_port: int) -> None:
        self._means = means
        self._unit = exporter.name
        self._engine_port = engine_port
        command = exporter.command
        arguments = command.arguments if command else ()
        environment = command.environment if command else {}
        self._is_container = command is not None and command.form is Form.CONTAINER
        self._address, self._port = listen_address(arguments, environment)
        self._tls = serves_tls(arguments, environment)
        # Release 3 has an empty page for an interval.
        self._is_slow = 2 * collect_interval(arguments, environment) > means.proof_seconds
        self._served_before = Served.NOTHING
        self._restarts_before = 0

    def note(self) -> None:
        """Note what it serves before it is touched."""
        self._served_before = self.served()

    def is_back(self) -> bool:
        """Whether it is a client that serves metrics at this moment."""
        return not self._look(Served.METRICS).obstacle

    def restart_and_wait(self, clock: Callable[[], float] = time.monotonic) -> str:
        """Restart it and wait until it is back; return why it is not."""
        end = clock() + self._means.proof_seconds
        try:
            view = self._means.systemd.view(self._unit)
            self._means.restart(view, self._means.proof_seconds)
            self._restarts_before = self._means.systemd.view(self._unit).restarts
        except CommandFailed as error:
            return str(error)
        while True:
            late = clock() >= end
            seen = self._look(self._enough(late))
            if late or seen.is_final:
                return seen.obstacle
            self._means.pace.sleep(_POLL_SECONDS)

    def _enough(self, late: bool) -> Served:
        """Return what it has to serve: in the end as much as before, if it had the time."""
        if late and (self._is_slow or self._served_before is not Served.METRICS):
            return Served.EMPTY_PAGE
        return Served.METRICS

    def _look(self, enough: Served) -> _Seen:
        try:
            view = self._means.systemd.view(self._unit)
        except CommandFailed as error:
            return _Seen(str(error))  # too busy to answer is no sign of anything
        restarts = view.restarts - self._restarts_before
        if view.active_state == "failed" or restarts >= _MOST_RESTARTS:
            return _Seen(f"it exits as a client: journalctl -u {self._unit}", is_final=True)
        if not view.is_running:
            return _Seen(f"it does not stay up as a client: journalctl -u {self._unit}")
        if self.served() < enough:
            return _Seen(f"it does not serve metrics after {self._means.proof_seconds:g} s")
        if not self._is_client():
            return _Seen("it still runs an engine of its own: the setting does not reach it")
        return _Seen("", is_final=True)

    def served(self) -> Served:
        """Ask it for its metrics, on every port that it has."""
        address = self._address or "127.0.0.1"
        found = (scrape(address, port, tls=self._tls) for port in sorted(self._ports()))
        return max(found, default=Served.NOTHING)

    def _is_client(self) -> bool:
        pids = {int(pid) for pid in self._pids()}
        found = scan(self._means.host, self._engine_port).dcgm
        return all(process.is_client for process in found if process.pid in pids)

    def _pids(self) -> tuple[str, ...]:
        """Return its processes; those of a container are another unit's."""
        proc = self._means.host.proc
        pids = processes_of_unit(self._means.host, self._unit)
        holder = find_holder(self._port, proc) if self._is_container else None
        return (*pids, str(holder.pid)) if holder else pids

    def _ports(self) -> set[int]:
        """Return the ports that its processes listen on."""
        proc = self._means.host.proc
        ports: set[int] = set()
        for pid in self._pids():
            try:
                inodes = set(socket_inodes(proc, pid))
            except OSError:
                continue  # it has ended, or is not ours to look at
            listening = tcp_table(proc, pid).listening
            ports |= {listening[inode] for inode in inodes if inode in listening}
        return ports
