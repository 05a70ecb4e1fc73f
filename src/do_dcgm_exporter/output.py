"""Standard output."""

from __future__ import annotations

import os
import sys


def write(text: str) -> None:
    """Write ``text`` out, whatever the encoding and however soon the reader leaves."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more when it ends: library/signal.html, note on SIGPIPE.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
