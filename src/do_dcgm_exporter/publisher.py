"""Makes pages and publishes them: the agent's result, or the outage it met.

The agent's cycle may hang in a DCGM call. The supervisor then abandons it: the outage
is published in its place, and what the cycle brings in the end is discarded.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace

from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.exposition import OPENMETRICS_END, Rendered, render
from do_dcgm_exporter.publication import Body, Health, Page, Publication
from do_dcgm_exporter.session import CycleResult
from do_dcgm_exporter.telemetry import Telemetry, TelemetryRegistry

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
    ) -> None:
        self._telemetry = telemetry
        self._own = TelemetryRegistry(telemetry)
        self._tell = tell
        self._clock = clock
        self._lock = threading.Lock()
        self._families = _NO_FAMILIES
        self._simulated = False
        self._health = STARTING
        self._cycle = 0
        self._cycle_started_at: float | None = None
        self._abandoned = False
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
            self._telemetry.record(result, versions, seconds, time.time())
            self._families = families
            self._simulated = simulated
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
        """Give up on a cycle that has run for ``limit`` seconds; True if there was one."""
        with self._lock:
            started = self._cycle_started_at
            if started is None or self._clock() - started < limit:
                return False
            self._cycle_started_at = None
            self._abandoned = True
            self._cycle += 1
            self._publish_outage(f"the engine has not answered for {limit:g} s", False)
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
        self._publish(Health(False, reason))

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
        )

    def _with_complaints(self, health: Health) -> Health:
        """``health`` and notes about what makes no page less whole."""
        complaints = (self._telemetry.forward.complaint, self._telemetry.web_config_complaint)
        return replace(health, notes=(*health.notes, *filter(None, complaints)))
