"""Count how attempts to forward a page ended."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from enum import Enum


class ForwardResult(Enum):
    """How one attempt ended. The value is its ``result`` label."""

    SUCCESS = "success"
    REDIRECT = "http_3xx"
    REJECTED = "http_4xx"
    SERVER_ERROR = "http_5xx"
    TIMEOUT = "timeout"
    REFUSED = "refused"
    RESET = "reset"
    UNREACHABLE = "unreachable"
    BROKEN_ANSWER = "broken_answer"
    ERROR = "error"
    DROPPED = "dropped"  # a page that was never sent because a newer one came


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of one attempt.

    ``detail`` completes the sentence "the endpoint …". ``is_final`` means that this page need
    not be tried again: it was taken, or the endpoint rejects it.
    """

    result: ForwardResult
    detail: str
    is_final: bool = False


class ForwardStatistics:
    """Counts by result, written by the forwarder and read by any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(ForwardResult, 0)
        self._last_success: float | None = None
        self.complaint = ""
        """Why forwarding fails now, as a sentence; empty while it works."""

    @property
    def counts(self) -> dict[ForwardResult, int]:
        """How often each result occurred, every result included."""
        with self._lock:
            return dict(self._counts)

    @property
    def last_success(self) -> float | None:
        """The Unix time of the newest success, None before the first."""
        with self._lock:
            return self._last_success

    def count(self, result: ForwardResult, unix_time: float) -> None:
        """Count one ``result`` at ``unix_time``."""
        with self._lock:
            self._counts[result] += 1
            if result is ForwardResult.SUCCESS:
                self._last_success = unix_time
