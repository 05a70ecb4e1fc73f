"""Speak TLS between a socket and a connection, on the event loop.

asyncio's own TLS announces a client only after the handshake, so unfinished handshakes would
count against no limit. Here a client is admitted first, and its time for a request runs from
then. Nothing blocks: OpenSSL works on bytes in memory.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from do_dcgm_exporter.serve.http.connection import Connection
from do_dcgm_exporter.serve.http.request import wants_head
from do_dcgm_exporter.serve.http.response import Answer

_log = logging.getLogger(__name__)

_HANDSHAKE_RECORD = b"\x16"  # RFC 8446, 5.1
_CHUNK = 64 * 1024


class _State(Enum):
    """How far TLS has come."""

    NEW = auto()  # nothing has been received
    HANDSHAKE = auto()
    OPEN = auto()
    ENDED = auto()  # what is still received is thrown away


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """A protocol to the socket's transport, and the transport of ``connection``.

    ``is_welcome`` judges the client's certificate (``getpeercert()``) after the handshake. A
    client that speaks HTTP instead of TLS gets ``misplaced``, unencrypted.
    """

    def __init__(
        self,
        context: ssl.SSLContext,
        connection: Connection,
        is_welcome: Callable[[dict[str, Any]], bool],
        misplaced: Answer,
    ) -> None:
        super().__init__()
        self._connection = connection
        self._is_welcome = is_welcome
        self._misplaced = misplaced
        self._received = ssl.MemoryBIO()
        self._to_send = ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._to_send, server_side=True)
        self._state = _State.NEW
        self._is_reading = True
        self._is_delivering = False

    # --- as a protocol: what the socket's transport calls ---------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Admit the client before it has sent anything."""
        assert isinstance(transport, asyncio.Transport)
        self._raw = transport
        self._connection.connection_made(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Pass it on to the connection."""
        self._state = _State.ENDED
        self._connection.connection_lost(error)
        # They refer to each other: without this, OpenSSL's memory would wait for the garbage
        # collector, which does not know how much it is.
        del self._connection

    def data_received(self, data: bytes) -> None:
        """Decrypt what the client sent."""
        if self._state is _State.NEW:
            if not data.startswith(_HANDSHAKE_RECORD):
                self._end_misplaced(data)
                return
            self._state = _State.HANDSHAKE
        if self._state is _State.ENDED:
            return
        self._received.write(data)
        if self._state is _State.OPEN or self._shake_hands():
            self._deliver()

    def eof_received(self) -> bool:
        """Have the socket closed once everything is sent."""
        self._say_goodbye()
        return False

    def pause_writing(self) -> None:
        """Stop reading too: TLS answers some of what it reads."""
        self._raw.pause_reading()
        self._connection.pause_writing()

    def resume_writing(self) -> None:
        """Resume what pause_writing stopped."""
        if self._is_reading:
            self._raw.resume_reading()
        self._connection.resume_writing()

    # --- as a transport: what the connection calls ----------------------------------

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Limit what may be unsent (overrides asyncio)."""
        self._raw.set_write_buffer_limits(high, low)

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the socket's transport knows (overrides asyncio)."""
        return self._raw.get_extra_info(name, default)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send ``data``, or drop it while there is no TLS to send it with."""
        if self._state is _State.OPEN:
            self._tls.write(data)
            self._flush()

    def write_eof(self) -> None:
        """Announce the end; whatever the client still sends is discarded."""
        self._say_goodbye()
        if not self._raw.is_closing():
            self._raw.write_eof()

    def close(self) -> None:
        """Close once everything is sent."""
        self._say_goodbye()
        self._raw.close()

    def abort(self) -> None:
        """Close at once."""
        self._raw.abort()

    def is_closing(self) -> bool:
        """Return whether it is closed or about to be."""
        return self._raw.is_closing()

    def pause_reading(self) -> None:
        """Stop delivering to the connection."""
        self._is_reading = False
        self._raw.pause_reading()

    def resume_reading(self) -> None:
        """Deliver again, starting with what has been received already."""
        if not self._is_reading:
            self._is_reading = True
            self._raw.resume_reading()
            if not self._is_delivering:
                asyncio.get_running_loop().call_soon(self._deliver)

    # --- TLS ---------------------------------------------------------------------------

    def _shake_hands(self) -> bool:
        """Do the next step of the handshake; return whether it was the last."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return False
        except ssl.SSLError as error:
            self._refuse(error.reason or "it ended")
            return False
        if not self._is_welcome(self._tls.getpeercert() or {}):
            self._refuse("the certificate has none of client_allowed_sans")
            return False
        self._state = _State.OPEN
        self._flush()
        return True

    def _deliver(self) -> None:
        """Give the connection what is readable, for as long as it wants it."""
        if self._is_delivering or self._state is not _State.OPEN:
            return
        self._is_delivering = True
        try:
            while self._is_reading and (data := self._read()):
                self._connection.data_received(data)
        finally:
            self._is_delivering = False

    def _read(self) -> bytes:
        """Return what has arrived and is readable, empty if nothing is."""
        if self._state is not _State.OPEN:
            return b""
        try:
            data = self._tls.read(_CHUNK)
        except ssl.SSLWantReadError:
            self._flush()  # TLS may have had to answer something
            return b""
        except ssl.SSLError as error:
            self._refuse(error.reason or "it ended")
            return b""
        if not data:
            self.close()  # the client has said goodbye
        return data

    def _flush(self) -> None:
        if self._to_send.pending and not self._raw.is_closing():
            self._raw.write(self._to_send.read())

    def _say_goodbye(self) -> None:
        """Tell the client that the end is genuine, not an attacker's."""
        if self._state is _State.OPEN:
            self._state = _State.ENDED
            try:
                self._tls.unwrap()
            except ssl.SSLError:
                pass  # its own goodbye is not waited for
            self._flush()

    def _refuse(self, reason: str) -> None:
        """End a client that speaks TLS wrongly, with the alert that TLS has for it."""
        _log.debug("TLS with %s failed: %s", self.get_extra_info("peername"), reason)
        self._state = _State.ENDED
        self._flush()
        self._raw.close()

    def _end_misplaced(self, data: bytes) -> None:
        """Hang up on a client that does not speak TLS; tell one that speaks HTTP why."""
        self._state = _State.ENDED
        if data[:1].isalpha():
            answer = self._misplaced
            self._raw.write(answer.head if wants_head(data) else answer.data)
        self._raw.close()
