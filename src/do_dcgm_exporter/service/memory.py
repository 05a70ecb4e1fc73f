"""Keep the C library's heap small.

Pages outlive the cycle that makes them, so the separate heap that glibc gives each thread
fragments: resident memory grew by 3 MB in a day's cycles (docs/reliability.md). A threshold
above which blocks are mapped individually would cure that too, but the kernel would map and
clear libdcgm's message of 4 MB (DcgmApi.cpp) in every cycle, which takes 2 ms of CPU.
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # malloc.h


def share_one_heap() -> bool:
    """Have threads started from now on share the main heap; return whether that worked."""
    settle = getattr(ctypes.CDLL(None), "mallopt", None)
    return settle is not None and bool(settle(_M_ARENA_MAX, 1))


def give_back_free_memory() -> bool:
    """Return free pages of the heap to the system; return whether there were any."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))
