"""Read how many other programs on this machine run their own DCGM.

The exporter cannot see other processes (ProtectProc=invisible). A root oneshot of the package
looks at boot and every five minutes, and leaves its findings in a file.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path

REPORT = Path("/run/do-dcgm-exporter-integration/embedded-dcgm.json")

# Two and a half timer intervals: after that, the count is no longer kept up.
_OLDEST = 15 * 60.0
_LARGEST = 1 << 16

_log = logging.getLogger(__name__)


class EmbeddedDcgm:
    """The report. Each cycle costs one stat of its file."""

    def __init__(self, path: Path = REPORT, *, clock: Callable[[], float] = time.time) -> None:
        self._path = path
        self._clock = clock
        self._version: tuple[int, int] | None = None
        self._time = 0.0
        self._owners: tuple[str, ...] | None = None
        self._told: tuple[str, ...] = ()

    def count(self) -> int | None:
        """Return the number of processes, None if it is unknown or too old."""
        self._refresh()
        age = self._clock() - self._time
        # A report from the future was written before the clock was set back.
        if self._owners is None or not -1.0 <= age <= _OLDEST:
            return None
        self._tell(self._owners)
        return len(self._owners)

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
            version = (status.st_mtime_ns, status.st_ino)
            if version == self._version:
                return
            with open(self._path, "rb") as file:
                self._take(file.read(_LARGEST))
        except OSError:
            self._owners, version = None, None
        self._version = version

    def _take(self, text: bytes) -> None:
        try:
            report = json.loads(text)
            processes = report["processes"]
            self._time = float(report["time"])
            self._owners = (
                None if processes is None else tuple(sorted(str(one["of"]) for one in processes))
            )
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
            self._owners = None
            _log.warning("cannot understand %s: %s", self._path, error)

    def _tell(self, owners: tuple[str, ...]) -> None:
        """Log each change once."""
        if owners == self._told:
            return
        self._told = owners
        if owners:
            _log.warning(
                "another DCGM runs in %s: see do-dcgm-exporter-integrate check", ", ".join(owners)
            )
        else:
            _log.info("no other DCGM runs on this machine any more")
