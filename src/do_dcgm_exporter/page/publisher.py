"""Publish pages: the agent's result, or the outage it met.

The agent's cycle may hang in a DCGM call. The supervisor then abandons it and publishes an
outage in its place; the late result is discarded.

A page is made first, then its cycle ends, then the page is published. If making it fails, the
cycle is still current, and the agent publishes an outage instead. If that cannot be made either,
a bare page says why.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.sample_ages import boot_time
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.cycle_clock import CycleClock
from do_dcgm_exporter.page.exposition import OPENMETRICS_END, Rendered, render
from do_dcgm_exporter.page.history import Column, History, column_of, extended, is_due, widened
from do_dcgm_exporter.page.own_metrics import Telemetry, TelemetryRegistry
from do_dcgm_exporter.page.publication import TOO_OLD, Body, Health, Page, Publication, bare_page
from do_dcgm_exporter.page.status import Status

_log = logging.getLogger(__name__)

_NO_FAMILIES = Rendered(b"", b"")

# Families of the default sets that DigitalOcean's endpoint does not know, under either name.
NOT_FORWARDED = frozenset(
    {
        *("DCGM_FI_DEV_COUNT", "DCGM_FI_SYSTEM_GPU_QUANTITY"),
        *("DCGM_FI_DEV_POWER_USAGE_INSTANT", "DCGM_FI_DEV_BOARD_POWER_RAW_WATTS"),
        *("DCGM_FI_DEV_RETIRED_PENDING", "DCGM_FI_DEV_PAGE_RETIRED_PENDING"),
        *("DCGM_FI_DEV_FABRIC_MANAGER_ERROR_CODE", "DCGM_FI_DEV_FABRIC_MANAGER_ERROR"),
        "DCGM_FI_DEV_ROW_REMAP_PENDING",
        "DCGM_FI_DEV_FABRIC_MANAGER_STATUS",
        "DCGM_FI_DEV_FABRIC_CLIQUE_ID",
        "DCGM_FI_DEV_FABRIC_HEALTH_MASK",
        "DCGM_FI_DEV_FABRIC_HEALTH_SUMMARY",
    }
)
STARTING = Health(False, "starting: no cycle has ended yet", is_starting=True)


@dataclass(frozen=True, slots=True)
class Content:
    """The engine's part of a page. ``simulated`` means that all values are made up.

    ``expires_at`` is as in a page: values expire, an outage does not.
    """

    families: Rendered = _NO_FAMILIES
    forwarded: bytes = b""
    health: Health = STARTING
    simulated: bool = False
    expires_at: float = math.inf


def make_page(content: Content, own: Rendered, status: Status) -> Page:
    """Join the families of the engine and the exporter's ``own``."""
    families = content.families
    return Page(
        text=Body(families.text + own.text),
        openmetrics=Body(families.openmetrics + own.openmetrics + OPENMETRICS_END),
        forwarded=content.forwarded,
        health=content.health,
        simulated=content.simulated,
        status=status,
        expires_at=content.expires_at,
    )


class Publisher:
    """Publishes every page. Its lock is never held during an engine call.

    ``tell`` receives each health whose reason differs from the previous one, whatever the cause.
    After ``lifetime`` seconds of ``boot_clock`` a page with values is not shown any more.
    """

    def __init__(
        self,
        telemetry: Telemetry,
        *,
        tell: Callable[[Health], None] = lambda _: None,
        lifetime: float = math.inf,
        clock: Callable[[], float] = time.monotonic,
        wall_clock: Callable[[], float] = time.time,
        boot_clock: Callable[[], float] = boot_time,
    ) -> None:
        self.lifetime = lifetime
        self._boot_clock = boot_clock
        self._telemetry = telemetry
        self._own = TelemetryRegistry(telemetry)
        self._tell = tell
        self._wall_clock = wall_clock
        self._lock = threading.Lock()
        self._cycles = CycleClock(clock)
        self._content = Content()
        self._history: History = ()
        self._last_known = MachineState()
        self._calls_seen = 0
        self.publication = Publication(self._page(self._content), boot_clock)

    @property
    def is_abandoned(self) -> bool:
        """Whether the last cycle was abandoned."""
        return self._cycles.is_abandoned

    def begin_cycle(self) -> int:
        """Begin a cycle and return its number, under which its result is published."""
        with self._lock:
            return self._cycles.begin()

    def publish_result(
        self,
        cycle: int,
        result: CycleResult,
        versions: Versions,
        health: Health,
        simulated: bool,
    ) -> bool:
        """Publish the result of cycle number ``cycle``; return False if it had been abandoned.

        ``simulated`` means that all values are made up.
        """
        families = render(result.snapshot.families)
        known = [one for one in result.snapshot.families if one.name not in NOT_FORWARDED]
        forwarded = render(known).text
        with self._lock:
            seconds = self._cycles.seconds(cycle)
            if seconds is None:
                return False
            self._telemetry.record(result, versions, seconds, self._wall_clock())
            self._remember(result.machine)
            expires_at = self._boot_clock() + self.lifetime
            content = Content(families, forwarded, health, simulated, expires_at)
            page = self._page(content)
            self._cycles.end()
            self._publish(content, page)
            return True

    def publish_outage(self, cycle: int, reason: str, engine_up: bool = False) -> bool:
        """Publish that cycle number ``cycle`` failed; return False if it had been abandoned."""
        with self._lock:
            if self._cycles.seconds(cycle) is None:
                return False
            self._cycles.end()
            self._publish_outage(reason, engine_up)
            return True

    def abandon_cycle_after(self, limit: float) -> bool:
        """Abandon the cycle if it has run for ``limit`` seconds; return whether it did.

        If any call has ended since the last look, the engine is slow, otherwise it hangs.
        """
        with self._lock:
            ended = self._telemetry.calls.ended
            answers, self._calls_seen = ended != self._calls_seen, ended
            if not self._cycles.abandon_after(limit):
                return False
            self._publish_outage(
                f"the engine is slow: a cycle has taken more than {limit:g} s"
                if answers
                else f"the engine has not answered for more than {limit:g} s",
                False,
            )
            return True

    def idle_seconds(self) -> float:
        """Return how long ago the last cycle ended: 0 while one runs or hangs."""
        with self._lock:
            return self._cycles.idle_seconds()

    def publish_standstill(self, reason: str) -> None:
        """Publish that no cycles come any more."""
        with self._lock:
            self._publish_outage(reason, False)

    def refresh(self) -> None:
        """Publish the same families again with current metrics about the exporter."""
        with self._lock:
            if not self._expire():
                self._publish(self._content, self._page(self._content))

    def expire(self) -> None:
        """Publish an outage where the page has become too old to be shown."""
        with self._lock:
            self._expire()

    def _expire(self) -> bool:
        if self._boot_clock() < self._content.expires_at:
            return False
        self._publish_outage(TOO_OLD, False)
        return True

    def _publish_outage(self, reason: str, engine_up: bool) -> None:
        outage = Content(health=Health(False, reason), simulated=self._content.simulated)
        try:
            self._telemetry.record_outage(engine_up)
            now = self._wall_clock()
            if self._history and is_due(self._history, now):
                self._history = extended(self._history, Column(now))
            page = self._page(outage)
        except Exception:  # noqa: BLE001
            # Whatever is wrong here, the page before must not stand.
            _log.exception("internal error while an outage is published")
            page = bare_page(reason)
        self._publish(outage, page)

    def _remember(self, machine: MachineState) -> None:
        self._last_known = machine
        if machine.roster.devices and is_due(self._history, machine.read_at):
            self._history = extended(self._history, column_of(machine))
        elif machine.ranges:
            self._history = widened(self._history, column_of(machine))

    def _publish(self, content: Content, page: Page) -> None:
        before, self._content = self._content, content
        self.publication.publish(page)
        if content.health.reason != before.health.reason:
            self._tell(content.health)

    def _page(self, content: Content) -> Page:
        telemetry = self._telemetry
        health = replace(
            content.health,
            forwarding=telemetry.forward.complaint,
            web_config=telemetry.web_config_complaint,
        )
        own = render(self._own.families())
        return make_page(replace(content, health=health), own, self._status())

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
            gpu_uses=telemetry.gpu_uses,
        )
