"""HTTP answers as bytes, ready to be sent."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

PLAIN = "text/plain; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One whole answer, and whether the connection ends with it."""

    data: bytes
    closes: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What an answer says, whoever asked and however."""

    body: bytes
    type: str = PLAIN
    status: HTTPStatus = HTTPStatus.OK
    extra: tuple[str, ...] = ()


def render(
    content: Content, *, closes: bool, head_only: bool = False, headers: tuple[str, ...] = ()
) -> Answer:
    """Build the answer that carries ``content``, with ``headers`` that every answer has.

    The length is that of the body even where HEAD leaves the body out (RFC 9110, 9.3.2).
    """
    status = content.status
    lines = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {content.type}",
        f"Content-Length: {len(content.body)}",
        *content.extra,
        "Cache-Control: no-store",
        "X-Content-Type-Options: nosniff",
        *headers,
        f"Connection: {'close' if closes else 'keep-alive'}",
        "\r\n",
    )
    head = "\r\n".join(lines).encode("latin-1")
    return Answer(head if head_only else head + content.body, closes)


def refusal(status: HTTPStatus, reason: str, headers: tuple[str, ...] = ()) -> Answer:
    """Build the last answer on a connection."""
    extra = ("Allow: GET, HEAD",) if status is HTTPStatus.METHOD_NOT_ALLOWED else ()
    content = Content(f"{reason}\n".encode(), PLAIN, status, extra)
    return render(content, closes=True, headers=headers)
