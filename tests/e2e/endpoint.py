"""An endpoint that records what is posted to it, and answers well or badly."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.waiting import wait_until

# An answer gets the connection once the post has been read.
Behaviour = Callable[[socket.socket], None]


@dataclass(frozen=True)
class Post:
    """One request as received."""

    request_line: str
    headers: dict[str, str]
    body: bytes
    at: float


def answering(status: str, headers: str = "", body: bytes = b"") -> Behaviour:
    """Answer with a status line such as ``500 Oops``."""

    def answer(connection: socket.socket) -> None:
        head = f"HTTP/1.1 {status}\r\n{headers}Content-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)

    return answer


def resetting(connection: socket.socket) -> None:
    """Reset the connection instead of answering."""
    # With a linger time of 0, closing resets the connection: socket(7).
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def hanging(connection: socket.socket) -> None:
    """Send nothing until the other side gives up."""
    connection.settimeout(60)
    connection.recv(1)


def dripping(connection: socket.socket) -> None:
    """Send the head one byte at a time, for ten seconds."""
    for byte in b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 175:
        connection.sendall(bytes([byte]))
        time.sleep(0.05)


def answering_without_end(connection: socket.socket) -> None:
    """Send 200 and a body that never ends."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while True:
        connection.sendall(b"1000\r\n" + b"x" * 4096 + b"\r\n")


def answering_nonsense(connection: socket.socket) -> None:
    """Send what is not HTTP."""
    connection.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n" * 100)


OK = answering("200 OK")


class Endpoint:
    """A server for posts on a free port of the loopback interface, or on another socket."""

    def __init__(self, listener: socket.socket | None = None) -> None:
        self.posts: list[Post] = []
        self.behaviour: Behaviour = OK
        self._listener = listener or socket.create_server(("127.0.0.1", 0))
        self._threads = [threading.Thread(target=self._run, daemon=True)]
        self._connections: list[socket.socket] = []

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        """Where to post to."""
        return f"http://127.0.0.1:{self.port}/v1/gpu_metrics"

    def __enter__(self) -> Endpoint:
        self._threads[0].start()
        return self

    def __exit__(self, *error: object) -> None:
        for opened in (self._listener, *self._connections):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join()
        self._listener.close()

    def wait_for_posts(self, more: int) -> list[Post]:
        """Wait for so many more posts, and return them."""
        before = len(self.posts)
        wait_until(lambda: len(self.posts) >= before + more, f"{more} more posts")
        return self.posts[before:]

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            connection.settimeout(60)
            stream = connection.makefile("rb")
            with stream:
                post = _read(stream)
            self.posts.append(post)
            self.behaviour(connection)


def _read(stream: object) -> Post:
    request_line = stream.readline().decode().strip()
    headers = {}
    while line := stream.readline().decode().strip():
        name, _, value = line.partition(": ")
        headers[name] = value
    body = stream.read(int(headers.get("Content-Length", 0)))
    return Post(request_line, headers, body, time.monotonic())
