"""The process around the engine: sockets, frames, signals.

One thread serves all connections, so calls never overlap; none takes longer than a few
milliseconds. Control commands arrive at an abstract unix socket of their own, which
answers even while the engine hangs or refuses connections.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from dcgm_simulator.codes import Status, StatusError
from dcgm_simulator.commands import carry_out
from dcgm_simulator.control import ControlError
from dcgm_simulator.discovery import EngineDies
from dcgm_simulator.host import Host
from dcgm_simulator.timeline import Event, Timeline
from dcgm_simulator.wire import (
    MAGIC,
    FrameReader,
    Function,
    pack_frame,
    pack_json,
    unpack_json,
)

CHUNK = 1 << 18
_NAMES = {function.value: function.name.lower() for function in Function}


def control_address(address: str) -> str:
    """Return the abstract socket of an engine from its port or domain socket path."""
    _, colon, port = address.rpartition(":")
    return f"\0dcgm-simulator-{port if colon and port.isdigit() else address}"


@dataclass
class Client:
    """One open socket."""

    id: int
    socket: socket.socket
    is_control: bool
    reader: FrameReader = field(default_factory=FrameReader)
    outgoing: bytearray = field(default_factory=bytearray)
    greeted: bool = False


class LateAnswer(NamedTuple):
    """A frame to be answered at a later time."""

    due: float
    serial: int
    client: Client
    frame: tuple[int, int, bytes]


class Server:
    """Serves one simulated engine until told to stop."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self._selector = selectors.DefaultSelector()
        self._clients: dict[int, Client] = {}
        self._next_client = 1
        self._listeners: list[socket.socket] = []
        self._hanging = False
        self._running = True
        self._late: list[LateAnswer] = []
        self._serials = itertools.count()
        self._waker: socket.socket | None = None
        self._timeline = Timeline([], 0, str)
        self._address: tuple[str, int] = ("", 0)
        self._socket_path: Path | None = None

    # --- listening -----------------------------------------------------------------------

    def listen(self, host: str, port: int, socket_path: Path | None = None) -> list[str]:
        """Open the sockets and return the addresses that clients can use.

        Raises OSError if one is taken.
        """
        self._address, self._socket_path = (host, port), socket_path
        self._open_listeners()
        names = [_name(listener) for listener in self._listeners]
        control = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        control.bind(control_address(names[0]))
        control.listen()
        self._register(control, self._accept_control)
        return names

    def _open_listeners(self) -> None:
        host, port = self._address
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=64)
        self._address = host, listener.getsockname()[1]
        self._listeners = [listener]
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)
            unix = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            unix.bind(str(self._socket_path))
            unix.listen()
            self._listeners.append(unix)
        for opened in self._listeners:
            self._register(opened, self._accept)

    def _register(self, opened: socket.socket, ready: Callable[[socket.socket], None]) -> None:
        opened.setblocking(False)
        self._selector.register(opened, selectors.EVENT_READ, lambda _events: ready(opened))

    def _close_listeners(self) -> None:
        for listener in self._listeners:
            self._selector.unregister(listener)
            listener.close()
        self._listeners = []

    def catch_signals(self) -> None:
        """Make SIGTERM and SIGINT end `run`, even if they come before it."""
        reader, waker = socket.socketpair()
        waker.setblocking(False)
        # A handler alone would not interrupt select: PEP 475 resumes it.
        signal.set_wakeup_fd(waker.fileno())
        self._waker = waker
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop())
        self._register(reader, _drain)

    # --- serving -------------------------------------------------------------------------

    def run(self, lifeline: int | None = None) -> None:
        """Serve until told to stop, or until the file descriptor `lifeline` is closed."""
        if lifeline is not None:
            self._selector.register(
                lifeline, selectors.EVENT_READ, lambda _: self._listen_to(lifeline)
            )
        while self._running:
            for key, events in self._selector.select(self._longest_wait()):
                key.data(events)
            self._answer_late()
            self._timeline.carry_out(self)
        self._shut_down()

    def follow(self, events: list[Event], complain: Callable[[str], object]) -> None:
        """Carry out commands by time, counted from now; `complain` gets what cannot be."""
        self._timeline = Timeline(events, self.host.clock(), complain)

    def _longest_wait(self) -> float | None:
        waits = self._until_late_answer(), self._timeline.seconds_left(self.host.clock())
        return min((wait for wait in waits if wait is not None), default=None)

    def _until_late_answer(self) -> float | None:
        return max(0.0, self._late[0].due - time.monotonic()) if self._late else None

    def _answer_late(self) -> None:
        while self._late and self._late[0].due <= time.monotonic():
            late = heapq.heappop(self._late)
            if late.client.id in self._clients:
                self._reply(late.client, *late.frame)

    def _listen_to(self, lifeline: int) -> None:
        if not os.read(lifeline, 64):
            self.stop()

    def stop(self) -> None:
        """End `run` at once."""
        self._running = False

    def _shut_down(self) -> None:
        signal.set_wakeup_fd(-1)
        self._close_listeners()
        self.drop()
        if self._socket_path is not None:
            self._socket_path.unlink(missing_ok=True)

    def _accept(self, listener: socket.socket) -> None:
        self._admit(listener, is_control=False)

    def _accept_control(self, listener: socket.socket) -> None:
        self._admit(listener, is_control=True)

    def _admit(self, listener: socket.socket, *, is_control: bool) -> None:
        try:
            opened, _ = listener.accept()
        except OSError:
            return
        opened.setblocking(False)
        if opened.family != socket.AF_UNIX:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Client(self._next_client, opened, is_control)
        self._next_client += 1
        self._clients[client.id] = client
        self._selector.register(
            opened, selectors.EVENT_READ, lambda events: self._serve(client, events)
        )

    def _serve(self, client: Client, events: int) -> None:
        try:
            if events & selectors.EVENT_WRITE:
                self._flush(client)
            if events & selectors.EVENT_READ:
                data = client.socket.recv(CHUNK)
                if not data:
                    self._close(client)
                    return
                client.reader.feed(data)
                self._work(client)
        except (OSError, ValueError):
            # A client that is gone, or sends no valid frame, is dropped silently.
            self._close(client)

    def _work(self, client: Client) -> None:
        while client.id in self._clients and (client.is_control or not self._hanging):
            frame = client.reader.next_frame()
            if frame is None:
                return
            delay = 0.0 if client.is_control else self._delay(frame[1])
            if delay:
                due = time.monotonic() + delay
                heapq.heappush(self._late, LateAnswer(due, next(self._serials), client, frame))
            else:
                self._reply(client, *frame)

    def _delay(self, code: int) -> float:
        return self.host.faults.slow.get(_NAMES.get(code, ""), 0.0)

    def _reply(self, client: Client, number: int, code: int, body: bytes) -> None:
        status, answer = self._answer(client, code, body)
        client.outgoing += pack_frame(number, status, answer)
        self._flush(client)

    def _answer(self, client: Client, code: int, body: bytes) -> tuple[int, bytes]:
        try:
            function = Function(code)
            if client.is_control:
                return Status.OK, pack_json(self._control(unpack_json(body)))
            if function is Function.HELLO:
                self._greet(client, unpack_json(body))
                return Status.OK, b""
            # A client that has not logged in has no connection, and fails there.
            return Status.OK, self.host.call(client.id, function, body)
        except StatusError as error:
            return error.status, b""
        except EngineDies:
            os.kill(os.getpid(), signal.SIGSEGV)
            raise
        except OSError:
            raise
        except Exception as error:
            # Whatever one client sends, the others must still be served.
            if not client.greeted and not client.is_control:
                raise ValueError(str(error)) from error
            return Status.GENERIC_ERROR, repr(error).encode()

    def _greet(self, client: Client, hello: dict[str, str]) -> None:
        if hello["magic"] != MAGIC:
            raise ValueError("not a simulated client")
        self.host.connect(client.id, hello["version"])
        client.greeted = True

    def _flush(self, client: Client) -> None:
        with contextlib.suppress(BlockingIOError):
            while client.outgoing:
                sent = client.socket.send(client.outgoing)
                del client.outgoing[:sent]
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outgoing else 0)
        key = self._selector.get_key(client.socket)
        if key.events != wanted:
            self._selector.modify(client.socket, wanted, key.data)

    def _close(self, client: Client) -> None:
        if self._clients.pop(client.id, None) is not None:
            self._selector.unregister(client.socket)
            client.socket.close()
            self.host.disconnect(client.id)

    # --- control -------------------------------------------------------------------------

    def _control(self, asked: dict[str, Any]) -> dict[str, Any]:
        name, arguments = asked["command"], asked["arguments"]
        try:
            return {"result": carry_out(self, name, arguments)}
        except ControlError as error:
            return {"error": str(error)}

    def hang(self) -> None:
        """Accept connections and calls, but answer none."""
        self._hanging = True

    def resume(self) -> None:
        """Accept connections again, and answer all pending calls."""
        self._hanging = False
        if not self._listeners:
            self._open_listeners()
        for client in list(self._clients.values()):
            if not client.is_control:
                self._work(client)

    def refuse(self) -> None:
        """Refuse new connections; existing ones continue."""
        self._close_listeners()

    def drop(self) -> None:
        """Close all connections."""
        for client in list(self._clients.values()):
            if not client.is_control:
                self._close(client)


def _drain(reader: socket.socket) -> None:
    reader.recv(64)


def _name(listener: socket.socket) -> str:
    address = listener.getsockname()
    if isinstance(address, str):
        return address
    host, port = address[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
