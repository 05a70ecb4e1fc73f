"""Build HTTP answers as bytes that are ready to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus

PLAIN = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; if ``closes``, the connection ends with it."""

    data: bytes
    closes: bool

    @property
    def head(self) -> bytes:
        """What HEAD gets; it keeps the length of the body (RFC 9110, 9.3.2)."""
        return self.data[: self.data.index(b"\r\n\r\n") + 4]


@dataclass(frozen=True, slots=True)
class Content:
    """What an answer says, to any client; ``extra`` are further lines of its head."""

    body: bytes
    type: str = PLAIN
    status: HTTPStatus = HTTPStatus.OK
    extra: tuple[str, ...] = ()


def encode(content: Content, now: float, *, closes: bool, headers: tuple[str, ...] = ()) -> Answer:
    """Build the answer that carries ``content`` at ``now`` (Unix seconds).

    ``headers`` are lines that every answer has.
    """
    status = content.status
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Date: {formatdate(now, usegmt=True)}",
        f"Content-Type: {content.type}",
        f"Content-Length: {len(content.body)}",
        *content.extra,
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *headers,
        f"Connection: {'close' if closes else 'keep-alive'}",
        "\r\n",
    )
    return Answer("\r\n".join(lines).encode("latin-1") + content.body, closes)


def refusal(status: HTTPStatus, reason: str, now: float, headers: tuple[str, ...] = ()) -> Answer:
    """Build the last answer on a connection."""
    extra = ("Allow: GET, HEAD",) if status is HTTPStatus.METHOD_NOT_ALLOWED else ()
    content = Content(f"{reason}\n".encode(), PLAIN, status, extra)
    return encode(content, now, closes=True, headers=headers)
