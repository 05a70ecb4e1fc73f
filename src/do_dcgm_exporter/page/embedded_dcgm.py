"""Read how many other programs on this machine run their own DCGM.

The exporter cannot see other processes (ProtectProc=invisible). A root oneshot of the package
looks at boot and every five minutes, and leaves its findings in a file.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path

from do_dcgm_exporter.collect.report_file import ReportFile

REPORT = Path("/run/do-dcgm-exporter-integration/embedded-dcgm.json")

# Two and a half timer intervals: after that, the count is no longer kept up.
_OLDEST = 15 * 60.0
_LARGEST = 1 << 16

_log = logging.getLogger(__name__)


class EmbeddedDcgm:
    """The report. Each cycle costs one stat of its file."""

    def __init__(self, path: Path = REPORT, *, clock: Callable[[], float] = time.time) -> None:
        self._file = ReportFile(
            path, _time_and_owners, largest=_LARGEST, oldest=_OLDEST, clock=clock
        )
        self._told: tuple[str, ...] = ()

    def count(self) -> int | None:
        """Return the number of processes, None if it is unknown or too old."""
        owners = self._file.content()
        if owners is None:
            return None
        self._tell(owners)
        return len(owners)

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


def _time_and_owners(text: bytes) -> tuple[float, tuple[str, ...] | None]:
    report = json.loads(text)
    processes = report["processes"]
    owners = None if processes is None else tuple(sorted(str(one["of"]) for one in processes))
    return float(report["time"]), owners
