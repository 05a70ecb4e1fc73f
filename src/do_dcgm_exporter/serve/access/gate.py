"""Let requests through to the site by password and rate.

The shape of a head is checked first, so that nonsense costs no password check.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import replace
from http import HTTPStatus
from ipaddress import IPv6Address, ip_network

from do_dcgm_exporter.serve.access.password_checker import PasswordChecker
from do_dcgm_exporter.serve.access.passwords import Passwords, parse_basic
from do_dcgm_exporter.serve.access.web_config import RateLimit
from do_dcgm_exporter.serve.http.request import Refused, Request
from do_dcgm_exporter.serve.http.response import Answer, Content
from do_dcgm_exporter.serve.routes import Site

# A field line as in request.py; one of another shape stays in, to be refused there.
_AUTHORIZATION = re.compile(rb"\r\nauthorization:([\t -~\x80-\xff]*)(?=\r\n)", re.IGNORECASE)

_WHO_ARE_YOU = Content(
    b"a user and a password are needed\n",
    status=HTTPStatus.UNAUTHORIZED,
    extra=('WWW-Authenticate: Basic realm="do-dcgm-exporter", charset="UTF-8"',),
)
_TOO_MANY_CHECKS = Content(
    b"too many passwords are being checked\n",
    status=HTTPStatus.TOO_MANY_REQUESTS,
    extra=("Retry-After: 1",),
)
_TOO_MANY_REQUESTS = Content(
    b"too many requests\n", status=HTTPStatus.TOO_MANY_REQUESTS, extra=("Retry-After: 1",)
)


class Bucket:
    """A token bucket that lets as many requests through as ``limit`` says."""

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._tokens = float(limit.burst)
        self._filled_at = clock()

    def take(self) -> bool:
        """Take a token; return whether there was one."""
        now = self._clock()
        gained = (now - self._filled_at) / self._limit.interval
        self._tokens = min(float(self._limit.burst), self._tokens + gained)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


class Gate:
    """Lets requests through to ``site`` by rate and password; for the event loop alone.

    Under ``is_tls`` pages are not compressed, since the length of a compressed page can betray
    its content (BREACH); except /metrics, which has no secret and echoes nothing.
    """

    def __init__(
        self,
        site: Site,
        passwords: Passwords | None = None,
        checker: PasswordChecker | None = None,
        bucket: Bucket | None = None,
        *,
        is_tls: bool = False,
    ) -> None:
        self._site = site
        self._passwords = passwords
        self._checker = checker
        self._bucket = bucket
        self._is_tls = is_tls

    def refuse(self, refused: Refused) -> Answer:
        """Return the answer to a request that is refused."""
        return self._site.refuse(refused)

    def answer(self, head: bytes, address: str) -> Answer | asyncio.Future[Answer]:
        """Answer a request head from ``address``, later if a password has to be checked."""
        try:
            head, authorization = _without_authorization(head)
            request = self._site.understand(head)
            if self._is_tls and request.path != "/metrics":
                request = _uncompressed(request)
            if self._bucket is not None and not self._bucket.take():
                return self._turn_away(_TOO_MANY_REQUESTS, request)
            if self._passwords is None or self._checker is None:
                return self._site.respond(request)
            return self._ask(self._passwords, self._checker, request, authorization, address)
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - as in Site.answer
            return self._site.fail(error)

    def _ask(
        self,
        passwords: Passwords,
        checker: PasswordChecker,
        request: Request,
        authorization: str,
        address: str,
    ) -> Answer | asyncio.Future[Answer]:
        credentials = parse_basic(authorization)
        if credentials is None:
            return self._turn_away(_WHO_ARE_YOU, request)
        digest = passwords.digest(credentials)
        if passwords.remembers(credentials, digest):
            return self._site.respond(request)
        verdict = checker.check(passwords, credentials, digest, _neighbourhood(address))
        if verdict is None:
            return self._turn_away(_TOO_MANY_CHECKS, request)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        verdict.add_done_callback(lambda told: answer.set_result(self._admit(told, request)))
        return answer

    def _turn_away(self, why: Content, request: Request) -> Answer:
        """Refuse and hang up: connections are for those who may ask."""
        return self._site.say(why, replace(request, keep_alive=False))

    def _admit(self, verdict: asyncio.Future[bool], request: Request) -> Answer:
        """Answer a request whose password has been checked."""
        try:
            if verdict.result():
                return self._site.respond(request)
            return self._turn_away(_WHO_ARE_YOU, request)
        except Exception as error:  # noqa: BLE001 - as in Site.answer
            return self._site.fail(error)


def _uncompressed(request: Request) -> Request:
    headers = {name: text for name, text in request.headers.items() if name != "accept-encoding"}
    return replace(request, headers=headers)


def _without_authorization(head: bytes) -> tuple[bytes, str]:
    """Split off the field that is secret: heads are cached, which passwords must not be."""
    found = _AUTHORIZATION.findall(head)
    if len(found) > 1:
        raise Refused(HTTPStatus.BAD_REQUEST, "there must be at most one Authorization header")
    return _AUTHORIZATION.sub(b"", head), found[0].decode("latin-1") if found else ""


def _neighbourhood(address: str) -> str:
    """Return the network a client has to itself: with IPv6, a /64 at least."""
    if ":" not in address:
        return address
    plain = IPv6Address(address.partition("%")[0])
    return str(plain.ipv4_mapped or ip_network((plain, 64), strict=False))
