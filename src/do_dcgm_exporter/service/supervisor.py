"""Watch the agent and the web server, and ping systemd's watchdog.

The agent may hang in a DCGM call for ever. When its cycle takes too long, an outage is
published in its place. The pings stop only if this thread or the server dies, never for a hung
engine, which a restart of ours would not mend.
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


class Server(Protocol):
    """What the supervisor needs to know of the web server."""

    def is_alive(self, within: float) -> bool:
        """Return whether its loop has turned in the last ``within`` seconds."""


class Supervisor:
    """A thread that waits on nothing but the clock."""

    def __init__(
        self,
        publisher: Publisher,
        server: Server,
        collect_interval: float,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.collect_interval = collect_interval
        self._publisher = publisher
        self._server = server
        self._clock = clock
        self._ping_every = (sd_notify.watchdog_interval() or 0.0) / 3
        self._pinged_at = clock()
        self._refreshed_at = clock()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="supervisor", daemon=True)

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
        for_cycles = max(_SHORTEST_PAUSE, self._limit / _LOOKS_PER_LIMIT)
        return min(for_cycles, _LONGEST_PAUSE, self._ping_every or _LONGEST_PAUSE)

    @property
    def _limit(self) -> float:
        """How many seconds a cycle may take."""
        return max(_SHORTEST_LIMIT, self.collect_interval)

    def tick(self) -> None:
        """Look once."""
        if self._publisher.abandon_cycle_after(self._limit):
            self._refreshed_at = self._clock()
        elif self._publisher.is_abandoned and self._refresh_is_due():
            # Keep the exporter's own metrics current while no cycle ends.
            self._refreshed_at = self._clock()
            self._publisher.refresh()
        self._ping_watchdog()

    def _refresh_is_due(self) -> bool:
        return self._clock() - self._refreshed_at >= self.collect_interval

    def _ping_watchdog(self) -> None:
        due = self._ping_every and self._clock() - self._pinged_at >= self._ping_every
        if due and self._server.is_alive(within=self._ping_every * 2):
            self._pinged_at = self._clock()
            sd_notify.notify(sd_notify.WATCHDOG)
