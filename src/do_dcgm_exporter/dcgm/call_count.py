"""Count the calls to the engine."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class CallCount:
    """How many engine calls were made, and how many have ended, over all connections."""

    calls: int = 0
    ended: int = 0
