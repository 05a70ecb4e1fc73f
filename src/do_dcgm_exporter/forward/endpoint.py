"""Post a page to the endpoint once, within a time limit, whatever the endpoint does.

Importing this module imports requests. The forwarder does so in its own thread, so a host
that does not forward pays neither the memory nor the start-up time.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import io
import socket
import threading
from collections.abc import Callable, Iterator

import requests
from requests.adapters import HTTPAdapter

from do_dcgm_exporter.collect.sample_ages import boot_time
from do_dcgm_exporter.page.forwarding import ForwardResult, Outcome

_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN})
_TEMPORARY = frozenset({408, 429})  # the client errors that may pass
_MOST_ATTEMPTS = 3  # at a time, all but the newest given up


class Endpoint:
    """Where pages are posted; one caller posts, any thread may abort.

    An attempt that takes too long is given up: it continues in the background until its
    connection ends, but sends nothing more of its page, which a newer one has replaced.
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
        self._attempts: list[_Attempt] = []
        self._is_aborted = False
        self._lock = threading.Lock()

    def post(self, page: bytes) -> Outcome:
        """Post ``page`` and return how that went, within the timeout.

        An endpoint that keeps the connections of earlier attempts busy gets no further one.
        """
        with self._lock:
            self._attempts = [attempt for attempt in self._attempts if attempt.is_under_way()]
            if self._is_aborted or len(self._attempts) >= _MOST_ATTEMPTS:
                return _TIMED_OUT
            try:
                attempt = _Attempt(_Body(page, boot_time() + self._timeout), self._send)
            except Exception as error:  # noqa: BLE001 - no thread can be started, for one
                return _explain(error)
            self._attempts.append(attempt)
        return attempt.outcome(self._timeout)

    def abort(self) -> None:
        """Make the attempt under way return at once, and begin no other."""
        with self._lock:
            self._is_aborted = True
            for attempt in self._attempts:
                attempt.give_up()

    def _send(self, body: _Body) -> Outcome:
        """Send ``body`` and judge the status of the answer, whose own body is left unread.

        A Session would take proxies and passwords from the environment, keep cookies and
        read the whole body of a redirect, even of one it does not follow.
        """
        try:
            request = requests.Request("POST", self._url, headers=self._headers, data=body)
            with (
                contextlib.closing(HTTPAdapter()) as adapter,
                adapter.send(request.prepare(), stream=True, timeout=self._timeout) as response,
            ):
                return _judge(response.status_code)
        except Exception as error:  # noqa: BLE001 - the outcome says what it was
            return _explain(error)


class _Attempt:
    """A post on a thread of its own, so that it can be given up.

    The timeout of requests restarts with every byte that arrives and does not cover the
    system's resolver. Even so, most attempts end by it soon after they were given up.
    """

    def __init__(self, body: _Body, send: Callable[[_Body], Outcome]) -> None:
        self._body = body
        self._send = send
        self._outcome = _TIMED_OUT
        self._has_settled = threading.Event()
        self._thread = threading.Thread(target=self._run, name="forward attempt", daemon=True)
        self._thread.start()

    def outcome(self, seconds: float) -> Outcome:
        """Wait for the outcome, and give up after ``seconds``."""
        self._has_settled.wait(seconds)
        self._body.is_withdrawn = True
        return self._outcome

    def give_up(self) -> None:
        """Release the caller that waits for the outcome."""
        self._body.is_withdrawn = True
        self._has_settled.set()

    def is_under_way(self) -> bool:
        """Return whether the thread has not ended yet."""
        return self._thread.is_alive()

    def _run(self) -> None:
        self._outcome = self._send(self._body)
        self._has_settled.set()


class _Body(io.BytesIO):
    """A page as it is sent, block by block, until it is withdrawn or too late.

    It is late when a machine that slept meanwhile wakes: then it is ``boot_time`` that tells.
    """

    is_withdrawn = False

    def __init__(self, page: bytes, late_at: float) -> None:
        super().__init__(page)
        self._late_at = late_at

    def read(self, size: int | None = -1, /) -> bytes:
        """Read the next block.

        Raises:
            TimeoutError: the page is not to be sent any more.
        """
        if self.is_withdrawn or boot_time() > self._late_at:
            raise TimeoutError("the attempt was given up")
        return super().read(size)


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
