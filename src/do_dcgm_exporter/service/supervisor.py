"""Watch the agent and the web server, and ping systemd's watchdog.

The agent may hang in a DCGM call for ever. When its cycle takes too long, an outage is
published in its place. The pings stop only if a thread of ours has ended or cycles have ceased
to come, never for a hung engine, which a restart of ours would not mend.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Protocol

from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service import sd_notify

# A cycle of 8 GPUs takes milliseconds, but a hiccup is no hang, however short the interval.
_SHORTEST_LIMIT = 2.0
# Each look costs 0.1 ms of CPU, mostly for waking up.
_SHORTEST_PAUSE, _LONGEST_PAUSE = 1.0, 4.0
_LOOKS_PER_LIMIT = 5
# A page is too old once this many of the longest cycles would have fitted in since.
_CYCLES_PER_LIFE = 2


def longest_cycle(collect_interval: float) -> float:
    """Return how many seconds a cycle may take."""
    return max(_SHORTEST_LIMIT, collect_interval)


def page_lifetime(collect_interval: float) -> float:
    """Return for how many seconds the page of a cycle may be shown."""
    return _CYCLES_PER_LIFE * longest_cycle(collect_interval)


class Server(Protocol):
    """What the supervisor needs to know of the web server."""

    def is_alive(self, within: float) -> bool:
        """Return whether its loop has turned in the last ``within`` seconds."""


class Reader(Protocol):
    """What the supervisor needs to know of the agent."""

    def is_alive(self) -> bool:
        """Return whether its thread runs."""


class Supervisor:
    """A thread that waits on nothing but the clock."""

    def __init__(
        self,
        publisher: Publisher,
        server: Server,
        agent: Reader,
        collect_interval: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._publisher = publisher
        self._server = server
        self._agent = agent
        self._standstill = ""
        self._clock = clock
        self.use_interval(collect_interval)
        self._ping_every = (sd_notify.watchdog_interval() or 0.0) / 3
        self._pinged_at = clock()
        self._refreshed_at = clock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

    def use_interval(self, collect_interval: float) -> None:
        """Expect cycles of another interval from now on."""
        self.collect_interval = collect_interval
        self._interval_since = self._clock()

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End; returns at once."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(self.pause()):
            self.tick()

    def pause(self) -> float:
        """Return how many seconds to wait until the next look."""
        for_cycles = max(_SHORTEST_PAUSE, longest_cycle(self.collect_interval) / _LOOKS_PER_LIMIT)
        return min(for_cycles, _LONGEST_PAUSE, self._ping_every or _LONGEST_PAUSE)

    def tick(self) -> None:
        """Look once."""
        before, self._standstill = self._standstill, self._why_no_cycle_comes()
        if self._standstill and self._standstill != before:
            self._publisher.publish_standstill(self._standstill)
        elif self._publisher.abandon_cycle_after(longest_cycle(self.collect_interval)):
            self._refreshed_at = self._clock()
        elif self._publisher.is_abandoned and self._refresh_is_due():
            # Keep the exporter's own metrics current while no cycle ends.
            self._refreshed_at = self._clock()
            self._publisher.refresh()
        else:
            self._publisher.expire()
        self._ping_watchdog()

    def _why_no_cycle_comes(self) -> str:
        """Return what keeps cycles from coming, empty where nothing does."""
        if not self._agent.is_alive():
            return "the thread that reads the engine has ended: restart do-dcgm-exporter"
        lifetime = page_lifetime(self.collect_interval)
        waited = self._clock() - self._interval_since
        if min(self._publisher.idle_seconds(), waited) > lifetime:
            return f"no reading has begun for more than {lifetime:g} s: restart do-dcgm-exporter"
        return ""

    def _refresh_is_due(self) -> bool:
        return self._clock() - self._refreshed_at >= self.collect_interval

    def _ping_watchdog(self) -> None:
        due = self._ping_every and self._clock() - self._pinged_at >= self._ping_every
        if due and not self._standstill and self._server.is_alive(within=self._ping_every * 2):
            self._pinged_at = self._clock()
            sd_notify.notify(sd_notify.WATCHDOG)
