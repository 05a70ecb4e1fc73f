"""Count the calls to the engine."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field


@dataclass(slots=True)
class CallCount:
    """How many engine calls were made, and how many have ended, over all connections."""

    calls: int = 0
    ended: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Count a call that is being made."""
        with self._lock:
            self.calls += 1

    def end(self) -> None:
        """Count a call that has ended."""
        with self._lock:
            self.ended += 1
