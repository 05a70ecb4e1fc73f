"""Lay text out for a terminal: its width, its colours, the signs it can show."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import TextIO

_RESET = "\x1b[0m"
_STYLES = {
    "bold": "\x1b[1m",
    "dim": "\x1b[2m",
    "red": "\x1b[31m",
    "green": "\x1b[32m",
    "yellow": "\x1b[33m",
}


@dataclass(frozen=True, slots=True)
class Terminal:
    """What a terminal can show; ``width`` is in columns."""

    width: int = 80
    has_colors: bool = False
    has_unicode: bool = True

    def styled(self, text: str, style: str) -> str:
        """Return ``text`` in bold, dim, red, green or yellow, if there are colours."""
        return f"{_STYLES[style]}{text}{_RESET}" if self.has_colors and style else text

    def sign(self, unicode_sign: str, plain_sign: str) -> str:
        """Return the sign that can be shown."""
        return unicode_sign if self.has_unicode else plain_sign


def terminal_of(stream: TextIO | None, environ: Mapping[str, str] | None = None) -> Terminal | None:
    """Return the terminal behind ``stream``, None for a pipe, a file or a closed stream.

    NO_COLOR (no-color.org) and terminals without colours are respected.
    """
    environ = os.environ if environ is None else environ
    if stream is None or not stream.isatty():
        return None
    return Terminal(
        width=max(40, shutil.get_terminal_size().columns),
        has_colors=not environ.get("NO_COLOR") and environ.get("TERM", "dumb") != "dumb",
        has_unicode=(stream.encoding or "").lower().replace("-", "") == "utf8",
    )


def printable(text: str) -> str:
    """Return ``text`` without what would move the cursor or change colours."""
    return "".join(c if c.isprintable() else "?" for c in text)


Cell = tuple[str, str]
"""A text and its style, empty for none."""


def table(terminal: Terminal, rows: Iterable[Sequence[Cell]]) -> str:
    """Return aligned columns, two spaces apart."""
    rows = [list(row) for row in rows]
    columns = zip_longest(*rows, fillvalue=("", ""))
    widths = [max(len(text) for text, _ in column) for column in columns]
    lines = []
    for row in rows:
        last = len(row) - 1
        cells = (
            terminal.styled(text, style) + " " * ((width - len(text)) * (place < last))
            for place, ((text, style), width) in enumerate(zip(row, widths))
        )
        lines.append("  ".join(cells).rstrip() + "\n")
    return "".join(lines)


def flowed(terminal: Terminal, cells: Sequence[Sequence[Cell]], indent: int = 2) -> str:
    """Return entries of equal width, as many to a line as fit."""
    widths = [max(len(text) for text, _ in column) for column in zip(*cells)]
    entry_width = sum(widths) + 2 * len(widths) + 2
    count = max(1, (terminal.width - indent) // entry_width)
    lines = []
    for start in range(0, len(cells), count):
        entries = (
            "  ".join(
                terminal.styled(text, style) + " " * (width - len(text))
                for (text, style), width in zip(entry, widths)
            )
            for entry in cells[start : start + count]
        )
        lines.append(" " * indent + "    ".join(entries).rstrip() + "\n")
    return "".join(lines)
