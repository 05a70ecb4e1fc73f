"""How the C library's allocator treats the large buffers of every cycle.

glibc maps large blocks apart from the heap, but raises the size that counts as large with
every such block that is freed. Answers of the engine and pages then come from the heap,
which frays: resident memory grew by 3 MB in the cycles of a day (docs/reliability.md).
"""

from __future__ import annotations

import ctypes

# malloc.h; setting it ends the raising. A page of 8 GPUs is far below: mapped anew for every
# scrape, it cost 64 µs of CPU instead of 41.
_M_MMAP_THRESHOLD = -3
_LARGE = 1024 * 1024


def keep_large_buffers_apart() -> bool:
    """Map blocks of 1 MiB and more apart from now on; False where the library cannot."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and bool(mallopt(_M_MMAP_THRESHOLD, _LARGE))
