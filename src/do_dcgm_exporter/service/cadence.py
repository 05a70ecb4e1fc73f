"""When the next cycle is due: soon after the engine has sampled, however the clocks drift.

Both the exporter and the engine do something every interval, each by its own clock. A cycle
right before the engine samples would show, from then on, what is an interval old.
"""

from __future__ import annotations

# So long after its samples are due an engine with many GPUs has taken them.
_AFTER_SAMPLES = 1.0
# Samples up to this age are new enough to leave the next cycle where it is.
_FRESH = 2.5


def pause_after(interval: float, sample_age: float | None) -> float:
    """Return how many seconds after the begin of a cycle the next one is due.

    ``sample_age`` is how old the newest samples were then, None where that is not known.
    """
    if sample_age is None or not _FRESH < sample_age < interval + _FRESH:
        return interval
    return max(0.0, interval - sample_age) + _AFTER_SAMPLES
