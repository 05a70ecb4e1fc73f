"""How the C library's allocator treats the large buffers of every cycle and page.

glibc gives each thread a heap of its own, and raises the sizes from which on a block is mapped
apart and free memory is given back with every large block that is freed. Pages are made by one
thread and outlive its cycle, so its heap frayed: resident memory grew by 3 MB in the cycles of
a day (docs/reliability.md).
"""

from __future__ import annotations

import ctypes

# malloc.h; setting either threshold ends the raising.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8

# libdcgm makes and fills a message of 4 MiB for every call that reads values (DcgmApi.cpp).
# Mapped apart, or given back after each call, it would cost 2 ms of CPU in every cycle.
_BEYOND_ANY_MESSAGE = 8 * 1024 * 1024


def settle_allocator() -> bool:
    """Have all threads share one heap that keeps its size; False where the library cannot.

    Call it before there are threads: a heap that a thread has is kept.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = (
        (_M_ARENA_MAX, 1),
        (_M_MMAP_THRESHOLD, _BEYOND_ANY_MESSAGE),
        (_M_TRIM_THRESHOLD, _BEYOND_ANY_MESSAGE),
    )
    return all(mallopt(name, value) for name, value in settings)
