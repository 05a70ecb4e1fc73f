"""The client side. `Library` is to the simulated bindings what libdcgm is to NVIDIA's.

A call runs in the thread that makes it and waits in a socket, which releases the GIL.
Several threads may share a connection: the one that waits first reads for all of them.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable
from typing import Any

from dcgm_simulator.codes import Status, StatusError
from dcgm_simulator.versions import Behaviour
from dcgm_simulator.wire import (
    MAGIC,
    FrameReader,
    Function,
    pack_frame,
    pack_json,
    signed,
    unpack_json,
)

DEFAULT_PORT = 5555
DEFAULT_CONNECT_TIMEOUT = 5.0
CONNECT_RETRY = 0.05
"""Seconds between attempts while the engine refuses (DcgmClientHandler.cpp)."""
CALL_TIMEOUT_VARIABLE = "DCGM_SIMULATOR_CALL_TIMEOUT"
CALL_TIMEOUT = 60.0
"""Seconds after which a call to a hung engine fails with -11 (observed); the variable
above shortens it for tests."""

Address = str | tuple[str, int]
"""The path of a unix socket, or host and port."""


class Connection:
    """One connection to an engine. Once dead it stays dead."""

    def __init__(self, address: Address, timeout: float) -> None:
        self._socket: socket.socket | None = _open(address, time.monotonic() + timeout)
        self._reader = FrameReader()
        self._numbers = itertools.count(1)
        self._changed = threading.Condition()
        self._answers: dict[int, tuple[int, bytes]] = {}
        self._someone_reads = False
        self._call_timeout = float(os.environ.get(CALL_TIMEOUT_VARIABLE, CALL_TIMEOUT))

    def greet(self, version: str) -> None:
        """Log in. Blocks while the engine accepts connections but does not answer (observed).

        A login that fails leaves a dead connection and no error (DcgmApi.cpp).
        """
        try:
            self.call(Function.HELLO, pack_json({"magic": MAGIC, "version": version}), forever=True)
        except StatusError:
            self.close()

    def call(self, function: Function, body: bytes, *, forever: bool = False) -> bytes:
        """Make a call and return the body of its answer.

        Raises StatusError -11 if there is no answer, -21 if the connection is dead.
        """
        deadline = None if forever else time.monotonic() + self._call_timeout
        try:
            status, answer = self._exchange(function, body, deadline)
        except TimeoutError:
            raise StatusError(Status.TIMEOUT) from None
        except (OSError, ValueError):
            self.close()
            raise StatusError(Status.CONNECTION_NOT_VALID) from None
        if status:
            raise StatusError(status)
        return answer

    def _exchange(
        self, function: Function, body: bytes, deadline: float | None
    ) -> tuple[int, bytes]:
        with self._changed:
            connection, number = self._connected(), next(self._numbers)
            connection.settimeout(_remaining(deadline))
            connection.sendall(pack_frame(number, function, body))
        while True:
            with self._changed:
                if number in self._answers:
                    return self._answers.pop(number)
                connection = self._connected()
                if self._someone_reads:
                    self._changed.wait(_remaining(deadline))
                    continue
                self._someone_reads = True
            self._read(connection, deadline)

    def _connected(self) -> socket.socket:
        if self._socket is None:
            raise ConnectionResetError
        return self._socket

    def _read(self, connection: socket.socket, deadline: float | None) -> None:
        """Read answers for all waiting callers; those of callers that have given up are dropped."""
        try:
            ready, _, _ = select.select([connection], [], [], _remaining(deadline))
            data = connection.recv(1 << 20) if ready else None
            if data == b"":
                raise ConnectionResetError
            with self._changed:
                self._reader.feed(data or b"")
                while frame := self._reader.next_frame():
                    self._answers[frame[0]] = signed(frame[1]), frame[2]
        finally:
            with self._changed:
                self._someone_reads = False
                self._changed.notify_all()

    def close(self) -> None:
        """Close; pending calls of other threads fail with -21."""
        connection, self._socket = self._socket, None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def _remaining(deadline: float | None) -> float | None:
    if deadline is None:
        return None
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise TimeoutError
    return remaining


def _open(address: Address, deadline: float) -> socket.socket:
    while True:
        try:
            return _open_once(address)
        except OSError:
            if time.monotonic() + CONNECT_RETRY >= deadline:
                raise StatusError(Status.CONNECTION_NOT_VALID) from None
        time.sleep(CONNECT_RETRY)


def _open_once(address: Address) -> socket.socket:
    if isinstance(address, str):
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(address)
        except OSError:
            connection.close()
            raise
        return connection
    connection = socket.create_connection(address, timeout=DEFAULT_CONNECT_TIMEOUT)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def parse_address(text: str, behaviour: Behaviour) -> Address:
    """Return host and port of HOST[:PORT] or [IPV6]:PORT.

    Raises StatusError -1 for anything else; IPv6 came with 4.x (observed).
    """
    host, port = text, ""
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
        if not behaviour.accepts_ipv6:
            raise StatusError(Status.BADPARAM)
    elif ":" in text:
        host, _, port = text.partition(":")
    if not host or (port and not port.isdigit()) or int(port or DEFAULT_PORT) > 0xFFFF:
        raise StatusError(Status.BADPARAM)
    return host, int(port or DEFAULT_PORT)


class Library:
    """All connections of this process, by handle."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.behaviour = behaviour
        self.dial: Callable[[Address, float], Connection] = Connection
        """Opens a connection within a number of seconds; tests replace it."""
        self._connections: dict[int, Connection] = {}
        self._handles = itertools.count(1)
        self._initialized = False

    def initialize(self) -> None:
        """Initialize the library; a second time does nothing."""
        self._initialized = True

    def shut_down(self) -> None:
        """Close the connections of all handles."""
        self._initialized = False
        for handle in list(self._connections):
            self.disconnect(handle)

    def connect(self, address: str, *, is_unix_socket: bool, timeout_ms: int) -> int:
        """Connect to an engine and return a handle, which may be dead: probe it.

        Raises StatusError -21 if nothing listens there before the timeout.
        """
        if not self._initialized:
            raise StatusError(Status.UNINITIALIZED)
        timeout = timeout_ms / 1000 or DEFAULT_CONNECT_TIMEOUT
        target = address if is_unix_socket else parse_address(address, self.behaviour)
        connection = self.dial(target, timeout)
        handle = next(self._handles)
        self._connections[handle] = connection
        connection.greet(self.behaviour.version)
        return handle

    def disconnect(self, handle: int) -> None:
        """Close a connection; harmless on a dead one, and twice."""
        connection = self._connections.pop(handle, None)
        if connection is not None:
            connection.close()

    def call(self, handle: int, function: Function, asked: Any = None) -> Any:
        """Make a call whose body is JSON."""
        return unpack_json(self.call_packed(handle, function, pack_json(asked)))

    def call_packed(self, handle: int, function: Function, body: bytes) -> bytes:
        """Make a call whose body is packed by the caller.

        Raises StatusError with what the engine answered; -21 for an unknown handle.
        """
        connection = self._connections.get(handle)
        if connection is None:
            raise StatusError(Status.CONNECTION_NOT_VALID)
        return connection.call(function, body)

    def latest(
        self,
        handle: int,
        function: Function,
        entities: list[tuple[int, int]],
        fields: list[int],
        flags: int,
    ) -> memoryview:
        """Return the packed records of a latest-values call.

        Raises StatusError -1 beyond the limits, which the library checks itself.
        """
        if (
            not entities
            or not fields
            or len(entities) > self.behaviour.entity_limit
            or len(fields) > 128
        ):
            raise StatusError(Status.BADPARAM)
        numbers = [number for entity in entities for number in entity]
        body = struct.pack(
            f"<IHH{len(numbers)}I{len(fields)}H",
            flags,
            len(entities),
            len(fields),
            *numbers,
            *fields,
        )
        return memoryview(self.call_packed(handle, function, body))
