"""Watch the files of the web configuration, and reload it when they change.

A file may be on a disk that does not answer, so this is a thread of its own.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.serve.access.security import Security, load_security

_log = logging.getLogger(__name__)

_TICK = 1.0

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
        """Return what the files look like now, including those that could not be read."""
        return {path: _mark(path) for path in self.marks}


def _mark(path: Path) -> Mark:
    """Return what changes when a file does, whatever links lead to it; None for no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


class WebConfigWatch:
    """The web configuration at ``path``, read now and whenever its files change.

    Raises ConfigurationError if it is wrong now; if it is later, the last good one stays.
    """

    def __init__(self, path: Path, before: WebConfigWatch | None = None) -> None:
        """``before`` is what it replaces; passwords verified there need no second check."""
        self._path = path
        self._files = WatchedFiles()
        old = before.security if before else None
        self.security: Security = load_security(path, self._files.read, old)
        self._seen = self._files.marks
        self._complaint = ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self, take: Callable[[Security], None], tell: Callable[[str], None]) -> None:
        """Begin to look, on another thread, which calls ``take`` and ``tell``.

        ``take`` gets a new configuration; ``tell`` gets why one is wrong, and "" once it is
        right again.
        """
        self._take = take
        self._tell = tell
        threading.Thread(target=self._run, name="web-config", daemon=True).start()

    def stop(self) -> None:
        """End; nothing is taken after this returns."""
        with self._lock:
            self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(_TICK):
            self.tick()

    def tick(self) -> None:
        """Look once.

        Changed files are read once they have stopped changing: a certificate and its key are
        never replaced at the same moment.
        """
        now = self._files.look()
        has_settled, self._seen = now == self._seen, now
        if has_settled and now != self._files.marks:
            self._read()

    def _read(self) -> None:
        self._files = WatchedFiles()
        try:
            new = load_security(self._path, self._files.read, self.security)
        except ExporterError as error:
            complaint = str(error)
        else:
            complaint = ""
        self._seen = self._files.marks
        with self._lock:
            if self._stopped.is_set():
                return
            if not complaint:
                self.security = new
                self._take(new)
                _log.info("web configuration reloaded: %s", new)
                for sentence in new.config.warnings:
                    _log.warning("%s", sentence)
            if complaint != self._complaint:
                self._complaint = complaint
                self._tell(complaint)
