"""Ask the engine what only one source needs, without holding up the others.

Health checks that take 45 s have been reported. Such a question is asked in a separate thread,
no more often than the answer can matter. The cycle waits for it briefly, then carries on without.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from do_dcgm_exporter.dcgm.errors import CallRefused, EngineError

Answer = TypeVar("Answer")

# How often to ask about hardware and its partitions, in seconds. A change must show within one
# default interval, and an answer takes 45 to 90 ms (observed).
HARDWARE_CHANGES = 10.0

# A cycle waits for this many seconds, or for this share of its interval if that is longer. A
# healthy engine answers within 0.1 s (observed).
_SHORTEST_PATIENCE = 0.4
_PATIENCE_PER_INTERVAL = 1 / 8


@dataclass(slots=True)
class _Attempt(Generic[Answer]):
    """A question in flight. Its thread stores an answer or an error, then sets ``over``."""

    begun_at: float
    over: threading.Event
    answers: list[Answer] = field(default_factory=list)
    error: Exception | None = None

    def run(self, ask: Callable[[], Answer]) -> None:
        try:
            self.answers.append(ask())
        except Exception as error:  # noqa: BLE001
            # The thread that wants the answer raises it.
            self.error = error
        self.over.set()


@dataclass(slots=True)
class SideCall(Generic[Answer]):
    """A question asked every ``every`` seconds by cycles that are ``interval`` seconds apart.

    Its thread ends with the call, at the latest when libdcgm gives up after a minute or the
    connection closes.
    """

    ask: Callable[[], Answer]
    every: float
    interval: float
    clock: Callable[[], float] = time.monotonic
    _attempt: _Attempt[Answer] | None = None
    _asked_at: float | None = None
    _last: tuple[float, Answer] | None = None
    _error: Exception | None = None

    def answer(self) -> Answer:
        """Return the newest answer, asking first if it is due.

        While the engine is slow to answer, the previous answer is good for up to two periods.
        Raises CallRefused if the engine refuses or has not answered yet.
        """
        self._ask_if_due()
        if self._error is not None:
            raise self._error
        if self._last is not None and self.clock() - self._last[0] <= self._longest_validity:
            return self._last[1]
        since = self.clock() - (self._attempt.begun_at if self._attempt else self.clock())
        raise CallRefused(f"the engine has not answered for {round(since, 1):g} s")

    @property
    def _longest_validity(self) -> float:
        return 2 * max(self.every, self.interval)

    def _ask_if_due(self) -> None:
        now = self.clock()
        if self._attempt is None and (self._asked_at is None or now - self._asked_at >= self.every):
            self._asked_at = now
            self._attempt = attempt = _Attempt[Answer](now, threading.Event())
            ask = self.ask
            threading.Thread(target=lambda: attempt.run(ask), name="side call", daemon=True).start()
            attempt.over.wait(max(_SHORTEST_PATIENCE, self.interval * _PATIENCE_PER_INTERVAL))
        if self._attempt is not None and self._attempt.over.is_set():
            self._take(self._attempt)
            self._attempt = None

    def _take(self, attempt: _Attempt[Answer]) -> None:
        error = attempt.error
        if isinstance(error, EngineError) and not isinstance(error, CallRefused):
            # Calls that the whole cycle depends on will show whether the connection still works.
            error = CallRefused(str(error), error.code)
        self._error = error
        if attempt.answers:
            self._last = attempt.begun_at, attempt.answers[0]
