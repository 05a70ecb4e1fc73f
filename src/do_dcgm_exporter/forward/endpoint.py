"""Post a page to the endpoint once, within a time limit, whatever the endpoint does.

Importing this module imports requests. The forwarder does so in its own thread, so a host
that does not forward pays neither the memory nor the start-up time.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

import requests
from requests.adapters import HTTPAdapter

from do_dcgm_exporter.page.forwarding import ForwardResult, Outcome

_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_TEMPORARY = frozenset({408, 429})  # the client errors that may pass


class Endpoint:
    """Where pages are posted; one caller posts, any thread may abort.

    There is never more than one attempt at a time, not even one that was given up, so a
    page cannot arrive after a newer one, and an endpoint that hangs costs one thread.
    """

    def __init__(self, url: str, timeout: float, version: str) -> None:
        """Prepare to post to ``url``, each attempt taking at most ``timeout`` seconds."""
        self._url = url
        self._timeout = timeout
        self._headers = {
            "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
            "User-Agent": f"do-dcgm-exporter/{version}",
            # An idle connection that the endpoint closes before the next post would look
            # like a failure.
            "Connection": "close",
        }
        self._attempt: _Attempt | None = None
        self._is_aborted = False
        self._lock = threading.Lock()

    def post(self, page: bytes) -> Outcome:
        """Post ``page`` and return how that went, within the timeout."""
        deadline = time.monotonic() + self._timeout
        if self._attempt is not None:
            self._attempt.stop()
            if not self._attempt.ends_within(self._timeout):
                return _TIMED_OUT
        with self._lock:
            if self._is_aborted:
                return _TIMED_OUT
            self._attempt = _Attempt(partial(self._send, page))
        return self._attempt.outcome(deadline - time.monotonic())

    def abort(self) -> None:
        """Make the attempt under way return at once, and begin no other."""
        with self._lock:
            self._is_aborted = True
            if self._attempt is not None:
                self._attempt.stop()

    def _send(self, page: bytes) -> Outcome:
        """Send ``page`` and judge the status of the answer, whose body is left unread.

        A Session would take proxies and passwords from the environment, keep cookies and
        read the whole body of a redirect, even of one it does not follow.
        """
        try:
            request = requests.Request("POST", self._url, headers=self._headers, data=page)
            with (
                contextlib.closing(HTTPAdapter()) as adapter,
                adapter.send(request.prepare(), stream=True, timeout=self._timeout) as response,
            ):
                return _judge(response.status_code)
        except Exception as error:  # noqa: BLE001 - the outcome says what it was
            return _explain(error)


class _Attempt:
    """A post on a thread of its own, so that it can be given up.

    The timeout of requests starts anew with every byte that arrives and does not cover the
    system's resolver. An attempt that was given up usually ends soon after, by that timeout.
    """

    def __init__(self, send: Callable[[], Outcome]) -> None:
        self._send = send
        self._outcome = _TIMED_OUT
        self._has_settled = threading.Event()
        self._lock = threading.Lock()
        self._can_be_stopped = True
        self._thread = threading.Thread(target=self._run, name="forward attempt", daemon=True)
        self._thread.start()

    def outcome(self, seconds: float) -> Outcome:
        """Wait for the outcome, at most ``seconds``."""
        self._has_settled.wait(seconds)
        return self._outcome

    def stop(self) -> None:
        """Let go whoever waits, and make the thread exit if it is still sending."""
        with self._lock:
            if self._can_be_stopped:
                self._can_be_stopped = False
                stop_thread(self._thread)
        self._has_settled.set()

    def ends_within(self, seconds: float) -> bool:
        """Wait for the thread to end, at most ``seconds``; return whether it has."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def _run(self) -> None:
        with contextlib.suppress(Stopped):
            self._outcome = self._send()
            with self._lock:
                self._can_be_stopped = False
        self._has_settled.set()


class Stopped(BaseException):
    """Raised in the thread of an attempt that is stopped."""


def stop_thread(thread: threading.Thread) -> None:
    """Raise Stopped in ``thread`` as soon as it next runs Python code.

    An endpoint that never stops sending would keep it busy for ever, and urllib3 does not
    hand out the socket. The exception may strike anywhere, which is safe where nothing is
    shared: an attempt has its own adapter and logs nothing.
    """
    ctypes.pythonapi.PyThreadState_SetAsyncExc(
        ctypes.c_ulong(thread.ident or 0), ctypes.py_object(Stopped)
    )


def _judge(status: int) -> Outcome:
    """Say what a status means.

    A redirect or a client error is final: the same bytes would get the same answer.
    """
    detail = f"answered {status}"
    kinds = {
        2: Outcome(ForwardResult.SUCCESS, detail, is_final=True),
        3: Outcome(ForwardResult.REDIRECT, detail, is_final=True),
        4: Outcome(ForwardResult.REJECTED, detail, is_final=status not in _TEMPORARY),
        5: Outcome(ForwardResult.SERVER_ERROR, detail),
    }
    return kinds.get(status // 100, Outcome(ForwardResult.BROKEN_ANSWER, detail))


_TIMED_OUT = Outcome(ForwardResult.TIMEOUT, "did not answer in time")

# The order matters: some are subclasses of later ones.
_OUTCOMES: dict[type[BaseException], Outcome] = {
    TimeoutError: _TIMED_OUT,
    ConnectionRefusedError: Outcome(ForwardResult.REFUSED, "refuses connections"),
    ConnectionError: Outcome(ForwardResult.RESET, "broke the connection"),
    socket.gaierror: Outcome(ForwardResult.UNREACHABLE, "has a name that cannot be resolved"),
    http.client.HTTPException: Outcome(ForwardResult.BROKEN_ANSWER, "does not speak HTTP"),
}


def _explain(error: Exception) -> Outcome:
    """Say what went wrong, by the innermost error that is known.

    The text of an error is not shown, since the endpoint may have written it.
    """
    for cause in _causes(error):
        for kind, outcome in _OUTCOMES.items():
            if isinstance(cause, kind):
                return outcome
        if isinstance(cause, OSError) and cause.errno in _NO_ROUTE:
            return Outcome(ForwardResult.UNREACHABLE, "cannot be reached")
    return Outcome(ForwardResult.ERROR, f"cannot be posted to ({type(error).__name__})")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield what led to ``error``, innermost first."""
    if error is not None:
        yield from _causes(error.__cause__ or error.__context__)
        yield error
