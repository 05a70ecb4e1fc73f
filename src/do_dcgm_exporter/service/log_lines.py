"""Log lines on standard error, for the journal, for people and for programs.

The journal adds time and name itself: text lines get a syslog priority (sd-daemon(3)) when it
reads them, and a time when a person does.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from typing import TextIO

from do_dcgm_exporter.config.settings import LogFormat, Settings

_PRIORITIES = {
    logging.CRITICAL: 2,
    logging.ERROR: 3,
    logging.WARNING: 4,
    logging.INFO: 6,
    logging.DEBUG: 7,
}


def set_up_logging(settings: Settings) -> None:
    """Log at the level and in the format of ``settings``; may be called again."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_formatter(settings.log_format))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level.upper())
    # The connection pool reports every retry there; the forwarder reports every change here.
    logging.getLogger("urllib3").setLevel(logging.ERROR)


def _formatter(log_format: LogFormat) -> logging.Formatter:
    if log_format is LogFormat.JSON:
        return _JsonFormatter()
    if _is_read_by_journal(sys.stderr):
        return _JournalFormatter("%(message)s")
    return logging.Formatter("%(asctime)s %(levelname)s %(message)s")


def _is_read_by_journal(stream: TextIO) -> bool:
    """Return whether the journal reads ``stream`` (systemd.exec(5), JOURNAL_STREAM).

    The variable alone does not say so: a service's children inherit it, whatever their
    standard error is.
    """
    try:
        status = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False  # not a file
    return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"


class _JournalFormatter(logging.Formatter):
    """One priority per line, since a traceback has many."""

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{_PRIORITIES.get(record.levelno, 6)}>"
        return "\n".join(prefix + line for line in super().format(record).splitlines())


class _JsonFormatter(logging.Formatter):
    """One object per line."""

    def format(self, record: logging.LogRecord) -> str:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        entry = {
            "time": f"{stamp}.{int(record.msecs):03d}Z",
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, ensure_ascii=False)
