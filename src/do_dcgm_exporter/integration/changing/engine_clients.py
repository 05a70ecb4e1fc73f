"""Services that are clients of the engine: noted before it is stopped, brought back afterwards.

NVIDIA's exporter exits when its engine goes: releases 3.x at their next interval, 4.x at the
next scrape. Its unit says ``Restart=on-abort``, which does not start it again.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.integration.changing.policy import may_restart
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, EXPORTER, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking.commands import CommandFailed, run
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings, read
from do_dcgm_exporter.integration.looking.engine_probe import Condition
from do_dcgm_exporter.integration.looking.engine_wait import ask_starting_engine
from do_dcgm_exporter.integration.looking.processes import command_name, processes_of_unit, unit_of
from do_dcgm_exporter.integration.looking.sockets import socket_inodes, tcp_table
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView

ENGINE_PORT = 5555  # of nvidia-dcgm.service, whoever provides it
# Longer than the RestartSec= of NVIDIA's newest unit, so that such a one comes back by itself.
LONGEST_RETURN = 20.0
_PAUSE = 0.3
# Looks in a row, a second in all: one that connects only to exit has not come back, and one
# without a connection may be about to connect.
_STEADY = 4
_ANSWER_SECONDS = 5.0


def main(arguments: Sequence[str], host: Host | None = None) -> int:
    """Run ``engine-clients note``, or ``return`` with the names that it printed on stdin."""
    host = host or Host()
    if not host.runs_systemd:
        return 0
    if list(arguments) == ["note"]:
        print("\n".join(client_units(host)))
        return 0
    if list(arguments) == ["return"]:
        return 0 if bring_back(sys.stdin.read().split(), host) else 1
    print("usage: engine-clients note|return", file=sys.stderr)
    return 2


def bring_back(units: Sequence[str], host: Host) -> bool:
    """Bring noted units back to the engine, once it answers; return whether all came."""
    if not units:
        return True
    systemd = Systemd()
    the_return = Return(host, systemd, _tell, lambda unit: may_restart(host, unit))
    answer = ask_starting_engine(_settings(host), systemd)
    if answer.condition is Condition.ABSENT:
        return the_return.name_lost(units, "there is none now")
    if answer.condition is Condition.HUNG:
        return the_return.name_lost(units, "the new one does not answer")
    return the_return.bring_back(units)


def _settings(host: Host) -> IntegrationSettings:
    """Return where DCGM's bindings are; the engine is that of nvidia-dcgm.service."""
    try:
        return IntegrationSettings(bindings=read(host, os.environ).bindings)
    except ConfigurationError:
        return IntegrationSettings()


def _tell(text: str) -> None:
    print(f"do-dcgm-exporter: {text}", file=sys.stderr, flush=True)


def client_units(host: Host, port: int = ENGINE_PORT) -> tuple[str, ...]:
    """Return the services with an established connection to ``port``, our exporter left out.

    Only those in the network of this process: in another one the port is somebody else's.
    """
    connected = {inode for inode, other in tcp_table(host.proc).connected.items() if other == port}
    if not connected:
        return ()
    found = {
        unit_of(host.proc, process)
        for process in filter(str.isdigit, os.listdir(host.proc))
        if _has_socket(host, process, connected)
    }
    return tuple(sorted(found - {"", OWN_SERVICE, ENGINE_SERVICE}))


def _has_socket(host: Host, process: str, sought: Collection[int]) -> bool:
    try:
        return any(inode in sought for inode in socket_inodes(host.proc, process))
    except OSError:
        return False  # it has ended


@dataclass(slots=True)
class _Client:
    """One noted unit: for how many looks in a row it is connected, or runs without that.

    ``given_up`` is one that was started again and has ended.
    """

    unit: str
    connected: int = 0
    alone: int = 0
    started: bool = False
    given_up: bool = False


@dataclass(frozen=True, slots=True)
class Return:
    """Brings units back to an engine that answers.

    ``may_start`` is the machine's policy; ``tell`` gets a sentence per unit that is changed
    or missing.
    """

    host: Host
    systemd: Systemd
    tell: Callable[[str], None]
    may_start: Callable[[str], bool] = lambda _: True
    sleep: Callable[[float], None] = field(default=time.sleep)
    clock: Callable[[], float] = field(default=time.monotonic)

    def bring_back(self, units: Sequence[str]) -> bool:
        """Start what ended with the engine; return whether all are clients again in time.

        A running one of another kind than NVIDIA's exporter is left to connect when it likes.
        """
        waiting = [_Client(unit) for unit in units]
        end = self.clock() + LONGEST_RETURN
        while waiting:
            connected = client_units(self.host)
            waiting = [client for client in waiting if not self._is_back(client, connected)]
            if all(client.given_up for client in waiting) or self.clock() >= end:
                break
            self.sleep(_PAUSE)
        missing = [client.unit for client in waiting if self._is_missing(client)]
        for unit in missing:
            self.tell(
                f"{unit} was a client of the engine that was stopped and has not come back:"
                f" systemctl status {unit}"
            )
        return not missing

    def name_lost(self, units: Sequence[str], why: str) -> bool:
        """Name the units that have no engine to be brought back to; return whether none is."""
        connected = client_units(self.host)
        lost = [unit for unit in units if unit not in connected and self._is_missing(_Client(unit))]
        for unit in lost:
            self.tell(
                f"{unit} was a client of the engine that was stopped, and {why};"
                f" once one answers: systemctl restart {unit}"
            )
        return not lost

    def _is_back(self, client: _Client, connected: Collection[str]) -> bool:
        """Look at a unit, start it if it has ended; return whether it is a client again."""
        if client.unit in connected:
            client.connected, client.alone = client.connected + 1, 0
            if client.connected < _STEADY:
                return False
            if client.started:
                self.tell(f"{client.unit}: was started again, since its engine was replaced")
            return True
        client.connected = 0
        view = self._view(client.unit)
        if view is None:
            return False
        if view.type == "oneshot":
            return True  # it was on its way to its end, which is not the engine's doing
        client.alone = client.alone + 1 if view.is_running else 0
        if view.active_state in ("activating", "deactivating"):
            return False
        if client.started:
            client.given_up = not view.is_running
        elif not view.is_running or (client.alone >= _STEADY and self._is_exporter(client.unit)):
            client.started = True
            self._restart(client.unit)
        return False

    def _is_missing(self, client: _Client) -> bool:
        view = self._view(client.unit)
        runs = view is not None and view.is_running
        return not runs or client.started or self._is_exporter(client.unit)

    def _is_exporter(self, unit: str) -> bool:
        """Whether a unit runs NVIDIA's exporter, which never connects again by itself."""
        pids = processes_of_unit(self.host, unit)
        return any(command_name(self.host.proc, pid) == EXPORTER for pid in pids)

    def _view(self, unit: str) -> UnitView | None:
        try:
            return self.systemd.view(unit)
        except CommandFailed:
            return None  # the manager is busy: it is asked again, or the unit is missing

    def _restart(self, unit: str) -> None:
        if not self.may_start(unit):
            self.tell(f"{unit}: policy-rc.d forbids to start it again")
            return
        try:
            # Else the start limit may refuse: systemd.unit(5), StartLimitIntervalSec=.
            run("systemctl", "reset-failed", unit, timeout=_ANSWER_SECONDS)
        except CommandFailed:
            pass  # it is not loaded, so it has not failed
        try:
            # Not waited for: it may take minutes, and dpkg waits for us.
            run("systemctl", "--no-block", "restart", unit, timeout=_ANSWER_SECONDS)
        except CommandFailed as error:
            self.tell(f"{unit}: cannot be started again: {error.reason}")
