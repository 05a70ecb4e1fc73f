"""Explain XIDs in the words that NVIDIA's exporters use for ``err_msg``."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

_TABLE = Path(__file__).with_name("xid-errors.json")


def xid_text(xid: int) -> str:
    """Return the meaning of ``xid``, or ``Unknown Error`` if it is not in the table."""
    return _texts().get(str(xid), "Unknown Error")


@lru_cache(maxsize=1)
def _texts() -> dict[str, str]:
    texts: dict[str, str] = json.loads(_TABLE.read_text(encoding="utf-8"))
    return texts
