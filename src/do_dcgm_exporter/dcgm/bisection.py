"""Find the few items that make a whole batch fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def split_off_culprits(
    items: Sequence[Item], works: Callable[[Sequence[Item]], bool]
) -> tuple[list[Item], list[Item]]:
    """Split ``items`` into those that work and those that do not, by halving.

    ``works`` tries a batch; k culprits among n items cost about 2·k·log2(n) tries.
    """
    if not items or works(items):
        return list(items), []
    if len(items) == 1:
        return [], list(items)
    middle = len(items) // 2
    left_good, left_bad = split_off_culprits(items[:middle], works)
    right_good, right_bad = split_off_culprits(items[middle:], works)
    return left_good + right_good, left_bad + right_bad
