"""Connections: what cannot be brought about through a real socket at will."""

from __future__ import annotations

import asyncio
import errno

from do_dcgm_exporter.serve.http.connection import Connection, Connections, Limits
from do_dcgm_exporter.serve.http.request import Refused
from do_dcgm_exporter.serve.http.response import Answer

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


class Transport(asyncio.Transport):
    """That of a client which hangs up after the last byte of its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.is_aborted = False

    def get_extra_info(self, name, default=None):
        return default

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def is_closing(self):
        return self.is_aborted

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    def write(self, data):
        self.sent += bytes(data)

    def write_eof(self):
        raise OSError(errno.ENOTCONN, "Transport endpoint is not connected")

    def abort(self):
        self.is_aborted = True


class Site:
    """Whose answers end the connection, and may come later."""

    def __init__(self, answer: Answer | asyncio.Future[Answer]) -> None:
        self._answer = answer

    def answer(self, _head: bytes, _address: str) -> Answer | asyncio.Future[Answer]:
        return self._answer

    def refuse(self, refused: Refused) -> Answer:
        raise refused


def test_a_client_that_hangs_up_right_after_its_answer_is_let_go():
    async def scene():
        connections, transport = Connections(1), Transport()
        site = Site(Answer(b"bye", closes=True))
        connection = Connection(site, connections, Limits(), lambda: 0.0)
        connection.connection_made(transport)
        connection.data_received(GET)

        assert b"bye" == transport.sent
        assert transport.is_aborted

    asyncio.run(scene())


def test_one_that_hangs_up_before_a_late_answer_gets_none():
    async def scene():
        connections, transport = Connections(1), Transport()
        later = asyncio.get_running_loop().create_future()
        connection = Connection(Site(later), connections, Limits(), lambda: 0.0)
        connection.connection_made(transport)
        connection.data_received(GET)
        connection.connection_lost(None)
        later.set_result(Answer(b"bye", closes=True))
        await asyncio.sleep(0)

        assert b"" == transport.sent
        assert 0 == len(connections)

    asyncio.run(scene())


def test_a_late_answer_to_head_has_no_body_either():
    async def scene():
        transport = Transport()
        later = asyncio.get_running_loop().create_future()
        connection = Connection(Site(later), Connections(1), Limits(), lambda: 0.0)
        connection.connection_made(transport)
        connection.data_received(GET.replace(b"GET", b"HEAD"))
        later.set_result(Answer(b"HTTP/1.1 401 No\r\n\r\nbody\n", closes=True))
        await asyncio.sleep(0)

        assert b"HTTP/1.1 401 No\r\n\r\n" == transport.sent

    asyncio.run(scene())
