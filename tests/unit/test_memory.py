"""The allocator's settings."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from do_dcgm_exporter.memory import settle_allocator

# Prints, for a block that another thread allocates, in which mapping of the process it is.
WHERE = """
import ctypes, sys, threading
from do_dcgm_exporter.memory import settle_allocator

def allocate():
    address = library.malloc(int(sys.argv[1]))
    for line in open("/proc/self/maps"):
        first, last = (int(text, 16) for text in line.split()[0].split("-"))
        if first <= address < last:
            print(line.split()[5:])

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
if "settle" in sys.argv:
    assert settle_allocator()
thread = threading.Thread(target=allocate)
thread.start()
thread.join()
"""


def mapping_of(size: int, *arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", WHERE, str(size), *arguments],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()


@pytest.mark.parametrize("size", [1024, 5 * 1024 * 1024])
def test_small_blocks_and_messages_of_all_threads_share_one_heap(size: int) -> None:
    assert "[]" == mapping_of(size)
    assert "['[heap]']" == mapping_of(size, "settle")


def test_a_library_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not settle_allocator()
