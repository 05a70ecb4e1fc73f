"""Run the command as a process of its own: from its first signal to its exit."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys


def run() -> None:
    """Run the command and end the process."""
    # A reload that is asked for before the service can do it waits, instead of ending us.
    # Importing the command takes a third of a second, so this comes first.
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})
    from do_dcgm_exporter.cli import main

    _leave(main())


def _leave(status: int) -> None:
    """End the process without tearing down the interpreter and the libraries.

    A thread may be blocked in a DCGM call. It must not find the library's objects destroyed or
    take a lock of an interpreter that is gone: one such process died of SIGSEGV at its end.
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            # What could not be written was told where it was written.
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
    os._exit(status)
