"""Replay recorded pages as many hosts: a server on the loopback interface.

Host 17 is at /17/metrics. It has its own name and UUIDs, and every scrape gets the next of
the recorded pages, so that Prometheus has as much to store as with real hosts.
"""

from __future__ import annotations

import gzip
import http.server
import itertools
import socket
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

_LEVEL = 1  # as fast as possible; sizes are measured on the exporter's own answers
_RECORDED_UUID = b"GPU-5a5a"  # of the simulator


def pages_of(host: int, pages: Sequence[bytes]) -> list[bytes]:
    """Return recorded pages as those of one host, gzipped."""
    name = socket.gethostname().encode()
    return [
        gzip.compress(
            page.replace(b'="%s"' % name, b'="gpu-host-%05d"' % host).replace(
                _RECORDED_UUID, b"GPU-%04x" % host
            ),
            _LEVEL,
        )
        for page in pages
    ]


@contextmanager
def replaying(pages: Sequence[bytes], hosts: int) -> Iterator[int]:
    """Serve ``pages`` as those of a number of hosts; yield the port."""
    endless = {f"/{host}/metrics": itertools.cycle(pages_of(host, pages)) for host in range(hosts)}
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(endless))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()


def _handler(endless: Mapping[str, Iterator[bytes]]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = next(endless[self.path])
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    return Handler
