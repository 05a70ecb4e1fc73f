"""The file in which a root oneshot of the package says who uses the GPUs, while it is current."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from do_dcgm_exporter.collect.report_file import ReportFile
from do_dcgm_exporter.usage_report import LARGEST, REPORT, UsageReport, decode

# Three runs of the timer: nobody is looking any more.
_OLDEST = 3 * 60.0


def usage_file(
    path: Path = REPORT, *, clock: Callable[[], float] = time.time
) -> ReportFile[UsageReport]:
    """Return the file, to be read as often as one likes."""
    return ReportFile(path, _time_and_report, largest=LARGEST, oldest=_OLDEST, clock=clock)


def _time_and_report(text: bytes) -> tuple[float, UsageReport]:
    report = decode(text)
    return report.time, report
