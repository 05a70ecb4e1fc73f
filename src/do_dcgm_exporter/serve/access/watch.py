"""Looks after the web configuration: whether its files have changed, once a second.

A file may be on a disk that does not answer, so this is a thread of its own.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.serve.access.security import WebSecurity, load_web_security
from do_dcgm_exporter.serve.access.watched_files import WatchedFiles

_log = logging.getLogger(__name__)

_TICK = 1.0


class WebConfigWatch:
    """The web configuration at ``path``, read now and whenever its files change.

    Raises ConfigurationError if it is wrong now. If it is later, the one before goes on.
    """

    def __init__(self, path: Path, before: WebConfigWatch | None = None) -> None:
        """``before`` is what it replaces, whose verified passwords stay so."""
        self._path = path
        self._files = WatchedFiles()
        old = before.security if before else None
        self.security: WebSecurity = load_web_security(path, self._files, old)
        self._seen = self._files.marks
        self._complaint = ""
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def start(self, take: Callable[[WebSecurity], None], tell: Callable[[str], None]) -> None:
        """Begin to look; ``take`` and ``tell`` are called by another thread.

        ``take`` gets a new web configuration, ``tell`` why one is wrong and "" once none is.
        """
        self._take = take
        self._tell = tell
        threading.Thread(target=self._run, name="web-config", daemon=True).start()

    def stop(self) -> None:
        """End; nothing is taken after that."""
        with self._lock:
            self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(_TICK):
            self.tick()

    def tick(self) -> None:
        """Look once.

        What has changed is read when it has stopped changing: a certificate and its key
        are never replaced at the same moment.
        """
        now = self._files.look()
        has_settled, self._seen = now == self._seen, now
        if has_settled and now != self._files.marks:
            self._read()

    def _read(self) -> None:
        self._files = WatchedFiles()
        try:
            new = load_web_security(self._path, self._files, self.security)
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
                _log.info("web configuration read again: %s", new)
            if complaint != self._complaint:
                self._complaint = complaint
                self._tell(complaint)
