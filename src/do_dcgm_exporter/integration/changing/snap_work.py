"""Stand the snap's engine down for the one on our port, and put it back."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

from do_dcgm_exporter.integration.changing.state import SnapRecord
from do_dcgm_exporter.integration.changing.workshop import Level, Workshop
from do_dcgm_exporter.integration.exporter_arguments import listen_address
from do_dcgm_exporter.integration.looking.commands import CommandFailed, run
from do_dcgm_exporter.integration.looking.scrape import Served, scrape
from do_dcgm_exporter.integration.looking.snap import ENGINE, EXPORTER, PORT_KEY, SNAP, Snap
from do_dcgm_exporter.integration.looking.sockets import tcp_table

_WORK_SECONDS = 120.0
_ENGINE_SECONDS = 30.0
_POLL_SECONDS = 0.5


class SnapWork:
    """Changes the snap."""

    def __init__(
        self,
        workshop: Workshop,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._shop = workshop
        self._clock = clock
        self._sleep = sleep

    def stand_down(self, snap: Snap) -> bool:
        """Stop the snap's engine and make its exporter a client of ours.

        Return whether it stays so.
        """
        exporter = snap.service(EXPORTER)
        record = self._record_of(snap)
        self._save(record)
        try:
            run("snap", "stop", "--disable", ENGINE, timeout=_WORK_SECONDS)
            if snap.port != str(self._shop.engine_port):
                self._set_port(str(self._shop.engine_port))
            obstacle = self._restart_exporter(snap) if exporter.active else ""
        except CommandFailed as error:
            obstacle = str(error)
        if obstacle:
            self._shop.tell(Level.WARNING, f"snap {SNAP}: {obstacle}; it is put back")
            self.put_back(record)
            return False
        self._save(replace(record, settled=True))
        self._shop.tell(
            Level.INFO,
            f"snap {SNAP}: its engine is stood down, its exporter uses {self._shop.engine}",
        )
        return True

    def stop(self, snap: Snap) -> bool:
        """Stop and disable all of the snap's services."""
        self._save(self._record_of(snap))
        try:
            run("snap", "stop", "--disable", SNAP, timeout=_WORK_SECONDS)
        except CommandFailed as error:
            self._shop.tell(Level.WARNING, f"snap {SNAP}: cannot be stopped: {error}")
            return False
        if self._shop.state.snap:
            self._save(replace(self._shop.state.snap, settled=True))
        self._shop.tell(Level.INFO, f"snap {SNAP}: is stopped and disabled")
        return True

    def put_back(self, record: SnapRecord) -> bool:
        """Give the snap its settings and services back; return whether that worked."""
        self._save(replace(record, settled=False))
        try:
            # Its exporter exits without its engine, and snapd gives up after a few starts.
            run("snap", "stop", EXPORTER, timeout=_WORK_SECONDS)
            self._set_port(record.port)
            for name in (ENGINE, EXPORTER):
                self._start_as_before(record, name)
        except CommandFailed as error:
            self._shop.tell(Level.WARNING, f"snap {SNAP}: cannot be put back: {error}")
            return False
        self._save(None)
        self._shop.tell(Level.INFO, f"snap {SNAP}: is as it was")
        return True

    def _start_as_before(self, record: SnapRecord, name: str) -> None:
        enabled, active = name in record.enabled, name in record.active
        if enabled:
            # There is no "snap enable" for a service: starting it is the way.
            run("snap", "start", "--enable", name, timeout=_WORK_SECONDS)
        elif active:
            run("snap", "start", name, timeout=_WORK_SECONDS)
        if enabled and not active:
            run("snap", "stop", name, timeout=_WORK_SECONDS)
        if name == ENGINE and active:
            self._wait_for_port(record.port)

    def _record_of(self, snap: Snap) -> SnapRecord:
        known = self._shop.state.snap
        if known is not None:
            return replace(known, settled=False)
        return SnapRecord(
            snap.port,
            tuple(service.name for service in snap.services if service.enabled),
            tuple(service.name for service in snap.services if service.active),
        )

    def _set_port(self, port: str) -> None:
        run("snap", "set", SNAP, f"{PORT_KEY}={port}", timeout=_WORK_SECONDS)

    def _restart_exporter(self, snap: Snap) -> str:
        """Restart the exporter; return why it does not serve again."""
        run("snap", "restart", EXPORTER, timeout=_WORK_SECONDS)
        host, port = listen_address(["-a", snap.address], {})
        end = self._clock() + self._shop.shortest_wait
        while scrape(host or "127.0.0.1", port, tls=False) is not Served.METRICS:
            if self._clock() >= end:
                return f"{EXPORTER} does not serve metrics with the engine at {self._shop.engine}"
            self._sleep(_POLL_SECONDS)
        return ""

    def _wait_for_port(self, port: str) -> None:
        end = self._clock() + _ENGINE_SECONDS
        while int(port) not in tcp_table(self._shop.host.proc).listening.values():
            if self._clock() >= end:
                return
            self._sleep(_POLL_SECONDS)

    def _save(self, record: SnapRecord | None) -> None:
        self._shop.state.snap = record
        self._shop.save()
