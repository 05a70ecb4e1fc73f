"""Find, judge and parse HTTP requests.

No request may have a body, so a request is exactly one head, which means the same no matter who
sends it. So parsing is a pure function of bytes and worth caching: a scraper sends the same head
every time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from urllib.parse import unquote_to_bytes

_TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"

# The whole grammar of a head (RFC 9112, 3 and 5), strictly: folded lines, a space before a
# colon, bare line feeds and HTTP/0.9 are ways to make two parsers see two requests. The parsers
# in Debian 12 and Ubuntu 22.04 accept some of them, so any would need this check first, after
# which it has nothing left to do.
_HEAD = re.compile(
    rb"(?P<method>%b) (?P<target>[!-~]+) HTTP/(?P<version>[0-9]\.[0-9])\r\n"
    rb"(?P<headers>(?:%b:[\t -~\x80-\xff]*\r\n)*)\r\n" % (_TOKEN, _TOKEN)
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
    """What is asked for, by GET or by HEAD.

    ``path`` is decoded and without a query. Header names are in lower case; the
    values of repeated headers are joined by commas.
    """

    path: str
    headers: Mapping[str, str]
    keep_alive: bool


class Refused(Exception):
    """Raised for a request that is answered with ``status`` and ends its connection."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason


def head_end(received: bytes) -> int:
    """Return where the first head in ``received`` ends, 0 if it has not ended yet.

    Bare line feeds end it too, so that a client that sends them is refused at once.
    """
    found = _HEAD_END.search(received)
    return found.end() if found else 0


def wants_head(received: bytes) -> bool:
    """Return whether the request that begins here, well-formed or not, is a HEAD."""
    return received.startswith(b"HEAD ")


def check_size(head: bytes, limits: HeadLimits) -> None:
    """Refuse a head, whole or not, that is too large."""
    if len(head) > limits.line_bytes and b"\n" not in head[: limits.line_bytes]:
        raise Refused(HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long")
    if len(head) > limits.head_bytes or head.count(b"\n") > limits.headers + 2:
        raise Refused(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too much of a header")


def parse_head(head: bytes) -> Request:
    """Parse one whole head. Raises Refused."""
    shape = _HEAD.fullmatch(head)
    if shape is None:
        raise Refused(HTTPStatus.BAD_REQUEST, "this is not an HTTP request")
    if shape["version"] not in (b"1.0", b"1.1"):
        raise Refused(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this server speaks HTTP/1.1")
    is_newest = shape["version"] == b"1.1"
    if shape["method"] not in (b"GET", b"HEAD"):
        raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD are allowed")
    pairs = list(_header_pairs(shape["headers"]))
    headers = _join(pairs)
    _refuse_body(headers)
    _require_host(pairs, required=is_newest)
    return Request(
        path=_path(shape["target"]),
        headers=headers,
        keep_alive=_keeps_alive(headers, by_default=is_newest),
    )


def _header_pairs(lines: bytes) -> Iterator[tuple[str, str]]:
    """Yield names, in lower case, and values of header lines that have the right shape."""
    for line in lines.decode("latin-1").split("\r\n")[:-1]:
        name, _, value = line.partition(":")
        yield name.lower(), value.strip(" \t")


def _join(headers: list[tuple[str, str]]) -> dict[str, str]:
    """Fold repeated headers into one each (RFC 9110, 5.3)."""
    joined: dict[str, str] = {}
    for name, value in headers:
        joined[name] = f"{joined[name]}, {value}" if name in joined else value
    return joined


def _refuse_body(headers: Mapping[str, str]) -> None:
    """Refuse anything that announces a body, so nothing has to find its end."""
    length = headers.get("content-length")
    if length is not None and not re.fullmatch("[0-9]{1,18}", length):
        raise Refused(HTTPStatus.BAD_REQUEST, "Content-Length must be one number")
    if "transfer-encoding" in headers and length is not None:
        raise Refused(HTTPStatus.BAD_REQUEST, "the body has two lengths")
    if "transfer-encoding" in headers or length not in (None, "0"):
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "no request may have a body")


def _require_host(headers: list[tuple[str, str]], *, required: bool) -> None:
    """Require exactly one Host (RFC 9112, 3.2); HTTP/1.0 may leave it out."""
    hosts = sum(name == "host" for name, _ in headers)
    if hosts > 1 or (required and not hosts):
        raise Refused(HTTPStatus.BAD_REQUEST, "there must be one Host header")


def _path(target: bytes) -> str:
    """Return the decoded path of a target in any form that GET may have (RFC 9112, 3.2)."""
    if target.startswith(b"/") or target == b"*":
        path = target.partition(b"?")[0]
    else:
        form = re.fullmatch(rb"https?://[^/?#]+(?P<path>/[^?#]*)?(?:\?.*)?", target)
        if form is None:
            raise Refused(HTTPStatus.BAD_REQUEST, "this is not a URL")
        path = form["path"] or b"/"
    return unquote_to_bytes(path).decode(errors="replace")


def _keeps_alive(headers: Mapping[str, str], *, by_default: bool) -> bool:
    """Return whether the connection stays open for further requests (RFC 9112, 9.3)."""
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    return "close" not in options and (by_default or "keep-alive" in options)
