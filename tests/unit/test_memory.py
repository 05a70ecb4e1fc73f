"""The allocator's settings."""

from __future__ import annotations

import ctypes
from types import SimpleNamespace

import pytest

from do_dcgm_exporter.memory import keep_large_buffers_apart


def test_glibc_takes_it_and_buffers_work_as_before() -> None:
    assert keep_large_buffers_apart()
    assert bytes(1 << 20) == b"\0" * (1 << 20)


def test_a_library_that_cannot_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace())
    assert not keep_large_buffers_apart()
