"""Whether an exporter came back: active, a client, and serving metrics on its own port."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from do_dcgm_exporter.integration.deciding.exporter_command import Form
from do_dcgm_exporter.integration.exporter_arguments import (
    collect_interval,
    listen_address,
    serves_tls,
)
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.exporters import UnitExporter
from do_dcgm_exporter.integration.looking.processes import processes_of_unit, scan
from do_dcgm_exporter.integration.looking.scrape import Served, scrape
from do_dcgm_exporter.integration.looking.sockets import socket_inodes, tcp_table
from do_dcgm_exporter.integration.looking.systemd import Systemd
from do_dcgm_exporter.port_holder import find_holder

_POLL_SECONDS = 0.5
_SECONDS_AS_BEFORE = 15.0
_LONGEST_EMPTY = 120.0
_CONTAINERS = frozenset({Form.CONTAINER, Form.CONTAINER_SCRIPT, Form.CONTAINER_START})
# Restarted by systemd so often, it will not stay up.
_MOST_RESTARTS = 3


class Watched:
    """An exporter whose coming back as a client is waited for."""

    def __init__(
        self,
        host: Host,
        systemd: Systemd,
        exporter: UnitExporter,
        engine_port: int,
        *,
        shortest_wait: float,
    ) -> None:
        self._host = host
        self._systemd = systemd
        self._unit = exporter.name
        self._engine_port = engine_port
        arguments, environment = _how_it_runs(exporter)
        command = exporter.command
        self._is_container = command is not None and command.form in _CONTAINERS
        self._address, self._port = listen_address(arguments, environment)
        self._tls = serves_tls(arguments, environment)
        self._seconds = max(shortest_wait, 2 * collect_interval(arguments, environment))
        self._served_before = Served.NOTHING

    def note(self) -> None:
        """Look at it before it is touched.

        One that has just been started may serve an empty page for an interval; metrics are
        waited for, but at the end an empty page is enough if there were none before.
        """
        self._served_before = self.served()

    def is_back(self) -> bool:
        """Whether it is a client that serves metrics at this moment."""
        is_running = self._systemd.view(self._unit).is_running
        return is_running and self.served() is Served.METRICS and not self.why_no_client()

    def wait(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> str:
        """Wait until it is a client that serves metrics; return why it is not."""
        begun = clock()
        end = begun + self._seconds
        while True:
            try:
                view = self._systemd.view(self._unit)
            except CommandFailed as error:
                # Too busy to answer is no reason to give up an exporter that may be well.
                if clock() >= end:
                    return str(error)
                continue
            if view.active_state == "failed" or view.restarts >= _MOST_RESTARTS:
                return f"it exits as a client: journalctl -u {self._unit}"
            served = self.served() if view.is_running else Served.NOTHING
            late = clock() >= end
            enough = self._enough(clock() - begun, late)
            obstacle = ""
            if view.is_running and served >= enough:
                obstacle = self.why_no_client()
                if not obstacle:
                    return ""
            if late:
                return obstacle or f"it does not serve metrics after {self._seconds:g} s"
            sleep(_POLL_SECONDS)

    def _enough(self, seconds: float, late: bool) -> Served:
        """Return what is enough after so many seconds.

        One of release 3 has an empty page for an interval. It need not be waited for if
        that takes hours: being a client that answers will do then.
        """
        if late:
            return max(self._served_before, Served.EMPTY_PAGE)
        return Served.EMPTY_PAGE if seconds >= _LONGEST_EMPTY else Served.METRICS

    def wait_as_before(
        self,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Wait a while until it serves what it served before."""
        end = clock() + _SECONDS_AS_BEFORE
        while self.served() < self._served_before and clock() < end:
            sleep(_POLL_SECONDS)

    def served(self) -> Served:
        """Ask it for its metrics, on every port that it has."""
        address = self._address or "127.0.0.1"
        found = (scrape(address, port, tls=self._tls) for port in sorted(self._ports()))
        return max(found, default=Served.NOTHING)

    def why_no_client(self) -> str:
        """Say why it is no client of the engine, nothing if it is one."""
        pids = {int(pid) for pid in self._pids()}
        found = scan(self._host, self._engine_port).dcgm
        if all(process.is_client for process in found if process.pid in pids):
            return ""
        return "it still runs an engine of its own: the setting does not reach it"

    def _pids(self) -> tuple[str, ...]:
        """Return its processes; those of a container are another unit's."""
        pids = processes_of_unit(self._host, self._unit)
        holder = find_holder(self._port, self._host.proc) if self._is_container else None
        return (*pids, str(holder.pid)) if holder else pids

    def _ports(self) -> set[int]:
        """Return the ports that its processes listen on."""
        proc = self._host.proc
        ports: set[int] = set()
        for pid in self._pids():
            try:
                inodes = set(socket_inodes(proc, pid))
            except OSError:
                continue  # it has ended, or is not ours to look at
            listening = tcp_table(proc, pid).listening
            ports |= {listening[inode] for inode in inodes if inode in listening}
        return ports


def _how_it_runs(exporter: UnitExporter) -> tuple[Sequence[str], Mapping[str, str]]:
    command = exporter.command
    if command is None:
        return (), {}
    return command.arguments, command.environment
