"""Job names that a batch system's prolog leaves in files, one file per GPU.

A file is named by the GPU's index, or ``gpu.instance`` under MIG, and holds one job
name per line (the layout of NVIDIA's exporter, facts of its ``--hpc-job-mapping-dir``).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from pathlib import Path

_log = logging.getLogger(__name__)

_FILE_NAME = re.compile(r"[0-9]+(\.[0-9]+)?")

# A prolog writes a handful of names; more is not a mapping file.
_MAX_BYTES = 65536


def read_jobs(directory: Path) -> Mapping[str, tuple[str, ...]]:
    """Job names by ``gpu`` or ``gpu.instance``; what cannot be read has none."""
    try:
        files = [path for path in directory.iterdir() if _FILE_NAME.fullmatch(path.name)]
    except OSError as error:
        _log.warning("cannot read the job mapping directory: %s", error)
        return {}
    return {path.name: _jobs_in(path) for path in files}


def _jobs_in(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError as error:
        _log.debug("job mapping file skipped: %s", error)  # the epilog may just have removed it
        return ()
    names = (line.strip() for line in text.splitlines())
    return tuple(dict.fromkeys(name for name in names if name))
