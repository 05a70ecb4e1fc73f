"""One attempt to hand a page to the endpoint, ended in time whatever the endpoint does.

Importing this imports requests, which the forwarder does in its own thread, so that a
host that does not forward pays neither the memory nor the start-up time.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextvars import ContextVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError

from do_dcgm_exporter.forward.name_lookup import Addresses, Lookup, Resolver
from do_dcgm_exporter.page.forwarding import ForwardResult, Outcome

_NO_WAY = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_TOO_EARLY = frozenset({408, 429})  # the client errors that pass with time


class Deadline:
    """Ends an attempt when its time is up, whatever its thread is waiting for.

    A timeout of a socket begins anew with every byte that arrives, so a timer shuts the
    connections down instead. It does so through duplicates of them, which stay valid
    when TLS takes a socket over, and which end with the attempt.
    """

    def __init__(self, seconds: float, resolver: Resolver) -> None:
        self._resolver = resolver
        self._lookup: Lookup | None = None
        self.has_passed = False
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._duplicates: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self.strike)
        self._timer.daemon = True
        self._timer.start()

    def close(self) -> None:
        """Let go of the attempt, which has ended."""
        self._timer.cancel()
        with self._lock:
            for duplicate in self._duplicates:
                duplicate.close()
            self._duplicates.clear()

    def strike(self) -> None:
        """End the attempt now."""
        with self._lock:
            self.has_passed = True
            if self._lookup is not None:
                self._lookup.event.set()
            for duplicate in self._duplicates:
                with contextlib.suppress(OSError):  # not connected yet, or no longer
                    duplicate.shutdown(socket.SHUT_RDWR)

    def connect(self, host: str, port: int) -> socket.socket:
        """Connect to the first address of ``host`` that answers in what time is left."""
        failure = OSError(errno.EHOSTUNREACH, "it has no address")
        for family, address in self._addresses(host, port):
            connection = socket.socket(family, socket.SOCK_STREAM)
            try:
                self._watch(connection)
                connection.connect(address)
            except OSError as error:
                connection.close()
                failure = error
            else:
                return connection
        raise failure

    def _addresses(self, host: str, port: int) -> Addresses:
        with self._lock:
            left = self._ends - time.monotonic()
            if self.has_passed or left <= 0:
                raise TimeoutError
            self._lookup = self._resolver.begin(host, port)
        self._lookup.event.wait(left)
        return self._lookup.addresses()

    def _watch(self, connection: socket.socket) -> None:
        with self._lock:
            left = self._ends - time.monotonic()
            if self.has_passed or left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            self._duplicates.append(connection.dup())


_deadline: ContextVar[Deadline] = ContextVar("_deadline")


class _PlainConnection(HTTPConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


class _TlsConnection(HTTPSConnection):
    def _new_conn(self) -> socket.socket:
        return _connect(self)


def _connect(connection: HTTPConnection) -> socket.socket:
    """Make the connection that urllib3 asks for.

    urllib3 ignores a bare ECONNRESET, taking it for one that was met while sending.
    """
    try:
        return _deadline.get().connect(connection.host, connection.port)
    except OSError as error:
        raise NewConnectionError(connection, "no connection") from error


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _PlainConnection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


class Endpoint:
    """Where pages are posted.

    The adapter of requests is used without a Session, which would look for proxies and
    passwords in the environment, keep cookies, and read the whole body of a redirect
    even when told not to follow it. Each attempt has a connection of its own: there is
    one every 20 s, and an idle connection that the endpoint has closed meanwhile would
    look like a failure.
    """

    def __init__(self, url: str, timeout: float, version: str) -> None:
        self._url = url
        self._timeout = timeout
        self._headers = {
            "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
            "User-Agent": f"do-dcgm-exporter/{version}",
            "Connection": "close",
        }
        self._adapter = HTTPAdapter()
        self._adapter.poolmanager.pool_classes_by_scheme = {
            "http": _PlainPool,
            "https": _TlsPool,
        }
        self._current: Deadline | None = None
        self._resolver = Resolver()

    def post(self, page: bytes) -> Outcome:
        """Post ``page`` and say how that went, within the timeout."""
        with contextlib.closing(Deadline(self._timeout, self._resolver)) as deadline:
            self._current = deadline
            _deadline.set(deadline)
            try:
                outcome = _judge(self._post(page))
            except (OSError, HTTPError, http.client.HTTPException) as error:
                outcome = _explain(error)
            # A head cut short by the deadline may have been taken for a whole one.
            return _OUTCOMES[TimeoutError] if deadline.has_passed else outcome

    def abort(self) -> None:
        """End the attempt under way, if there is one; called by another thread."""
        if self._current is not None:
            self._current.strike()

    def _post(self, page: bytes) -> int:
        """Return the status the endpoint answers with; the answer's body is left unread."""
        request = requests.Request("POST", self._url, headers=self._headers, data=page)
        with contextlib.closing(
            self._adapter.send(request.prepare(), stream=True, timeout=self._timeout)
        ) as response:
            return response.status_code


def _judge(status: int) -> Outcome:
    """Say what a status means.

    A redirect or a client error is final: the same bytes would meet the same answer.
    """
    detail = f"answered {status}"
    kinds = {
        2: Outcome(ForwardResult.SUCCESS, detail, is_final=True),
        3: Outcome(ForwardResult.REDIRECT, detail, is_final=True),
        4: Outcome(ForwardResult.REJECTED, detail, is_final=status not in _TOO_EARLY),
        5: Outcome(ForwardResult.SERVER_ERROR, detail),
    }
    return kinds.get(status // 100, Outcome(ForwardResult.BROKEN_ANSWER, detail))


# In this order: some are kinds of later ones.
_OUTCOMES: dict[type[BaseException], Outcome] = {
    TimeoutError: Outcome(ForwardResult.TIMEOUT, "did not answer in time"),
    ConnectionRefusedError: Outcome(ForwardResult.REFUSED, "refuses connections"),
    ConnectionError: Outcome(ForwardResult.RESET, "broke the connection"),
    socket.gaierror: Outcome(ForwardResult.UNREACHABLE, "has a name that cannot be resolved"),
    http.client.HTTPException: Outcome(ForwardResult.BROKEN_ANSWER, "does not speak HTTP"),
}


def _explain(error: BaseException) -> Outcome:
    """Say what went wrong, by the innermost error that is known.

    The text of an error is not shown, since the endpoint may have written it.
    """
    for cause in _causes(error):
        for kind, outcome in _OUTCOMES.items():
            if isinstance(cause, kind):
                return outcome
        if isinstance(cause, OSError) and cause.errno in _NO_WAY:
            return Outcome(ForwardResult.UNREACHABLE, "cannot be reached")
    return Outcome(ForwardResult.ERROR, f"cannot be posted to ({type(error).__name__})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield what led to ``error``, innermost first."""
    if error is not None:
        yield from _causes(error.__cause__ or error.__context__)
        yield error
