"""Prove that an exporter is back: active, a client, and serving metrics on its own port."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from do_dcgm_exporter.integration.changing.running import Means
from do_dcgm_exporter.integration.deciding.exporter import Form, UnitExporter
from do_dcgm_exporter.integration.exporter_arguments import (
    collect_interval,
    listen_address,
    serves_tls,
)
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.processes import processes_of_unit, scan
from do_dcgm_exporter.integration.looking.web import Served, scrape
from do_dcgm_exporter.sockets import find_holder, ports_of

_POLL_SECONDS = 0.5
# After so many restarts by systemd, it will not stay up.
_MOST_RESTARTS = 3


@dataclass(frozen=True, slots=True)
class Proof:
    """An exporter that is to come back as a client."""

    means: Means
    exporter: UnitExporter
    engine_port: int

    def is_given(self) -> bool:
        """Return whether it is a client and serves metrics right now."""
        return not self._look(Served.METRICS)[0]

    def restart_and_wait(self, clock: Callable[[], float] = time.monotonic) -> tuple[str, bool]:
        """Restart it and wait until it is back; return why it is not, and whether that is final.

        Clients end with their engine: if that went or was replaced meanwhile, nothing is proven.
        """
        engine = partial(find_holder, self.engine_port, self.means.host.proc)
        for _ in range(2):
            before, obstacle = engine(), self._restarted(clock)
            if not obstacle or (before and before == engine()):
                return obstacle, True
        return obstacle, False

    def _restarted(self, clock: Callable[[], float]) -> str:
        """Restart it and wait; if time allows, it has to serve as much as before."""
        means, unit, command = self.means, self.exporter.name, self.exporter.command
        end = clock() + means.proof_seconds
        in_the_end = Served.METRICS
        # With release 3 the page is empty for an interval.
        interval = collect_interval(command.arguments, command.environment)
        if 2 * interval > means.proof_seconds or self._served() is not Served.METRICS:
            in_the_end = Served.EMPTY_PAGE
        try:
            systemd.restart(unit, means.proof_seconds)
            restarts = systemd.view(unit).restarts
        except CommandFailed as error:
            return str(error)
        while True:
            late = clock() >= end
            obstacle, is_final = self._look(in_the_end if late else Served.METRICS, restarts)
            if late or is_final:
                return obstacle
            means.sleep(_POLL_SECONDS)

    def _look(self, enough: Served, restarts_before: int = 0) -> tuple[str, bool]:
        """Return why it is not back, empty if it is, and whether waiting is pointless."""
        log = self.exporter.view.log
        try:
            view = systemd.view(self.exporter.name)
        except CommandFailed as error:
            return str(error), False  # a busy manager says nothing about the unit
        if view.active_state == "failed" or view.restarts - restarts_before >= _MOST_RESTARTS:
            return f"it exits as a client: {log}", True
        if not view.is_running:
            return f"it does not stay up as a client: {log}", False
        if self._served() < enough:
            return f"it does not serve metrics after {self.means.proof_seconds:g} s", False
        if not self._is_client():
            return "it still embeds DCGM: the setting does not reach it", False
        return "", True

    def _served(self) -> Served:
        """Scrape it on every port that its processes listen on."""
        command = self.exporter.command
        ports = set().union(*ports_of(self.means.host.proc, self._pids()).values())
        address, _ = listen_address(command.arguments, command.environment)
        tls = serves_tls(command.arguments, command.environment)
        found = (scrape(address or "127.0.0.1", port, tls=tls) for port in sorted(ports))
        return max(found, default=Served.NOTHING)

    def _is_client(self) -> bool:
        pids = {int(pid) for pid in self._pids()}
        found = scan(self.means.host, self.engine_port).dcgm
        return all(process.is_client for process in found if process.pid in pids)

    def _pids(self) -> tuple[str, ...]:
        """Return its processes; those in a container belong to another unit."""
        command, host = self.exporter.command, self.means.host
        pids = processes_of_unit(host, self.exporter.name)
        _, port = listen_address(command.arguments, command.environment)
        holder = find_holder(port, host.proc) if command.form is Form.CONTAINER else None
        return (*pids, str(holder.pid)) if holder else pids
