"""Take whole request heads from clients and send them answers, within limits.

Everything here runs on the server's event loop; a connection costs no thread.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Protocol

from do_dcgm_exporter.serve.http.request import (
    HeadLimits,
    Refused,
    check_size,
    head_end,
    wants_head,
)
from do_dcgm_exporter.serve.http.response import Answer

# The transport gets this much of an answer at a time, because before Python 3.12 it copies
# what the kernel does not take. A page of 8 GPUs is smaller.
_PIECE = 256 * 1024

# After this many pipelined requests the others have a turn.
_ANSWERS_PER_TURN = 32


@dataclass(frozen=True, slots=True)
class Limits:
    """What a client may use; times are seconds.

    64 ``connections`` are several times what scrapers, an agent and browsers keep open on one
    host, and cheap even if slow clients hold them all: at most a head and a piece of a page
    each. ``head_seconds`` run from connecting, or from the first byte of a later request;
    ``idle_seconds``, longer than common scrape intervals, between requests;
    ``answer_seconds`` until the kernel has taken the whole answer; ``leave_seconds`` from the
    last answer until the client hangs up.
    """

    connections: int = 64
    head_seconds: float = 10.0
    idle_seconds: float = 180.0
    answer_seconds: float = 30.0
    leave_seconds: float = 2.0
    head: HeadLimits = field(default_factory=HeadLimits)


class Responder(Protocol):
    """Turns request heads into answers."""

    def answer(self, head: bytes, address: str) -> Answer | asyncio.Future[Answer]:
        """Answer a whole head from ``address``, now or later; raises Refused."""

    def refuse(self, refused: Refused) -> Answer:
        """Return the answer to a request that is refused."""


class Phase(Enum):
    """What a connection is waiting for."""

    HEAD = auto()  # the rest of a request
    IDLE = auto()  # the first byte of another request
    VERDICT = auto()  # an answer that is given later
    ANSWER = auto()  # the client to read
    LEAVING = auto()  # the client to hang up; whatever it still sends is thrown away


# It has asked and is waiting for us.
_BUSY = (Phase.VERDICT, Phase.ANSWER)


class Connections:
    """The open connections: newcomers, and those that have made a request, oldest first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._newcomers: OrderedDict[Connection, None] = OrderedDict()
        self._known: OrderedDict[Connection, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._newcomers) + len(self._known)

    def __iter__(self) -> Iterator[Connection]:
        return itertools.chain(self._newcomers, self._known)

    def admit(self, newcomer: Connection) -> None:
        """Take ``newcomer`` in, ending another connection if there are too many."""
        if len(self) >= self._limit:
            dispensable = self._most_dispensable()
            self.remove(dispensable)
            dispensable.end()
        self._newcomers[newcomer] = None

    def remove(self, connection: Connection) -> None:
        """Forget a connection that has ended."""
        self._newcomers.pop(connection, None)
        self._known.pop(connection, None)

    def requested(self, connection: Connection) -> None:
        """Note that ``connection`` has just made a complete request."""
        self._newcomers.pop(connection, None)
        self._known[connection] = None
        self._known.move_to_end(connection)

    # The first of these that there is has to go:
    # 1. one that has its last answer and has yet to hang up;
    # 2. the oldest newcomer, if newcomers have half of the places: fewer get time to ask;
    # 3. of those that have asked before, the one that has been idle for longest;
    # 4. when all are being answered, the one that has been for longest: it does not read.
    def _most_dispensable(self) -> Connection:
        leaving = next((c for c in self._known if c.phase is Phase.LEAVING), None)
        if leaving is not None:
            return leaving
        if len(self._newcomers) >= max(1, self._limit // 2):
            return next(iter(self._newcomers))
        return next((c for c in self._known if c.phase not in _BUSY), next(iter(self._known)))

    def end_overdue(self, now: float) -> None:
        """End every connection whose deadline has passed."""
        self._end(c for c in self if c.deadline <= now)

    def end_all(self) -> None:
        """End every connection."""
        self._end(self)

    def retire_all(self) -> None:
        """End every connection, those that are being answered after their answer."""
        for connection in tuple(self):
            connection.retire()

    def _end(self, connections: Iterable[Connection]) -> None:
        for connection in tuple(connections):
            connection.end()


class Connection(asyncio.Protocol):
    """One client: splits its stream into heads and sends the answers of ``responder``."""

    def __init__(
        self,
        responder: Responder,
        connections: Connections,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self.phase = Phase.HEAD
        self.deadline = clock() + limits.head_seconds
        self._responder = responder
        self._connections = connections
        self._limits = limits
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._unsent = memoryview(b"")
        self._wants_head = False
        self._closes = False
        self._is_retired = False
        self._writable = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._address = str(peer[0]) if peer else ""
        # An answer is pending until the kernel has its last byte.
        transport.set_write_buffer_limits(high=0)
        self._connections.admit(self)

    def connection_lost(self, _error: Exception | None) -> None:
        """Forget the client."""
        self.phase = Phase.LEAVING
        self._received = b""
        self._unsent = memoryview(b"")
        self._connections.remove(self)

    def data_received(self, data: bytes) -> None:
        """Answer every request that is complete with ``data``."""
        if self.phase is not Phase.LEAVING:
            self._received += data
            self._proceed()

    def pause_writing(self) -> None:
        """Stop writing: the kernel takes no more for now."""
        self._writable = False

    def resume_writing(self) -> None:
        """Resume the answer, then the requests behind it."""
        self._writable = True
        self._send_on()
        self._proceed()

    def end(self) -> None:
        """Hang up, at once if the client does not read."""
        if self.phase is Phase.ANSWER:
            self._transport.abort()
        else:
            self._transport.close()
        self.phase = Phase.LEAVING

    def retire(self) -> None:
        """Hang up, after the answer if one is due."""
        self._is_retired = True
        if self.phase not in _BUSY:
            self.end()

    def _enter(self, phase: Phase, seconds: float) -> None:
        self.phase = phase
        self.deadline = self._clock() + seconds

    def _proceed(self) -> None:
        """Answer what has arrived, in order; read nothing while an answer is pending."""
        for _ in range(_ANSWERS_PER_TURN):
            if self.phase in _BUSY:
                self._transport.pause_reading()
                return
            if not self._answer_next():
                self._transport.resume_reading()
                return
        self._transport.pause_reading()
        self._loop.call_soon(self._proceed)

    def _answer_next(self) -> bool:
        """Answer the next request; return whether there was a whole one."""
        if not self._received or self.phase is Phase.LEAVING or self._transport.is_closing():
            return False
        try:
            head = self._next_head()
            if not head:
                return False
            answer = self._responder.answer(head, self._address)
        except Refused as refused:
            answer = self._responder.refuse(refused)
        self._connections.requested(self)
        if isinstance(answer, Answer):
            self._send(answer)
        else:
            self._enter(Phase.VERDICT, self._limits.answer_seconds)
            answer.add_done_callback(self._send_later)
        return True

    def _next_head(self) -> bytes:
        """Take the next head from what has arrived; empty if it is not whole."""
        received = self._received.lstrip(b"\r\n")  # RFC 9112, 2.2
        self._wants_head = wants_head(received)
        end = head_end(received)
        head, self._received = received[:end], received[end:]
        check_size(head or received, self._limits.head)
        if self._received and self.phase is Phase.IDLE:
            self._enter(Phase.HEAD, self._limits.head_seconds)
        return head

    def _send(self, answer: Answer) -> None:
        self._closes = answer.closes
        self._unsent = memoryview(answer.head if self._wants_head else answer.data)
        self._send_on()

    def _send_later(self, answer: asyncio.Future[Answer]) -> None:
        """Send an answer that was waited for, unless the client has gone."""
        if self.phase is Phase.VERDICT:
            self._send(answer.result())
            self._proceed()

    def _send_on(self) -> None:
        """Hand the transport as much of the answer as it takes."""
        while self._unsent and self._writable:
            piece, self._unsent = self._unsent[:_PIECE], self._unsent[_PIECE:]
            self._transport.write(piece)
        if not self._writable:
            if self.phase is not Phase.ANSWER:
                self._enter(Phase.ANSWER, self._limits.answer_seconds)
        elif self._closes or self._is_retired:
            self._leave()
        else:
            self._enter(Phase.IDLE, self._limits.idle_seconds)

    def _leave(self) -> None:
        """Send the end of the stream, and let the client hang up.

        Closing with unread bytes resets the connection, which may lose the answer before the
        client has read it (RFC 9112, 9.6).
        """
        self._enter(Phase.LEAVING, self._limits.leave_seconds)
        self._received = b""
        try:
            self._transport.write_eof()
        except OSError:  # it has hung up already
            self._transport.abort()
