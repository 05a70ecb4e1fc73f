"""The table of what was promised and what was measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """One row; it ``holds`` or not. One that ``is_timed`` needs a machine that is not too busy."""

    what: str
    promised: str
    measured: str
    holds: bool
    is_timed: bool = False


def table(promises: Iterable[Promise]) -> list[str]:
    """The rows as Markdown, which a terminal shows well enough."""
    lines = ["| what | promised | measured | |", "| --- | --- | --- | --- |"]
    for promise in promises:
        verdict = "holds" if promise.holds else "**BROKEN**"
        lines.append(f"| {promise.what} | {promise.promised} | {promise.measured} | {verdict} |")
    return lines
