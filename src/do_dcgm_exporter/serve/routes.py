"""Answer each path: the newest page, its health, and further routes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from do_dcgm_exporter.page.publication import Page, Publication
from do_dcgm_exporter.serve.http.negotiation import Form, Format, negotiate
from do_dcgm_exporter.serve.http.request import Refused, Request, parse_head
from do_dcgm_exporter.serve.http.response import HTML, Answer, Content, encode, refusal
from do_dcgm_exporter.serve.scrape_log import ScrapeLog

_OK = Content(b"OK\n")
_NOT_FOUND = Content(b"there is no such page\n", status=HTTPStatus.NOT_FOUND)

LINKS = Content(
    b"""<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>do-dcgm-exporter</title></head>
<body>
<h1>do-dcgm-exporter</h1>
<ul>
<li><a href="metrics">Metrics</a></li>
<li><a href="health">Health</a></li>
</ul>
</body>
</html>
""",
    HTML,
)
"""The page at ``/`` where there is no status page."""

Routes = Mapping[str, Callable[[Request], Content | None]]
"""The answers of further paths; None where there is no page."""


class Site:
    """Answers every request; used only by the event loop.

    ``routes`` are further paths, ``headers`` lines that every answer has; ``report`` takes
    faults of ours; answers are dated by ``unix_time``.
    """

    def __init__(
        self,
        publication: Publication,
        routes: Routes,
        scrapes: ScrapeLog,
        report: Callable[[dict[str, Any]], None],
        headers: tuple[str, ...] = (),
        unix_time: Callable[[], float] = time.time,
    ) -> None:
        self._publication = publication
        self._scrape_log = scrapes
        self._report = report
        self._headers = headers
        self._unix_time = unix_time
        # All requests of a scraper are alike; at most this holds 32 heads of 16 kB.
        self.understand = lru_cache(maxsize=32)(parse_head)
        self._routes: Routes = {
            "/": lambda _: LINKS,
            "/health": self._health,
            "/-/ready": self._health,
            "/-/healthy": lambda _: _OK,
            **routes,
        }
        self._page: Page | None = None
        self._second = 0
        self._scrapes: dict[tuple[Form, bool], Answer] = {}

    def answer(self, head: bytes, _address: str = "") -> Answer:
        """Answer one request head; a fault of ours is logged and answered with 500."""
        try:
            return self.respond(self.understand(head))
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - scrapes go on whatever one request meets
            return self.fail(error)

    def refuse(self, refused: Refused) -> Answer:
        """Return the answer to a request that is refused."""
        return self._refusal(refused.status, refused.reason)

    def fail(self, error: BaseException) -> Answer:
        """Report a fault of ours and return the answer to its request."""
        self._report({"message": "a request could not be answered", "exception": error})
        return self._refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")

    def _refusal(self, status: HTTPStatus, reason: str) -> Answer:
        return refusal(status, reason, self._unix_time(), self._headers)

    def respond(self, request: Request) -> Answer:
        """Answer ``request``."""
        if request.path == "/metrics":
            return self._metrics(request)
        content = self._routes.get(request.path, _no_page)(request) or _NOT_FOUND
        return self.say(content, request)

    def say(self, content: Content, request: Request) -> Answer:
        """Answer ``request`` with ``content``."""
        now, closes = self._unix_time(), not request.keep_alive
        return encode(content, now, closes=closes, headers=self._headers)

    def _metrics(self, request: Request) -> Answer:
        """Answer with the newest page; each way of sending it is built once a second."""
        page = self._publication.page
        second = int(self._unix_time())
        if page is not self._page or second != self._second:
            self._page, self._second = page, second
            self._scrapes = {}
        headers = request.headers
        self._scrape_log.note(headers.get("user-agent", ""))
        form = negotiate(headers.get("accept", ""), headers.get("accept-encoding", ""))
        key = (form, request.keep_alive)
        if key not in self._scrapes:
            self._scrapes[key] = self.say(_content(page, form), request)
        return self._scrapes[key]

    def _health(self, _: Request) -> Content:
        health = self._publication.page.health
        lines = ("OK" if health.healthy else health.reason, *health.sentences)
        status = HTTPStatus.OK if health.healthy else HTTPStatus.SERVICE_UNAVAILABLE
        return Content("".join(f"{line}\n" for line in lines).encode(), status=status)


def _no_page(_: Request) -> None:
    return None


def _content(page: Page, form: Form) -> Content:
    """Return ``page`` in ``form``."""
    body = page.text if form.format is Format.TEXT else page.openmetrics
    vary = "Vary: Accept, Accept-Encoding"
    if form.gzip:
        return Content(body.compressed, form.format.value, extra=("Content-Encoding: gzip", vary))
    return Content(body.plain, form.format.value, extra=(vary,))
