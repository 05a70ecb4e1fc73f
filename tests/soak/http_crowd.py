"""Clients that occupy connections: slow, silent, deaf, half-open."""

from __future__ import annotations

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.soak.http_shapes import GOOD_HEAD

_PAUSE = 1.0  # seconds between two bytes of a slow client
_CLIENT_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


class Crowd:
    """Holds ``size`` connections to a port, and reconnects whenever one is closed."""

    def __init__(self, port: int, size: int, seed: int) -> None:
        self._port = port
        self._size = size
        self._random = random.Random(seed)
        self._stopped = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self.visits: Counter[str] = Counter()
        """How often each kind of client has connected."""

    def __enter__(self) -> Crowd:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        kinds = (self._silent, self._slow, self._deaf, self._half_a_handshake)
        clients = [
            asyncio.create_task(self._come_back(kinds[number % len(kinds)]))
            for number in range(self._size)
        ]
        while sum(self.visits.values()) < self._size and not self._stopped.is_set():
            await asyncio.sleep(0.05)
        self._ready.set()
        await self._stopped.wait()
        for client in clients:
            client.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _come_back(self, behave: _Behaviour) -> None:
        while not self._stopped.is_set():  # wait_for() may swallow a cancellation
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
                self.visits[behave.__name__.strip("_").replace("_", " ")] += 1
                try:
                    await behave(reader, writer)
                finally:
                    writer.transport.abort()
            await asyncio.sleep(self._random.uniform(5.0, 15.0) * _PAUSE)

    async def _silent(self, reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def _slow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in GOOD_HEAD * 3:
            writer.write(bytes([byte]))
            await writer.drain()
            with contextlib.suppress(asyncio.TimeoutError):
                if not await asyncio.wait_for(reader.read(1), _PAUSE):
                    return

    async def _deaf(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()
        for _ in range(60):
            writer.write(GOOD_HEAD * 300)
            await asyncio.wait_for(writer.drain(), 20 * _PAUSE)
            await asyncio.sleep(_PAUSE)

    async def _half_a_handshake(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(_CLIENT_HELLO)
        await reader.read()


_Behaviour = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
