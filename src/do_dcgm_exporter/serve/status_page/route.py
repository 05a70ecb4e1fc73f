"""Answer requests for the status page; for the event loop alone."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Mapping

from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.explain.view import Forwarding, View
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.publication import Body, Page, Publication
from do_dcgm_exporter.serve.http.negotiation import negotiate
from do_dcgm_exporter.serve.http.request import Request
from do_dcgm_exporter.serve.http.response import HTML, Content
from do_dcgm_exporter.serve.routes import LINKS
from do_dcgm_exporter.serve.scrape_log import ScrapeLog
from do_dcgm_exporter.serve.status_page.document import content_security_policy, document

# The least number of seconds between two refreshes, used while there is nothing to show.
_SOONEST_REFRESH = 5.0

PAUSED = "/paused"


class StatusPage:
    """Draws the newest page on request, at most once a second.

    A reload replaces ``settings``.
    """

    def __init__(
        self,
        publication: Publication,
        settings: Settings,
        statistics: ForwardStatistics,
        scrapes: ScrapeLog,
        clock: Callable[[], float] = time.time,
        soonest_refresh: float = _SOONEST_REFRESH,
    ) -> None:
        self.settings = settings
        self._publication = publication
        self._statistics = statistics
        self._scrapes = scrapes
        self._clock = clock
        self.soonest_refresh = soonest_refresh
        self.host = socket.gethostname()
        self._page: Page | None = None
        self._drawn_with = settings
        self._drawn_in = 0
        self._drawn: dict[bool, Body] = {}

    def routes(self) -> Mapping[str, Callable[[Request], Content | None]]:
        """Return the answer of each path; None where there is no page."""
        return {"/": self._front, PAUSED: self._paused}

    def _front(self, request: Request) -> Content | None:
        return self._answer(request, is_live=True) if self.settings.status_page else LINKS

    def _paused(self, request: Request) -> Content | None:
        return self._answer(request, is_live=False) if self.settings.status_page else None

    def _answer(self, request: Request, *, is_live: bool) -> Content:
        body = self._body(is_live)
        headers = request.headers
        form = negotiate(headers.get("accept", ""), headers.get("accept-encoding", ""))
        extra = [
            f"Content-Security-Policy: {content_security_policy()}",
            "Referrer-Policy: no-referrer",
            "Vary: Accept-Encoding",
        ]
        if is_live:
            # A header, not an element, so that browsers keep their place in the page. A link
            # tells screen readers how to stop it.
            extra.append(f"Refresh: {self._refresh_seconds():.0f}")
        if form.gzip:
            extra.append("Content-Encoding: gzip")
        return Content(body.compressed if form.gzip else body.plain, HTML, extra=tuple(extra))

    def _refresh_seconds(self) -> float:
        result = self._publication.page.status.result
        if result is None or result.warming_up:
            return self.soonest_refresh
        return max(self.soonest_refresh, self.settings.collect_interval)

    def _body(self, is_live: bool) -> Body:
        now = self._clock()
        page = self._publication.page
        second = int(now)
        if not (
            page is self._page and self.settings is self._drawn_with and second == self._drawn_in
        ):
            self._page, self._drawn_with, self._drawn_in = page, self.settings, second
            self._drawn = {}
        if is_live not in self._drawn:
            html = document(self.view(), is_live=is_live)
            self._drawn[is_live] = Body(html.encode("utf-8", "replace"))
        return self._drawn[is_live]

    def view(self) -> View:
        """Return what there is to see now."""
        forwarding = Forwarding(self._statistics.complaint, self._statistics.last_success)
        return View(
            page=self._publication.page,
            settings=self.settings,
            now=self._clock(),
            host=self.host,
            forwarding=forwarding,
            scrapes=dict(self._scrapes.last),
        )
