"""Show what is being waited for, on a line that is erased afterwards."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from do_dcgm_exporter.commands.terminal import Terminal, terminal_of

_SPINNING = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
_TURNING = "|/-\\"
_CLEAR = "\r\x1b[K"

Tell = Callable[[str], None]
"""Takes what is being waited for; called several times a second."""


@contextmanager
def progress(
    stream: TextIO | None = None, clock: Callable[[], float] = time.monotonic
) -> Iterator[Tell | None]:
    """Yield a function that shows progress on ``stream``; None if that cannot erase lines."""
    stream = sys.stderr if stream is None else stream
    terminal = terminal_of(stream)
    if terminal is None or not terminal.has_colors:
        yield None
        return
    try:
        yield _Line(stream, terminal, clock).tell
    finally:
        stream.write(_CLEAR)
        stream.flush()


class _Line:
    def __init__(self, stream: TextIO, terminal: Terminal, clock: Callable[[], float]) -> None:
        self._stream = stream
        self._terminal = terminal
        self._signs = _SPINNING if terminal.has_unicode else _TURNING
        self._clock = clock
        self._started = clock()

    def tell(self, waited_for: str) -> None:
        elapsed = self._clock() - self._started
        sign = self._signs[int(elapsed * 10) % len(self._signs)]
        text = f"{sign} {waited_for} ({elapsed:.0f} s)"[: self._terminal.width - 1]
        self._stream.write(_CLEAR + self._terminal.styled(text, "dim"))
        self._stream.flush()
