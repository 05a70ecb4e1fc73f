"""The forwarder: posts the newest page's DCGM families to the endpoint, for ever.

It has a thread of its own and only reads the publication, so that nothing the
endpoint does can reach collecting or serving.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from do_dcgm_exporter.config.addresses import is_loopback_url
from do_dcgm_exporter.page.forwarding import ForwardResult, ForwardStatistics, Outcome
from do_dcgm_exporter.page.publication import Publication

if TYPE_CHECKING:
    from do_dcgm_exporter.forward.endpoint import Endpoint

__all__ = ["ForwardResult", "ForwardStatistics", "Forwarder"]

_log = logging.getLogger(__name__)

_FIRST_PAUSE = 1.0  # seconds before the first retry; then twice as long each time
_LONGEST_PAUSE = 8.0
_LOOK_AGAIN = 1.0  # seconds until a page may have come where there was none


class Forwarder:
    """Posts a page every ``interval`` seconds; ``timeout`` bounds each attempt.

    A page that cannot be sent is tried again, less and less often, until the next
    interval begins: then the newer page wins and the other is counted as dropped. A
    page that the endpoint rejects (3xx, 4xx but 408 and 429) is not tried again.
    """

    def __init__(
        self,
        url: str,
        interval: float,
        timeout: float,
        publication: Publication,
        statistics: ForwardStatistics,
        version: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        unix_time: Callable[[], float] = time.time,
        wait: Callable[[float], bool] | None = None,
        jitter: Callable[[float, float], float] = random.uniform,
    ) -> None:
        """Prepare; ``wait`` sleeps for some seconds and returns whether to stop."""
        self._url = url
        self._shown_url = _without_secrets(url)
        self._is_loopback = is_loopback_url(url)
        self._interval = interval
        self._timeout = timeout
        self._publication = publication
        self._statistics = statistics
        self._version = version
        self._clock = clock
        self._unix_time = unix_time
        self._stopped = threading.Event()
        # So that an attempt that ends late says nothing in the name of the next forwarder.
        self._telling = threading.Lock()
        self._wait = wait or self._stopped.wait
        self._jitter = jitter
        self._thread = threading.Thread(target=self._run, name="forwarder", daemon=True)
        self._endpoint: Endpoint | None = None
        self._failing_since: float | None = None
        self._has_worked = False
        self._had_nothing = False

    def start(self) -> None:
        """Begin to forward."""
        self._thread.start()

    def stop(self) -> None:
        """Send nothing more, and cut short what is under way; returns at once."""
        with self._telling:
            self._stopped.set()
            self._statistics.complaint = ""
        if self._endpoint is not None:
            self._endpoint.abort()

    def _run(self) -> None:
        from do_dcgm_exporter.forward.endpoint import Endpoint

        self._endpoint = Endpoint(self._url, self._timeout, self._version)
        begins = self._clock()
        while not self._stopped.is_set():
            ends = begins + self._interval
            if self._leaves_unsent(self._endpoint, ends):
                self._statistics.count(ForwardResult.DROPPED, self._unix_time())
            if self._wait(max(0.0, ends - self._clock())):
                return
            # An attempt may have outlasted whole intervals: those are not made up for.
            missed = (self._clock() - ends) // self._interval
            begins = ends + max(0.0, missed) * self._interval

    def _leaves_unsent(self, endpoint: Endpoint, ends: float) -> bool:
        """Send the newest page before ``ends``; return whether there was one and it was not."""
        unsent = False
        pauses = self._pauses()
        while not self._stopped.is_set():
            page = self._newest()
            pause = next(pauses) if page else _LOOK_AGAIN
            if page:
                outcome = self._attempt(endpoint, page)
                unsent = outcome.result is not ForwardResult.SUCCESS
                if outcome.is_final:
                    break
            if self._clock() + pause >= ends or self._wait(pause):
                break
        return unsent and not self._stopped.is_set()

    def _newest(self) -> bytes:
        """Return what is to be posted, empty when there is nothing."""
        page = self._publication.page
        reason = page.health.reason
        forwarded = page.forwarded
        if page.simulated and not self._is_loopback:
            reason, forwarded = "simulated values do not leave this machine", b""
        if not forwarded and not self._had_nothing:
            _log.debug("there is nothing to forward: %s", reason)
        self._had_nothing = not forwarded
        return forwarded

    def _pauses(self) -> Iterator[float]:
        """Yield how long to wait before each retry."""
        pause = _FIRST_PAUSE
        while True:
            yield self._jitter(pause / 2, pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _attempt(self, endpoint: Endpoint, page: bytes) -> Outcome:
        """Post ``page`` once, count the result, and tell of a change."""
        outcome = endpoint.post(page)
        succeeded = outcome.result is ForwardResult.SUCCESS
        with self._telling:
            is_stopped = self._stopped.is_set()
            if succeeded or not is_stopped:  # else it was us who ended it
                self._statistics.count(outcome.result, self._unix_time())
            if is_stopped:
                return outcome
            _log.debug("posted %d bytes: the endpoint %s", len(page), outcome.detail)
            if succeeded:
                self._note_success()
            else:
                self._note_failure(outcome)
        return outcome

    def _note_success(self) -> None:
        if self._failing_since is not None:
            lasted = self._clock() - self._failing_since
            _log.info("forwarding to %s works again after %.0f s", self._shown_url, lasted)
        elif not self._has_worked:
            _log.info("forwarding to %s works", self._shown_url)
        self._failing_since = None
        self._has_worked = True
        self._statistics.complaint = ""

    def _note_failure(self, outcome: Outcome) -> None:
        complaint = f"forwarding fails: the endpoint {self._shown_url} {outcome.detail}"
        self._statistics.complaint = complaint
        if self._failing_since is None:
            self._failing_since = self._clock()
            _log.warning("%s", complaint)


def _without_secrets(url: str) -> str:
    """Return ``url`` as it may be logged: without user, password and query."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
