"""Reuse one buffer for the values of every call.

A value takes 4 kB. NVIDIA's bindings allocate all of them in every call, which on 8 GPUs makes
the kernel map and clear 500 pages each time.
"""

from __future__ import annotations

import ctypes
from typing import Any

from do_dcgm_exporter.dcgm.decoding import FIELD_VALUE_SIZE


class ValueBuffer:
    """A C buffer for as many ``dcgmFieldValue_v2`` as were ever asked for at once."""

    def __init__(self) -> None:
        self._buffer: ctypes.Array[Any] = ctypes.create_string_buffer(0)

    def cleared(self, count: int) -> ctypes.Array[Any]:
        """Return zeroed room for ``count`` values, so that a skipped one is not an old value."""
        size = count * FIELD_VALUE_SIZE
        if len(self._buffer) < size:
            self._buffer = ctypes.create_string_buffer(size)
        else:
            ctypes.memset(self._buffer, 0, size)
        return self._buffer
