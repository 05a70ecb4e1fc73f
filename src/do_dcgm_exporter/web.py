"""The web server: the newest page, how it is doing, and what else it is given.

One thread runs one event loop. A scrape copies bytes that are ready; nothing here
waits on anything but clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from do_dcgm_exporter.http_answer import Answer, Content, refusal, render
from do_dcgm_exporter.http_negotiation import Form, Format, negotiate
from do_dcgm_exporter.http_protocol import Connection, Connections, Limits
from do_dcgm_exporter.http_request import Refused, Request, parse_head
from do_dcgm_exporter.links_page import links_page
from do_dcgm_exporter.port_holder import listen
from do_dcgm_exporter.publication import Page, Publication
from do_dcgm_exporter.scrape_log import ScrapeLog
from do_dcgm_exporter.settings import ListenAddress

logger = logging.getLogger(__name__)

# asyncio takes in as many clients at a time as its backlog says. Far fewer than there
# are connections, so that a flood cannot push a client out before it has been read.
_ACCEPTED_AT_ONCE = 16
# Clients wait here, in the kernel, for their turn.
_KERNEL_BACKLOG = 1024

# Seconds. Also how late a limit of time may strike; waking up costs 0.2 ms.
_HEARTBEAT = 2.0
_STOP_SECONDS = 1.0

_OK = Content(b"OK\n")
_NOT_FOUND = Content(b"there is no such page\n", status=HTTPStatus.NOT_FOUND)

Routes = Mapping[str, Callable[[Request], Content | None]]
"""What further paths answer; None where there is no page."""


class Site:
    """What is said at which path. Used by the event loop alone."""

    def __init__(self, publication: Publication, routes: Routes, scrapes: ScrapeLog) -> None:
        self._publication = publication
        self._scrape_log = scrapes
        self._routes: Routes = {
            "/": lambda _: links_page(),
            "/health": self._health,
            "/-/ready": self._health,
            "/-/healthy": lambda _: _OK,
            **routes,
        }
        self._page: Page | None = None
        self._scrapes: dict[tuple[Form, bool, bool], Answer] = {}

    def answer(self, request: Request) -> Answer:
        """Answer ``request``."""
        if request.path == "/metrics":
            return self._metrics(request)
        content = self._routes.get(request.path, _no_page)(request) or _NOT_FOUND
        return render(content, closes=not request.keep_alive, head_only=request.head_only)

    def _metrics(self, request: Request) -> Answer:
        """Answer with the newest page; each way of sending it is built once a page."""
        page = self._publication.page
        if page is not self._page:
            self._page = page
            self._scrapes = {}
        headers = request.headers
        self._scrape_log.note(headers.get("user-agent", ""))
        form = negotiate(headers.get("accept", ""), headers.get("accept-encoding", ""))
        key = (form, request.keep_alive, request.head_only)
        if key not in self._scrapes:
            self._scrapes[key] = render(
                _content(page, form), closes=not request.keep_alive, head_only=request.head_only
            )
        return self._scrapes[key]

    def _health(self, _: Request) -> Content:
        health = self._publication.page.health
        lines = ("OK" if health.healthy else health.reason, *health.notes)
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


class MetricsServer:
    """Serves ``publication`` on ``address`` from a thread of its own."""

    def __init__(
        self,
        address: ListenAddress,
        publication: Publication,
        *,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        routes: Routes | None = None,
        scrapes: ScrapeLog | None = None,
        clock: Callable[[], float] = time.monotonic,
        heartbeat: float = _HEARTBEAT,
    ) -> None:
        self._address = address
        self._site = Site(publication, routes or {}, scrapes or ScrapeLog())
        self._limits = limits
        self._clock = clock
        self._heartbeat = heartbeat
        self._connections = Connections(limits.connections)
        # A scraper's requests are all alike; 32 heads of 16 kB are the most this holds.
        self._parse = lru_cache(maxsize=32)(parse_head)
        self._listeners: list[socket.socket] = []
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._stopping = asyncio.Event()
        self._reported: set[str] = set()
        self._last_turn = 0.0

    @property
    def port(self) -> int:
        """The port listened on, which the kernel chose if it was given as 0."""
        port: int = self._listeners[0].getsockname()[1]
        return port

    def start(self) -> None:
        """Listen and begin to serve; raises CannotListen, for one PortTaken."""
        self._listeners = listen(self._address)
        self._loop = asyncio.new_event_loop()
        self._last_turn = self._clock()
        self._thread.start()

    def is_alive(self, within: float) -> bool:
        """Whether the event loop has turned within the last ``within`` seconds.

        It turns every two seconds, and after each time this is asked.
        """
        age = self._clock() - self._last_turn
        return self._ask(self._turn) and age <= within

    def stop(self) -> None:
        """Hang up on everybody and end the thread; harmless when there is none."""
        if self._ask(self._stopping.set):
            self._thread.join(_STOP_SECONDS)

    def _ask(self, action: Callable[[], None]) -> bool:
        """Have the loop do ``action`` at its next turn; return whether there is a loop."""
        if not self._thread.is_alive():
            return False
        with contextlib.suppress(RuntimeError):  # it has ended just now
            self._loop.call_soon_threadsafe(action)
        return True

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:
            logger.exception("the web server ended")
        finally:
            for listener in self._listeners:  # nobody is to wait for an answer in vain
                listener.close()
            self._loop.close()

    async def _serve(self) -> None:
        self._loop.set_exception_handler(lambda _, context: self._report(context))
        servers = [
            await self._loop.create_server(self._connect, sock=sock, backlog=_ACCEPTED_AT_ONCE)
            for sock in self._listeners
        ]
        for listener in self._listeners:
            listener.listen(_KERNEL_BACKLOG)
            # For the connections it accepts: the end of a page is not to wait until the
            # client has acknowledged what came before, which may take it 40 ms.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._beat()
        await self._stopping.wait()
        await self._finish_accepting()
        for server in servers:
            server.close()
        self._connections.end_all()
        await asyncio.sleep(0)  # the turn in which connections are lost

    async def _finish_accepting(self) -> None:
        """Accept nobody more, and let those in who are on the doorstep.

        A server that closes before a client it has accepted is connected forgets that
        client's socket without closing it.
        """
        for listener in self._listeners:
            self._loop.remove_reader(listener)
        if accepting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(accepting, timeout=_STOP_SECONDS / 2)

    def _connect(self) -> Connection:
        return Connection(self._answer, self._connections, self._limits, self._clock)

    def _beat(self) -> None:
        self._turn()
        self._loop.call_later(self._heartbeat, self._beat)

    def _turn(self) -> None:
        """Prove that the loop turns, and end what has taken too long."""
        self._last_turn = self._clock()
        self._connections.end_overdue(self._last_turn)

    def _answer(self, head: bytes) -> Answer:
        """Answer one request head; a fault of ours is the client's 500 and our log's."""
        try:
            return self._site.answer(self._parse(head))
        except Refused:
            raise
        except Exception as error:  # noqa: BLE001 - scrapes go on whatever one request meets
            self._report({"message": "a request could not be answered", "exception": error})
            return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal error")

    def _report(self, context: dict[str, Any]) -> None:
        """Log an unexpected error, each kind once: a client may be able to repeat it."""
        error = context.get("exception")
        kind = f"{context['message']}: {type(error).__name__}"
        if kind not in self._reported:
            self._reported.add(kind)
            logger.error("%s", kind, exc_info=error)
