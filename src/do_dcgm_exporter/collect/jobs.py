"""Job names that a batch system's prolog leaves in files, one file per GPU.

A file is named by the GPU's index, or ``gpu.instance`` under MIG, and holds one job
name per line, as for NVIDIA's exporter and its option of the same name.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_log = logging.getLogger(__name__)

_FILE_NAME = re.compile(r"[0-9]+(\.[0-9]+)?")

# A prolog writes a handful of names; more is not a mapping file.
_MAX_BYTES = 65536


@dataclass(slots=True)
class JobDirectory:
    """The directory of mapping files; without a path there are no jobs."""

    path: Path | None
    _complaint: str = ""

    def read(self) -> Mapping[str, tuple[str, ...]]:
        """Job names by ``gpu`` or ``gpu.instance``; what cannot be read has none."""
        if self.path is None:
            return {}
        try:
            files = [file for file in self.path.iterdir() if _FILE_NAME.fullmatch(file.name)]
        except OSError as error:
            self._complain(f"cannot read the job mapping directory: {error}")
            return {}
        self._complain("")
        return {file.name: _jobs_in(file) for file in files}

    def _complain(self, complaint: str) -> None:
        """Say what is wrong once, not in every cycle."""
        if complaint and complaint != self._complaint:
            _log.warning("%s", complaint)
        self._complaint = complaint


def _jobs_in(path: Path) -> tuple[str, ...]:
    if path.is_fifo():
        return ()  # opening it would wait for a writer, for ever
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        _log.debug("job mapping file skipped: %s", error)  # the epilog may just have removed it
        return ()
    names = (line.strip() for line in text.splitlines())
    return tuple(dict.fromkeys(name for name in names if name))
