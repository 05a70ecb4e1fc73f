"""When the next cycle is due: soon after the engine has sampled, however the clocks drift.

The exporter reads and the engine samples once an interval, each by its own clock. If cycles fell
right before the engine's samples, every page would show values that are an interval old.
"""

from __future__ import annotations

# An engine with many GPUs has taken its samples this long after they were due.
_AFTER_SAMPLES = 1.0
# Samples up to this age are new enough to leave the next cycle where it is.
_FRESH = 2.5


def pause_after(interval: float, sample_age: float | None) -> float:
    """Return how many seconds after the beginning of a cycle the next one is due.

    ``sample_age`` is how old the newest samples were then, None where that is not known.
    """
    if sample_age is None or not _FRESH < sample_age < interval + _FRESH:
        return interval
    return max(0.0, interval - sample_age) + _AFTER_SAMPLES
