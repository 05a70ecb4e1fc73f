"""Makes pages and publishes them: the agent's result, or the outage it met.

The agent's cycle may hang in a DCGM call. The supervisor then abandons it: the outage
is published in its place, and what the cycle brings in the end is discarded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.exposition import OPENMETRICS_END, Rendered, render
from do_dcgm_exporter.page.history import Column, History, column_of, extended, is_due
from do_dcgm_exporter.page.own_metrics import Telemetry, TelemetryRegistry
from do_dcgm_exporter.page.publication import Body, Health, Page, Publication
from do_dcgm_exporter.page.status import Status

STARTING = Health(False, "starting: no cycle has ended yet")
_NO_FAMILIES = Rendered(b"", b"")


class Publisher:
    """The only one that publishes. Its lock is never held over an engine call.

    ``tell`` gets every health whose reason is another one than before: whoever published
    it, that is what users see from then on.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        tell: Callable[[Health], None] = lambda _: None,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._telemetry = telemetry
        self._own = TelemetryRegistry(telemetry)
        self._tell = tell
        self._clock = clock
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._families = _NO_FAMILIES
        self._simulated = False
        self._health = STARTING
        self._history: History = ()
        self._last_known = MachineState()
        self._cycle = 0
        self._cycle_started_at: float | None = None
        self._abandoned = False
        self._calls_seen = 0
        self.publication = Publication(self._page())

    @property
    def is_abandoned(self) -> bool:
        """Whether a cycle was abandoned and none has begun since."""
        return self._abandoned

    def begin_cycle(self) -> int:
        """Note that a cycle begins; its number is what its result is published under."""
        with self._lock:
            self._cycle += 1
            self._cycle_started_at = self._clock()
            self._abandoned = False
            return self._cycle

    def publish_result(
        self,
        cycle: int,
        result: CycleResult,
        versions: Versions,
        health: Health,
        simulated: bool,
    ) -> bool:
        """Publish what cycle number ``cycle`` found; False if it had been abandoned.

        ``simulated`` is whether all values are made up.
        """
        families = render(result.snapshot.families)
        with self._lock:
            seconds = self._end_cycle(cycle)
            if seconds is None:
                return False
            self._telemetry.record(result, versions, seconds, self._wall_clock())
            self._families = families
            self._simulated = simulated
            self._remember(result.machine)
            self._publish(health)
            return True

    def publish_outage(self, cycle: int, reason: str, engine_up: bool = False) -> bool:
        """Publish that cycle number ``cycle`` failed; False if it had been abandoned."""
        with self._lock:
            if self._end_cycle(cycle) is None:
                return False
            self._publish_outage(reason, engine_up)
            return True

    def abandon_cycle_after(self, limit: float) -> bool:
        """Give up on a cycle that has run for ``limit`` seconds; True if there was one.

        An engine is slow if any call has ended since the last look, else it hangs.
        """
        with self._lock:
            started, ended = self._cycle_started_at, self._telemetry.calls.ended
            answers, self._calls_seen = ended != self._calls_seen, ended
            if started is None or self._clock() - started < limit:
                return False
            self._cycle_started_at = None
            self._abandoned = True
            self._cycle += 1
            self._publish_outage(
                f"the engine is slow: a cycle has taken more than {limit:g} s"
                if answers
                else f"the engine has not answered for {limit:g} s",
                False,
            )
            return True

    def refresh(self) -> None:
        """Publish the same families again with the exporter's own metrics of now."""
        with self._lock:
            self._publish(self._health)

    def _end_cycle(self, cycle: int) -> float | None:
        """How many seconds the cycle took; None when it is not the current one any more."""
        if cycle != self._cycle or self._cycle_started_at is None:
            return None
        seconds = self._clock() - self._cycle_started_at
        self._cycle_started_at = None
        return seconds

    def _publish_outage(self, reason: str, engine_up: bool) -> None:
        self._telemetry.record_outage(engine_up)
        self._families = _NO_FAMILIES
        now = self._wall_clock()
        if self._history and is_due(self._history, now):
            self._history = extended(self._history, Column(now))
        self._publish(Health(False, reason))

    def _remember(self, machine: MachineState) -> None:
        self._last_known = machine
        if machine.roster.devices and is_due(self._history, machine.read_at):
            self._history = extended(self._history, column_of(machine))

    def _publish(self, health: Health) -> None:
        if health.reason != self._health.reason:
            self._tell(health)
        self._health = health
        self.publication.publish(self._page())

    def _page(self) -> Page:
        own = render(self._own.families())
        return Page(
            text=Body(self._families.text + own.text),
            openmetrics=Body(self._families.openmetrics + own.openmetrics + OPENMETRICS_END),
            forwarded=self._families.text,
            health=self._with_complaints(self._health),
            simulated=self._simulated,
            status=self._status(),
        )

    def _status(self) -> Status:
        telemetry = self._telemetry
        return Status(
            versions=telemetry.versions,
            engine_up=telemetry.engine_up,
            result=telemetry.cycle,
            last_known=self._last_known,
            history=self._history,
            last_success=telemetry.last_success,
            collect_seconds=telemetry.collect_seconds,
            reload_refused=not telemetry.last_reload_successful,
        )

    def _with_complaints(self, health: Health) -> Health:
        """``health`` and notes about what makes no page less whole."""
        complaints = (self._telemetry.forward.complaint, self._telemetry.web_config_complaint)
        return replace(health, notes=(*health.notes, *filter(None, complaints)))
