"""Write to standard output, whether a terminal or a pipe, open or closed."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from do_dcgm_exporter.errors import ExporterError


class CannotPrint(ExporterError):
    """Raised when standard output cannot be written: it is closed, or its disk is full."""

    exit_status = 2


def write(text: str) -> None:
    """Write ``text``; neither an encoding that lacks it nor a reader that leaves is an error.

    Raises CannotPrint.
    """
    with _standard_output() as stdout:
        encoding = stdout.encoding or "ascii"
        stdout.write(text.encode(encoding, "backslashreplace").decode(encoding))
        stdout.flush()


def write_bytes(data: bytes) -> None:
    """Write ``data``; a reader that leaves is no error. Raises CannotPrint."""
    with _standard_output() as stdout:
        stdout.buffer.write(data)
        stdout.flush()


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    stdout: TextIO | None = sys.stdout
    if stdout is None:
        raise CannotPrint("standard output is closed")
    try:
        yield stdout
    except OSError as error:
        give_up(stdout)
        if not isinstance(error, BrokenPipeError):
            raise CannotPrint(f"standard output: {error.strerror}") from error


def give_up(stream: TextIO) -> None:
    """Discard what is still in ``stream``.

    The interpreter flushes it once more at exit: library/signal.html, note on SIGPIPE.
    """
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
