"""How the C library keeps the exporter's memory."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from types import SimpleNamespace

import pytest

from do_dcgm_exporter.service.memory import give_back_free_memory, share_one_heap

# Prints in which mapping of the process a block is that another thread allocates.
HEAP_OF_A_THREAD = """
import ctypes, threading
from do_dcgm_exporter.service.memory import share_one_heap

def allocate():
    address = library.malloc(1024)
    for line in open("/proc/self/maps"):
        first, last = (int(text, 16) for text in line.split()[0].split("-"))
        if first <= address < last:
            print(line.split()[5:])

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
{before}
thread = threading.Thread(target=allocate)
thread.start()
thread.join()
"""

# Prints how much memory is resident with a hole in the heap, and once it is given back, in MB.
HOLE_IN_THE_HEAP = """
import ctypes, re
from do_dcgm_exporter.service.memory import give_back_free_memory

def resident():
    print(int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) // 1024)

library = ctypes.CDLL(None)
library.malloc.restype, library.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
blocks = [library.malloc(100_000) for _ in range(400)]
for block in blocks:
    ctypes.memset(block, 1, 100_000)
for block in blocks[:-1]:
    library.free(block)
resident()
assert give_back_free_memory()
resident()
"""


def printed_by(program: str) -> list[str]:
    ran = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    return ran.stdout.decode().splitlines()


def test_all_threads_share_one_heap() -> None:
    assert ["[]"] == printed_by(HEAP_OF_A_THREAD.format(before=""))
    assert ["['[heap]']"] == printed_by(HEAP_OF_A_THREAD.format(before="share_one_heap()"))


def test_free_memory_amid_the_heap_is_given_back() -> None:
    before, after = map(int, printed_by(HOLE_IN_THE_HEAP))
    assert before - after > 30


def test_a_library_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert (False, False) == (share_one_heap(), give_back_free_memory())
