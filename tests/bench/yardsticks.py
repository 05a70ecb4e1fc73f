"""Servers to compare with: ``python -m tests.bench.yardsticks KIND PORT DIRECTORY``.

``bare`` is an asyncio.Protocol that answers anything with the bytes of a file, head
included: the most that a server on this loop could do. It only looks at what decides
between its four files: ``answer``, with or without ``-gzip`` and ``-close``.
``prometheus_client`` is the library's own server with the samples in the file ``page``, as
in a plain exporter.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable
from pathlib import Path

KINDS = ("bare", "prometheus_client")


class _Bare(asyncio.Protocol):
    def __init__(self, answers: dict[tuple[bool, bool], bytes]) -> None:
        self._answers = answers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        closes = b"close" in data
        self._transport.write(self._answers[b"gzip" in data, closes])
        if closes:
            self._transport.close()


def file_name(*, gzip: bool, closes: bool) -> str:
    """The file of one kind of answer."""
    return "answer" + "-gzip" * gzip + "-close" * closes


def _serve_bare(port: int, directory: Path) -> None:
    answers = {
        (gzip, closes): (directory / file_name(gzip=gzip, closes=closes)).read_bytes()
        for gzip in (False, True)
        for closes in (False, True)
    }

    async def serve() -> None:
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Bare(answers), "127.0.0.1", port)
        await server.serve_forever()

    asyncio.run(serve())


def _serve_prometheus_client(port: int, directory: Path) -> None:
    from prometheus_client import CollectorRegistry, start_http_server
    from prometheus_client.parser import text_string_to_metric_families

    families = list(text_string_to_metric_families((directory / "page").read_text()))

    class Collector:
        def collect(self) -> list[object]:
            return families

    registry = CollectorRegistry()
    registry.register(Collector())
    start_http_server(port, "127.0.0.1", registry)
    threading.Event().wait()


_SERVERS: dict[str, Callable[[int, Path], None]] = dict(
    zip(KINDS, (_serve_bare, _serve_prometheus_client))
)

if __name__ == "__main__":
    _SERVERS[sys.argv[1]](int(sys.argv[2]), Path(sys.argv[3]))
