"""What the command says while it works: to a person, a maintainer script or the journal."""

from __future__ import annotations

import os
import sys
from typing import TextIO

from do_dcgm_exporter.commands.output import give_up
from do_dcgm_exporter.integration.changing.running import Level
from do_dcgm_exporter.integration.host import COMMAND

# sd-daemon(3): the journal reads the importance at the beginning of a line.
_PREFIXES = {Level.INFO: "<6>", Level.WARNING: "<4>"}


def tell(level: Level, text: str) -> None:
    """Say something: what was done on stdout, what went wrong on stderr."""
    stream: TextIO | None = sys.stderr if level is Level.WARNING else sys.stdout
    if stream is None:
        return  # closed: what was begun is brought to its end
    if _is_the_journals(stream):
        text = _PREFIXES[level] + text
    elif level is Level.WARNING:
        text = f"{COMMAND}: {text}"
    try:
        print(text, file=stream, flush=True)
    except OSError:
        give_up(stream)  # nobody listens any more; what was begun is brought to its end


def _is_the_journals(stream: TextIO) -> bool:
    """Return whether the journal reads a stream: systemd.exec(5), JOURNAL_STREAM.

    The variable alone does not say so: a service may run apt, and that us.
    """
    journal = os.environ.get("JOURNAL_STREAM")
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # it is no file at all
    return journal == f"{status.st_dev}:{status.st_ino}"
