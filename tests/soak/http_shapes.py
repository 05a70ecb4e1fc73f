"""Requests of every shape, from a seed, and the allowed answers to each.

Each shape is sent on its own connection. What comes back is parsed strictly: complete
answers, and nothing else.
"""

from __future__ import annotations

import contextlib
import random
import re
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum

GOOD_HEAD = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n"

_HEAD = re.compile(rb"HTTP/1\.1 ([0-9]{3}) [A-Z][A-Za-z -]*\r\n((?:[A-Za-z-]+: [ -~]*\r\n)+)\r\n")
_LENGTH = re.compile(rb"Content-Length: ([0-9]+)\r\n")
_STATUSES = frozenset({200, 400, 401, 404, 405, 413, 414, 429, 431, 503, 505})


class Expected(Enum):
    """The answer that a shape must get."""

    SERVED = "as many answers as requests"
    REFUSED = "one answer, that it is refused, and the end"
    ANYTHING = "answers or the end"


@dataclass(frozen=True)
class Shape:
    """Bytes for one connection."""

    kind: str
    data: bytes
    expected: Expected = Expected.ANYTHING
    requests: int = 1
    is_handshake: bool = False
    """Whether it is sent raw, without TLS."""


def complaint(shape: Shape, received: bytes) -> str:
    """Return what is wrong with the answer to ``shape``; empty if nothing is."""
    if shape.is_handshake:
        return "it was served" if b"HTTP/1.1 200" in received else ""
    statuses = []
    rest = received
    while rest:
        head = _HEAD.match(rest)
        length = _LENGTH.search(head[2]) if head else None
        if head is None or length is None:
            return f"this is no answer: {rest[:80]!r}"
        statuses.append(int(head[1]))
        rest = rest[head.end() :]
        if not _HEAD.match(rest):  # else it was the answer to a HEAD
            rest = rest[int(length[1]) :]
    return _judge(shape, statuses)


def _judge(shape: Shape, statuses: list[int]) -> str:
    if strange := set(statuses) - _STATUSES:
        return f"it was answered with {sorted(strange)}"
    served = sum(status == 200 for status in statuses)
    if shape.expected is Expected.SERVED and served != shape.requests:
        return f"{shape.requests} requests had {served} pages: {statuses}"
    if shape.expected is Expected.REFUSED and (served or len(statuses) > 1):
        return f"it was not refused: {statuses}"
    if served > shape.data.count(b"GET ") + shape.data.count(b"HEAD "):
        return f"there were {served} pages for fewer requests"
    return ""


# --- shapes that are written down ------------------------------------------------------


def _request(line: bytes = b"GET /metrics HTTP/1.1", *headers: bytes) -> bytes:
    return b"\r\n".join((line, b"Host: localhost", *headers, b"", b""))


# Request smuggling (RFC 9112, 11.2): each is followed by a second request, which must not be
# answered.
_SMUGGLED = (
    (b"Content-Length: 44", b"Transfer-Encoding: chunked"),
    (b"Transfer-Encoding: chunked", b"Content-Length: 44"),
    (b"Transfer-Encoding: chunked",),
    (b"Transfer-Encoding: xchunked",),
    (b"Transfer-Encoding: identity",),
    (b"Transfer-Encoding: chunked, identity",),
    (b"Transfer-Encoding:\tchunked",),
    (b"Transfer-Encoding : chunked",),
    (b" Transfer-Encoding: chunked",),
    (b"X: y\r\n Transfer-Encoding: chunked",),
    (b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"),
    (b"X: y\nTransfer-Encoding: chunked",),
    (b"X: y\rTransfer-Encoding: chunked",),
    (b"Transfer_Encoding : chunked",),
    (b"Content-Length: 44",),
    (b"Content-Length: 0", b"Content-Length: 44"),
    (b"Content-Length: 44", b"Content-Length: 0"),
    (b"Content-Length: 0,44",),
    (b"Content-Length: +44",),
    (b"Content-Length: -1",),
    (b"Content-Length: 0x2c",),
    (b"Content-Length: 44 0",),
    (b"Content-Length : 44",),
    (b"Content-Length: " + 40 * b"9",),
    (b"Content-Length: ",),
    (b"Content-Length: \xb2",),
    (b"Host: elsewhere",),
    (b"\0: x",),
    (b"X: \0",),
    (b"X",),
    (b": x",),
    (b"X\x0b: y",),
    (b"Expect: 100-continue", b"Content-Length: 5"),
)
_LINES = (
    b"GET  /metrics HTTP/1.1", b"GET /metrics  HTTP/1.1", b"GET\t/metrics\tHTTP/1.1",
    b"GET /metrics HTTP/1.1 ", b" GET /metrics HTTP/1.1", b"GET /metrics", b"GET", b"/metrics",
    b"GET /metrics HTTP/0.9", b"GET /metrics HTTP/1.2", b"GET /metrics HTTP/2.0",
    b"GET /metrics HTTP/11", b"GET /metrics http/1.1", b"GET /metrics HTTP/1.1\0",
    b"GET /met rics HTTP/1.1", b"GET /\xe9 HTTP/1.1", b"GET metrics HTTP/1.1",
    b"GET localhost:9401 HTTP/1.1", b"PRI * HTTP/2.0", b"\x16\x03\x01\x02\x00\x01\xfc\x03\x03",
)  # fmt: skip
METHODS = (
    b"POST", b"PUT", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT", b"PATCH", b"BREW", b"get",
    b"Get", b"GETT", b"PROPFIND", b"TRACK", b"DEBUG", b"SEARCH", b"M-SEARCH", b"!#$%&'*+-.^_`|~",
)  # fmt: skip
_GIANTS = (
    b"GET /" + 100_000 * b"a" + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"G" * 300_000,
    _request(b"GET /metrics HTTP/1.1", b"X: " + 1_000_000 * b"x"),
    _request(b"GET /metrics HTTP/1.1", *(b"X: y",) * 50_000),
    _request(b"GET /metrics HTTP/1.1", *(b"X%d: " % n + 900 * b"y" for n in range(1000))),
    b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n" + 200_000 * b"X",
)


def written_shapes() -> Iterator[Shape]:
    """Yield every shape that is written down here."""
    for headers in _SMUGGLED:
        yield _refused("smuggling", _request(b"GET /metrics HTTP/1.1", *headers) + GOOD_HEAD)
    for line in _LINES:
        yield _refused("request line", _request(line) + GOOD_HEAD)
    for method in METHODS:
        yield _refused("method", _request(method + b" /metrics HTTP/1.1") + GOOD_HEAD)
    for giant in _GIANTS:
        yield _refused("giant", giant + GOOD_HEAD)
    for count in (2, 40, 500):
        yield Shape("pipelined", count * GOOD_HEAD, Expected.SERVED, count)
    yield Shape("empty lines", 100 * b"\r\n" + GOOD_HEAD, Expected.SERVED)
    yield Shape("nothing", b"")


def _refused(kind: str, data: bytes) -> Shape:
    return Shape(kind, data, Expected.REFUSED)


# --- shapes that are made up -----------------------------------------------------------

_PIECES = (
    b"GET ", b"HEAD ", b"POST ", b"/metrics", b"/health", b"/", b"*", b"http://a/metrics",
    b" HTTP/1.1", b" HTTP/1.0", b" HTTP/9.9", b"\r\n", b"\r\n\r\n", b"\n", b"\r", b"\n\n", b" ",
    b"\t", b":", b"Host: a\r\n", b"Host:\r\n", b"Content-Length: 5\r\n", b"Content-Length: 0\r\n",
    b"Transfer-Encoding: chunked\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"Connection: close\r\n",
    b"Connection: keep-alive\r\n", b"Connection: upgrade\r\n", b"Upgrade: h2c\r\n",
    b"Accept-Encoding: gzip\r\n", b"Accept: application/openmetrics-text\r\n",
    b"Accept: */*;q=9\r\n",
    b"Authorization: Basic YTpi\r\n", b"Authorization: Basic =\r\n", b"\0", b"\xff", b"%00", b"%",
    b"a" * 9000, b"X: y\r\n" * 120, b"\x16\x03\x01", GOOD_HEAD,
)  # fmt: skip
_PATHS = (b"/metrics", b"/", b"/%6detrics", b"/metrics?a=b&c", b"http://h:1/metrics", b"/-/healthy")
_NAMES = (
    b"Accept",
    b"Accept-Encoding",
    b"User-Agent",
    b"X-Forwarded-For",
    b"Cookie",
    b"Via",
    b"TE",
)


def random_shape(source: random.Random) -> Shape:
    """Return a shape of a kind that ``source`` chooses."""
    return source.choice(_MAKERS)(source)


def broken_handshake(source: random.Random, trust: ssl.SSLContext) -> Shape:
    """Return the first words of a TLS client with some bytes changed or missing."""
    hello = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        trust.wrap_bio(ssl.MemoryBIO(), hello, server_hostname="localhost").do_handshake()
    data = bytearray(hello.read())
    for _ in range(source.randint(0, 5)):
        data[source.randrange(len(data))] = source.randrange(256)
    data = data[: source.choice((len(data), source.randrange(len(data))))]
    more = source.choice((b"", source.randbytes(50), b"\x17\x03\x03\x00\x05hello", GOOD_HEAD))
    return Shape("handshake", bytes(data) + more, is_handshake=True)


def _bytes(source: random.Random) -> Shape:
    return Shape("bytes", source.randbytes(source.randint(1, 400)))


def _pieces(source: random.Random) -> Shape:
    return Shape("pieces", b"".join(source.choices(_PIECES, k=source.randint(1, 14))))


def _valid(source: random.Random) -> Shape:
    """Make valid requests, with headers that mean nothing here."""
    count = source.choice((1, 1, 1, 2, 5))
    return Shape(
        "valid", b"".join(_valid_head(source) for _ in range(count)), Expected.SERVED, count
    )


def _valid_head(source: random.Random) -> bytes:
    visible = bytes(source.choices(range(0x21, 0x7F), k=source.randint(0, 60)))
    headers = [name + b": " + visible for name in source.sample(_NAMES, source.randint(0, 5))]
    method = source.choice((b"GET", b"GET", b"HEAD"))
    return _request(method + b" " + source.choice(_PATHS) + b" HTTP/1.1", *headers)


def _mutated(source: random.Random) -> Shape:
    """Make requests that are valid except for a few bytes."""
    data = bytearray(_valid_head(source) * source.randint(1, 3))
    for _ in range(source.randint(1, 4)):
        at = source.randrange(len(data))
        change = source.randrange(3)
        if change == 0:
            data[at] = source.randrange(256)
        elif change == 1:
            data[at:at] = source.choice(_PIECES)
        else:
            del data[at + 1 : at + source.randint(2, 21)]  # one byte stays to be changed next
    return Shape("mutated", bytes(data))


def _cut(source: random.Random) -> Shape:
    head = _valid_head(source)
    return Shape("cut short", head[: source.randrange(len(head) - 1)], Expected.REFUSED)


def _with_written(source: random.Random) -> Shape:
    headers = source.choice(_SMUGGLED)
    before = source.sample((b"X: y", b"Accept: a", b"Cookie: c=d"), source.randint(0, 3))
    data = _request(b"GET /metrics HTTP/1.1", *before, *headers) + _valid_head(source)
    return _refused("smuggling", data)


def _wrong_method(source: random.Random) -> Shape:
    return _refused("method", _request(source.choice(METHODS) + b" /metrics HTTP/1.1") + GOOD_HEAD)


_MAKERS: tuple[Callable[[random.Random], Shape], ...] = (
    _bytes, _pieces, _pieces, _valid, _mutated, _mutated, _cut, _with_written, _wrong_method,
)  # fmt: skip
