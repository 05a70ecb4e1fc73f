"""The same queries under the names and units of dcgm-exporter 4.9.

A query is written once, in the names of DCGM 3. Base units need no arithmetic, so what it
does to get there is taken out: ``/ 100``, ``/ 1e9``, ``* 1e6``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ETC = Path(__file__).resolve().parents[2] / "etc" / "do-dcgm-exporter"

# What a query holds between a name and the arithmetic: selectors, ranges, brackets, labels.
_REST = r"[^/*<>\n]*?"
_ARITHMETIC = (
    (rf"(DCGM_FI_DEV_(?:GPU|MEMORY)_UTIL_RATIO\b{_REST}) / 100\b", r"\1"),
    (rf"(DCGM_FI_DEV_GPU_UTIL_RATIO\b{_REST}) < 1\b", r"\1 < 0.01"),
    (rf"(_THROTTLE_SECONDS_TOTAL\b{_REST}) / 1e9\b", r"\1"),
    (rf"(DCGM_FI_DEV_SM_CLOCK_HERTZ\b{_REST}) \* 1e6\b", r"\1"),
)


def in_names_of_49(text: str) -> str:
    """Return queries, or a file of them, for the counters of counters-4.9.csv."""
    text = re.sub(r"\bDCGM_\w+", lambda name: _names().get(name[0], name[0]), text)
    for pattern, replacement in _ARITHMETIC:
        text = re.sub(pattern, replacement, text)
    return text


@cache
def _names() -> dict[str, str]:
    """Names of 4.9 by those of DCGM 3: both files have the same counters in the same order."""
    old, new = (_names_in(ETC / f"{name}.csv") for name in ("default-counters", "counters-4.9"))
    return dict(zip(old, new, strict=True))


def _names_in(path: Path) -> list[str]:
    return re.findall(r"(?m)^(DCGM_\w+)", path.read_text(encoding="utf-8"))
