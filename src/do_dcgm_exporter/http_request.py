"""One HTTP request: found in a stream of bytes, judged, and understood.

No request has a body here, so a request is exactly one head, and a head means the
same whoever sends it. That makes parsing a pure function of bytes, worth caching: a
scraper sends the same head every time.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

import httptools

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

# httptools' parser differs with its version: that of Ubuntu 22.04 takes folded lines,
# a space before the colon and bare line feeds, and all take HTTP/0.9. Each is a way to
# make two parsers see two requests (RFC 9112, 2.2, 5.1, 5.2), so nothing that strays
# from this reaches it.
_HEAD = re.compile(
    rb"%b [!-~]+ HTTP/(?P<version>[0-9]\.[0-9])\r\n(?:%b:[\t -~\x80-\xff]*\r\n)*\r\n"
    % (_TOKEN, _TOKEN)
)
_HEAD_END = re.compile(rb"\n\r?\n")


@dataclass(frozen=True, slots=True)
class HeadLimits:
    """How large a request's head may be (RFC 9112, 3 asks for lines of 8000 bytes)."""

    head_bytes: int = 16384
    line_bytes: int = 8192
    headers: int = 100


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked for.

    ``path`` is decoded and without a query. Header names are in lower case; the
    values of repeated headers are joined by commas.
    """

    head_only: bool
    path: str
    headers: Mapping[str, str]
    keep_alive: bool


class Refused(Exception):
    """Raised for a request that gets ``status`` and the end of its connection."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def head_end(received: bytes) -> int:
    """Return where the first head in ``received`` ends, 0 if it has not ended yet.

    Bare line feeds end it too, so that a client that sends them is told so at once.
    """
    found = _HEAD_END.search(received)
    return found.end() if found else 0


def check_size(head: bytes, limits: HeadLimits) -> None:
    """Refuse a head, whole or not, that has grown too large."""
    if len(head) > limits.line_bytes and b"\n" not in head[: limits.line_bytes]:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long")
    if len(head) > limits.head_bytes or head.count(b"\n") > limits.headers + 2:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too much of a header")


def parse_head(head: bytes) -> Request:
    """Understand one whole head, or refuse it."""
    shape = _HEAD.fullmatch(head)
    if shape is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "this is not an HTTP request")
    if shape["version"] not in (b"1.0", b"1.1"):
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "HTTP/1.1 is spoken here")
    is_newest = shape["version"] == b"1.1"
    parts = _take_apart(head)
    headers = _join(parts.headers)
    if parts.method not in (b"GET", b"HEAD"):
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are allowed")
    _refuse_body(headers)
    _require_host(parts.headers, required=is_newest)
    return Request(
        head_only=parts.method == b"HEAD",
        path=_path(parts.target),
        headers=headers,
        keep_alive=_keeps_alive(headers, by_default=is_newest),
    )


class _Parts:
    """What httptools calls back with."""

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.headers: list[tuple[str, str]] = []

    def on_url(self, part: bytes) -> None:
        """Take a piece of the request target."""
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take one header."""
        self.headers.append((name.decode("latin-1").lower(), value.decode("latin-1").strip()))


def _take_apart(head: bytes) -> _Parts:
    parts = _Parts()
    parser = httptools.HttpRequestParser(parts)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # a client may offer to change the protocol and must take it when we do not
    except httptools.HttpParserInvalidMethodError as error:
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are allowed") from error
    except httptools.HttpParserError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "this is not an HTTP request") from error
    parts.method = parser.get_method()
    return parts


def _join(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Fold repeated headers into one each (RFC 9110, 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _refuse_body(headers: Mapping[str, str]) -> None:
    """Refuse whatever announces a body: where it ends need never be known."""
    length = headers.get("content-length")
    if "transfer-encoding" in headers and length is not None:
        raise Refused(HTTPStatus.BAD_REQUEST, "the body has two lengths")
    if "transfer-encoding" in headers or length not in (None, "0"):
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no request may have a body")


def _require_host(headers: list[tuple[str, str]], *, required: bool) -> None:
    """Insist on one Host (RFC 9112, 3.2); HTTP/1.0 may do without."""
    hosts = sum(name == "host" for name, _ in headers)
    if hosts > 1 or (required and not hosts):
        raise Refused(HTTPStatus.BAD_REQUEST, "there must be one Host header")


def _path(target: bytes) -> str:
    """Return the decoded path of an origin-form or absolute-form target."""
    try:
        path: bytes | None = httptools.parse_url(target).path
    except httptools.HttpParserInvalidURLError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, "this is not a URL") from error
    return unquote_to_bytes(path or b"/").decode(errors="replace")


def _keeps_alive(headers: Mapping[str, str], *, by_default: bool) -> bool:
    """Whether the client wants to ask again on this connection (RFC 9112, 9.3)."""
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    return "close" not in options and (by_default or "keep-alive" in options)
