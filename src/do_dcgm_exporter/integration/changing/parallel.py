"""Several units at once; none goes on when the run has ended."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from do_dcgm_exporter.integration.changing.means import Interrupted, Pace
from do_dcgm_exporter.integration.looking import commands

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def in_parallel(jobs: Sequence[Callable[[], None]], pace: Pace) -> None:
    """Run jobs at once and wait until all have ended, interrupted or not.

    Raises the first error.
    """
    errors: list[Exception] = []

    def run(job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except Interrupted:
        pace.stop()
        for thread in threads:
            _end(thread)
        raise
    if errors:
        raise errors[0]


def _end(thread: threading.Thread) -> None:
    while thread.is_alive():
        commands.end_all()  # what it has started just now, too
        thread.join(0.1)


@contextmanager
def interruptible(pace: Pace) -> Iterator[None]:
    """Raise Interrupted at the first Ctrl-C or SIGTERM, and ignore the others."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        pace.stop()
        commands.end_all()
        raise Interrupted

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
