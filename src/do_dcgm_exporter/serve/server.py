"""The web server: it lets clients in, and a Site answers them.

One thread runs one event loop. A scrape copies bytes that are ready; nothing here waits on
anything but clients.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.page.publication import Publication
from do_dcgm_exporter.serve.http.connection import Connection, Connections, Limits, Responder
from do_dcgm_exporter.serve.http.request import Refused
from do_dcgm_exporter.serve.http.response import Answer
from do_dcgm_exporter.serve.port import listen
from do_dcgm_exporter.serve.routes import Routes, Site
from do_dcgm_exporter.serve.scrape_log import ScrapeLog

if TYPE_CHECKING:
    from do_dcgm_exporter.serve.access.security import Security

_log = logging.getLogger(__name__)

# asyncio accepts as many clients at a time as its backlog says: far fewer than there may be
# connections, so that a flood cannot push a client out before it has been read.
_ACCEPTED_AT_ONCE = 16
# Clients that wait in the kernel to be accepted.
_KERNEL_BACKLOG = 1024

# Seconds; time limits may strike this late. Waking up costs 0.2 ms.
_HEARTBEAT = 2.0
_STOP_SECONDS = 1.0
# Checking a password of the highest allowed cost takes about four.
_LAST_CHECK_SECONDS = 6.0

_GONE = frozenset({errno.ENOTCONN, errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE})


class MetricsServer:
    """Serves ``publication`` on ``address`` from a thread of its own.

    Without ``security``, anyone who can connect is answered, unencrypted. ``secure`` replaces
    it as a whole.
    """

    def __init__(
        self,
        address: ListenAddress,
        publication: Publication,
        *,
        security: Security | None = None,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        routes: Routes | None = None,
        scrapes: ScrapeLog | None = None,
        clock: Callable[[], float] = time.monotonic,
        unix_time: Callable[[], float] = time.time,
        heartbeat: float = _HEARTBEAT,
    ) -> None:
        self._address = address
        self._publication = publication
        self._routes = routes or {}
        self._scrapes = scrapes or ScrapeLog()
        self._security = security
        self._limits = limits
        self._clock = clock
        self._unix_time = unix_time
        self._heartbeat = heartbeat
        self._connections = Connections(limits.connections)
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

    def secure(self, security: Security | None) -> None:
        """Let clients in by these rules from now on; called by any thread."""
        self._ask(lambda: self._take(security))

    def is_alive(self, within: float) -> bool:
        """Return whether the event loop has turned in the last ``within`` seconds.

        It turns every two seconds, and after each of these questions.
        """
        age = self._clock() - self._last_turn
        return self._ask(self._turn) and age <= within

    def stop(self) -> None:
        """Hang up on all clients and end the thread; do nothing if there is none."""
        if self._ask(self._stopping.set):
            self._thread.join(_STOP_SECONDS)
        if self._security is not None:
            self._security.wait(_LAST_CHECK_SECONDS)

    def _ask(self, action: Callable[[], None]) -> bool:
        """Have the loop run ``action`` in its next turn; return whether there is a loop."""
        if not self._thread.is_alive():
            return False
        with contextlib.suppress(RuntimeError):  # it has ended just now
            self._loop.call_soon_threadsafe(action)
        return True

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except Exception:  # noqa: BLE001 - logged, and seen by is_alive()
            _log.exception("the web server ended")
        finally:
            for listener in self._listeners:  # or clients would wait in vain
                listener.close()
            self._loop.close()

    async def _serve(self) -> None:
        self._loop.set_exception_handler(lambda _, context: self._report(context))
        self._responder = self._guarded_site()
        servers = [
            await self._loop.create_server(self._connect, sock=sock, backlog=_ACCEPTED_AT_ONCE)
            for sock in self._listeners
        ]
        for listener in self._listeners:
            listener.listen(_KERNEL_BACKLOG)
            # Accepted connections inherit it: the end of a page must not wait for the client
            # to acknowledge what came before, which may take 40 ms.
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._beat()
        await self._stopping.wait()
        await self._finish_accepting()
        for server in servers:
            server.close()
        self._connections.end_all()
        if self._security is not None:
            self._security.close()
        await asyncio.sleep(0)  # the turn in which connections are lost

    async def _finish_accepting(self) -> None:
        """Accept no more clients, but finish connecting those that are accepted.

        If asyncio's server closes earlier, it forgets their sockets without closing them.
        """
        for listener in self._listeners:
            self._loop.remove_reader(listener)
        if accepting := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(accepting, timeout=_STOP_SECONDS / 2)

    def _take(self, security: Security | None) -> None:
        old, self._security = self._security, security
        self._responder = self._guarded_site()
        if old is not None:
            old.close()
        if not (security.speaks_like(old) if security else old is None):
            self._connections.retire_all()

    def _guarded_site(self) -> Responder:
        site = Site(
            self._publication,
            self._routes,
            self._scrapes,
            self._report,
            self._security.headers if self._security else (),
            self._unix_time,
        )
        return self._security.guard(site) if self._security else site

    def _connect(self) -> asyncio.Protocol:
        connection = Connection(self, self._connections, self._limits, self._clock)
        return self._security.protect(connection) if self._security else connection

    def answer(self, head: bytes, address: str) -> Answer | asyncio.Future[Answer]:
        """Answer one request head by the current rules."""
        return self._responder.answer(head, address)

    def refuse(self, refused: Refused) -> Answer:
        """Return the answer to a request that is refused."""
        return self._responder.refuse(refused)

    def _beat(self) -> None:
        self._turn()
        self._loop.call_later(self._heartbeat, self._beat)

    def _turn(self) -> None:
        """Note that the loop turns, and end overdue connections."""
        self._last_turn = self._clock()
        self._connections.end_overdue(self._last_turn)

    def _report(self, context: dict[str, Any]) -> None:
        """Log an unexpected error, each kind once, since clients may be able to repeat it."""
        error = context.get("exception")
        if isinstance(error, OSError) and error.errno in _GONE:
            return  # a client hung up at a bad moment, as any may
        kind = f"{context['message']}: {type(error).__name__}"
        if kind not in self._reported:
            self._reported.add(kind)
            _log.error("%s", kind, exc_info=error)
