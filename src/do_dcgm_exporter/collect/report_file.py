"""Read what a root oneshot of the package leaves in /run, while it is current."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from do_dcgm_exporter.usage_report import NOT_A_REPORT

_log = logging.getLogger(__name__)

_Content = TypeVar("_Content")


class ReportFile(Generic[_Content]):
    """A file of at most ``largest`` bytes, worth nothing when it is ``oldest`` seconds old.

    ``parse`` returns the time the file was written and its content, None if the writer does not
    know. Reading the same file again costs one stat.
    """

    def __init__(
        self,
        path: Path,
        parse: Callable[[bytes], tuple[float, _Content | None]],
        *,
        largest: int,
        oldest: float,
        clock: Callable[[], float],
    ) -> None:
        self._path = path
        self._parse = parse
        self._largest = largest
        self._oldest = oldest
        self._clock = clock
        self._version: tuple[int, int] | None = None
        self._time = 0.0
        self._content: _Content | None = None

    def content(self) -> _Content | None:
        """Return the content, None if it is unknown or too old."""
        self._refresh()
        # A report from the future was written before the clock was set back.
        return self._content if -1.0 <= self._clock() - self._time <= self._oldest else None

    def _refresh(self) -> None:
        try:
            status = os.stat(self._path)
            version = (status.st_mtime_ns, status.st_ino)
            if version == self._version:
                return
            with open(self._path, "rb") as file:
                self._take(file.read(self._largest))
        except OSError:
            self._content, version = None, None
        self._version = version

    def _take(self, text: bytes) -> None:
        try:
            self._time, self._content = self._parse(text)
        except NOT_A_REPORT as error:
            self._content = None
            _log.warning("cannot understand %s: %s", self._path, error)
