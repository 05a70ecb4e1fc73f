"""The endpoint of a simulated run, and the sockets that lead to it."""

from __future__ import annotations

import errno
import io
import math
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from tests.simulation.scheduler import Scheduler

Step = bytes | float | OSError
"""An endpoint's next step: send, wait for some seconds, or reset the connection."""
Script = Callable[[], Iterator[Step]]


def _answer(status: str, body: bytes = b"") -> Script:
    def script() -> Iterator[Step]:
        yield f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body

    return script


def _late() -> Iterator[Step]:
    yield 3.0
    yield b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def _silent() -> Iterator[Step]:
    yield math.inf


def _reset() -> Iterator[Step]:
    yield ConnectionResetError(errno.ECONNRESET, "reset")


def _closing() -> Iterator[Step]:
    return
    yield


def _dripping() -> Iterator[Step]:
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 100:
        yield bytes([byte])
        yield 0.4


def _cut_short() -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\nContent-Le"


def _nonsense() -> Iterator[Step]:
    yield b"SSH-2.0-OpenSSH_9.2p1\r\n" * 100


def _endless_body() -> Iterator[Step]:
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    while True:
        yield b"1000\r\n" + b"x" * 4096 + b"\r\n"


ANSWERS: dict[str, Script] = {
    **{
        status.split()[0]: _answer(status)
        for status in (
            "200 OK",
            "204 No Content",
            "301 Moved Permanently\r\nLocation: http://198.51.100.1/",
            "400 Bad Request",
            "408 Request Timeout",
            "429 Too Many Requests",
            "500 Oops",
            "503 Busy",
            "999 What",
        )
    },
    "late": _late,
    "silent": _silent,
    "resetting": _reset,
    "closing": _closing,
    "dripping": _dripping,
    "cut short": _cut_short,
    "nonsense": _nonsense,
    "endless": _endless_body,
}

CONNECT_FAILURES: dict[str, Step | socket.gaierror] = {
    "refusing": ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
    "unreachable": OSError(errno.ENETUNREACH, "unreachable"),
    "unresolvable": socket.gaierror(-2, "unknown name"),
    "unresolved": 45.0,
    "deaf": math.inf,
}

BEHAVIOURS = (*ANSWERS, *CONNECT_FAILURES)


@dataclass
class Endpoint:
    """Accepts posts, and answers each by its present ``behaviour``."""

    scheduler: Scheduler
    posted: Callable[[bytes, str], None]
    behaviour: str = "200"
    handles: int = 0
    """Open sockets and files on them."""

    def sockets(self) -> SimpleNamespace:
        """What urllib3 uses of ``socket`` to connect."""
        return SimpleNamespace(
            socket=lambda *_: VirtualSocket(self),
            getaddrinfo=self._resolve,
            AF_INET=socket.AF_INET,
            AF_UNSPEC=socket.AF_UNSPEC,
            SOCK_STREAM=socket.SOCK_STREAM,
        )

    def _resolve(self, host: str, port: int, *_: object) -> list[tuple[Any, ...]]:
        if self.behaviour == "unresolved":
            self.scheduler.sleep(45.0)
        if self.behaviour == "unresolvable":
            raise socket.gaierror(-2, "unknown name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))]


class VirtualSocket:
    """The part of a socket that an attempt uses."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._timeout: float | None = None
        self._is_open = True
        self._sent = bytearray()
        self._script: Iterator[Step] | None = None
        self._unread = b""
        endpoint.handles += 1

    def settimeout(self, seconds: float | None) -> None:
        self._timeout = seconds

    def setsockopt(self, *_: object) -> None:
        pass

    def connect(self, _address: object) -> None:
        self._wait(0.002)
        outcome = CONNECT_FAILURES.get(self._endpoint.behaviour)
        if isinstance(outcome, OSError):
            raise outcome
        if outcome is not None:
            self._wait(math.inf)

    def sendall(self, data: bytes) -> None:
        self._sent += data
        head, found, body = bytes(self._sent).partition(b"\r\n\r\n")
        if found and len(body) >= _content_length(head):
            behaviour = self._endpoint.behaviour
            self._endpoint.posted(body, behaviour)
            self._script = ANSWERS.get(behaviour, _silent)()

    def makefile(self, _mode: str, _buffering: int = -1) -> io.BufferedReader:
        return io.BufferedReader(_Reader(self))

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._endpoint.handles -= 1

    __del__ = close  # as a real one, where an attempt was stopped before it could

    def read(self, size: int) -> bytes:
        """What has arrived, empty at the end."""
        while not self._unread:
            if self._script is None:
                return b""
            step = next(self._script, b"")
            if isinstance(step, OSError):
                raise step
            if isinstance(step, float):
                self._wait(step)
            elif not step:
                return b""
            else:
                self._unread = step
        data, self._unread = self._unread[:size], self._unread[size:]
        return data

    def _wait(self, seconds: float) -> None:
        limit = math.inf if self._timeout is None else self._timeout
        self._endpoint.scheduler.wait(min(seconds, limit))
        if seconds > limit:
            raise TimeoutError("timed out")


class _Reader(io.RawIOBase):
    def __init__(self, opened: VirtualSocket) -> None:
        super().__init__()
        self._socket = opened
        opened._endpoint.handles += 1

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._socket.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._socket._endpoint.handles -= 1
        super().close()


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0


def any_behaviour(generator: random.Random) -> str:
    """Draw one of all the ways in which an endpoint behaves."""
    return generator.choice(BEHAVIOURS)
