"""Archives for apt inside a machine, which has no network: a small web server.

It serves directories of this host, and is a caching proxy for the distribution's archive.
"""

from __future__ import annotations

import http.server
import os
import shutil
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

from tests.package.layers import CACHE
from tests.package.machine import Machine

PORT = 8000


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a path from a directory, a whole URL from the distribution."""

    directories: Mapping[str, Path] = {}

    def do_GET(self) -> None:
        """Answer."""
        content = self._fetched() if "://" in self.path else self._local()
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _local(self) -> bytes | None:
        _, name, rest = unquote(self.path).split("/", 2)
        path = self.directories.get(name, Path("/nonexistent")) / rest
        return path.read_bytes() if path.is_file() else None

    def _fetched(self) -> bytes | None:
        parts = urlsplit(self.path)
        kept = CACHE / "archive" / quote(f"{parts.netloc}{parts.path}", safe="")
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            new = kept.with_name(f"{kept.name[-100:]}.new.{os.getpid()}.{threading.get_ident()}")
            try:
                with (
                    urllib.request.urlopen(self.path, timeout=60) as answer,
                    new.open("wb") as file,
                ):
                    shutil.copyfileobj(answer, file)
            except OSError:
                return None
            new.rename(kept)
        return kept.read_bytes()


@contextmanager
def archives(machine: Machine, **directories: Path) -> Iterator[None]:
    """Serve directories by name, and the distribution, at port 8000 of a machine."""
    listener = machine.network.listen("127.0.0.1", PORT)
    handler = type("Handler", (Handler,), {"directories": directories})
    server = http.server.ThreadingHTTPServer(("", 0), handler, bind_and_activate=False)
    server.socket.close()
    server.socket = listener
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
