"""Files that are read now and have to be read again when they change."""

from __future__ import annotations

import os
from pathlib import Path

from do_dcgm_exporter.config.text_files import read_file

Mark = tuple[int, ...] | None


class WatchedFiles:
    """Reads files and remembers what they looked like right before."""

    def __init__(self) -> None:
        self.marks: dict[Path, Mark] = {}

    def read(self, path: Path, what: str) -> bytes:
        """Return the content of ``path``; raises ConfigurationError, which calls it ``what``."""
        self.marks[path] = _mark(path)
        return read_file(path, what)

    def look(self) -> dict[Path, Mark]:
        """Return what the files look like now, those that could not be read among them."""
        return {path: _mark(path) for path in self.marks}


def _mark(path: Path) -> Mark:
    """Return what changes when a file does, whatever links lead to it; None for no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
