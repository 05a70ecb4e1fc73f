"""Read the job names that a batch system's prolog leaves in files, one file per GPU.

A file is named after the GPU's index, or ``gpu.instance`` under MIG, and holds one job
name per line, as with the option of the same name in NVIDIA's exporter.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

_log = logging.getLogger(__name__)

_FILE_NAME = re.compile(r"[0-9]+(\.[0-9]+)?")

# A prolog writes a handful of short names. Each repeats every series of its GPU, so any other
# file could blow the page up to megabytes.
_MOST_NAMES = 64
_LONGEST_NAME = 256  # characters
_MAX_BYTES = 65536


class JobSource(Protocol):
    """Something that knows which jobs run where."""

    def read(self) -> Mapping[str, tuple[str, ...]]:
        """Return job names by ``gpu`` or ``gpu.instance``, as labels name them."""


class _NoMapping(Exception):
    """Raised when a file holds something other than job names; the message says what."""


@dataclass(slots=True)
class JobDirectory:
    """The directory of mapping files."""

    path: Path
    _complaints: frozenset[str] = frozenset()

    def read(self) -> Mapping[str, tuple[str, ...]]:
        """Return job names by ``gpu`` or ``gpu.instance``, skipping files that cannot be read."""
        complaints: set[str] = set()
        jobs = dict(self._read(self.path, complaints))
        # Log each complaint once, not every cycle.
        for complaint in sorted(complaints - self._complaints):
            _log.warning("%s", complaint)
        self._complaints = frozenset(complaints)
        return jobs

    def _read(self, path: Path, complaints: set[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        try:
            files = [file for file in path.iterdir() if _FILE_NAME.fullmatch(file.name)]
        except OSError as error:
            complaints.add(f"cannot read the job mapping directory: {error}")
            return
        for file in files:
            try:
                yield file.name, _jobs_in(file)
            except FileNotFoundError:
                _log.debug("job mapping file %s is gone", file)  # the epilog has removed it
            except (OSError, _NoMapping) as error:
                complaints.add(f"the job mapping file {file} is ignored: {error}")


def _jobs_in(path: Path) -> tuple[str, ...]:
    if path.is_fifo():
        return ()  # opening it would block until a writer comes
    with path.open("rb") as file:
        text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    names = tuple(dict.fromkeys(name for line in text.splitlines() if (name := line.strip())))
    if len(names) > _MOST_NAMES:
        message = f"it has {len(names)} lines, and a GPU may have {_MOST_NAMES} jobs"
        raise _NoMapping(message)
    if any(len(name) > _LONGEST_NAME for name in names):
        message = f"a line is longer than {_LONGEST_NAME} characters"
        raise _NoMapping(message)
    return names
