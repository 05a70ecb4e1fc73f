"""The table of promises and measurements."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Promise:
    """One row; it ``holds`` or not. If it ``is_timed``, it needs a machine that is not too busy."""

    what: str
    promised: str
    measured: str
    holds: bool
    is_timed: bool = False


def table(promises: Iterable[Promise]) -> list[str]:
    """The rows as Markdown, which is readable in a terminal."""
    lines = ["| what | promised | measured | |", "| --- | --- | --- | --- |"]
    for promise in promises:
        verdict = "holds" if promise.holds else "**BROKEN**"
        lines.append(f"| {promise.what} | {promise.promised} | {promise.measured} | {verdict} |")
    return lines
