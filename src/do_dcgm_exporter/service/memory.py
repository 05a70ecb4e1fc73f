"""How the C library keeps the exporter's memory.

Pages are made by one thread and outlive its cycle, so the heap that glibc gives every thread
frays: resident memory grew by 3 MB in the cycles of a day (docs/reliability.md). Thresholds from
which on blocks are mapped apart would end that too, and have the kernel map and clear libdcgm's
message of 4 MB (DcgmApi.cpp) anew in every cycle, 2 ms of CPU.
"""

from __future__ import annotations

import ctypes

_M_ARENA_MAX = -8  # malloc.h


def share_one_heap() -> bool:
    """Have threads that begin from now on use the first one's heap; False where that cannot be."""
    settle = getattr(ctypes.CDLL(None), "mallopt", None)
    return settle is not None and bool(settle(_M_ARENA_MAX, 1))


def give_back_free_memory() -> bool:
    """Give free pages amid the heap back to the machine; False if there was none, or no way."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    return trim is not None and bool(trim(0))
