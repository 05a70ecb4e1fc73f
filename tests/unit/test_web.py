"""The web server, through real sockets, in the clear and with TLS."""

from __future__ import annotations

import errno
import gc
import gzip
import logging
import socket
import ssl
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests import web_harness
from tests.certificates import Authority
from tests.waiting import wait_until
from tests.web_harness import (
    HUGE,
    OPENMETRICS,
    PATIENCE,
    SCRAPE,
    TEXT,
    answer,
    everything,
    finish,
    page,
)

from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.page.publication import Health, Publication
from do_dcgm_exporter.serve.access.security import load_security
from do_dcgm_exporter.serve.access.tls_transport import TlsTransport
from do_dcgm_exporter.serve.http.connection import Connection, Limits
from do_dcgm_exporter.serve.http.request import HeadLimits, Request
from do_dcgm_exporter.serve.http.response import Content
from do_dcgm_exporter.serve.port import PortTaken
from do_dcgm_exporter.serve.scrape_log import ScrapeLog
from do_dcgm_exporter.serve.server import MetricsServer

FUZZ = settings(deadline=None)

# A request with which the connection ends.
CLOSING = SCRAPE.replace(b"1.1\r\n", b"1.1\r\nConnection: close\r\n")


@pytest.fixture(scope="module", params=["clear", "tls"])
def serving(request, authority: Authority, tmp_path_factory):
    """Start a server: ``with serving(limits) as web``; all of HTTP is the same with TLS."""
    if request.param == "clear":
        return web_harness.serving
    pair = authority.server("web")
    config = tmp_path_factory.mktemp("web") / "web.yml"
    config.write_text(
        f"tls_server_config:\n  cert_file: {pair.certificate}\n  key_file: {pair.key}\n"
    )

    def serve(*arguments, **options):
        security = load_security(Path(config), read_file)
        return web_harness.serving(
            *arguments, trust=authority.trust(), security=security, **options
        )

    return serve


@pytest.fixture
def web(serving):
    with serving() as harness:
        yield harness


@pytest.fixture(scope="module")
def shared_web(serving):
    """One server for many examples."""
    with serving() as harness:
        yield harness


class TestMetrics:
    def test_a_scrape_gets_the_page_in_the_text_format(self, web):
        response = web.get()

        assert (200, TEXT) == (response.status, response.body)
        assert {
            "Date": "Fri, 27 Nov 2026 08:00:00 GMT",
            "Content-Type": "text/plain; version=0.0.4; charset=utf-8",
            "Content-Length": str(len(TEXT)),
            "Vary": "Accept, Accept-Encoding",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Connection": "keep-alive",
        } == dict(response.getheaders())

    def test_gzip_is_for_those_who_ask(self, web):
        response = web.get(Accept_Encoding="gzip")

        assert TEXT == gzip.decompress(response.body)
        assert "gzip" == response.headers["Content-Encoding"]
        assert str(len(response.body)) == response.headers["Content-Length"]

    def test_openmetrics_is_for_those_who_take_nothing_else(self, web):
        response = web.get(Accept="application/openmetrics-text")

        assert OPENMETRICS == response.body
        expected = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        assert expected == response.headers["Content-Type"]

    @pytest.mark.parametrize("coding", ["identity", "gzip"])
    def test_head_gets_the_headers_alone(self, web, coding):
        full = web.get(Accept_Encoding=coding)
        response = web.ask("HEAD /metrics", Accept_Encoding=coding)

        assert b"" == response.body
        assert full.getheaders() == response.getheaders()

    def test_the_date_is_that_of_the_answer_not_of_the_page(self, serving):
        clock = web_harness.Clock()
        with serving(unix_time=clock) as web:
            assert "Thu, 01 Jan 1970 00:00:00 GMT" == web.get().headers["Date"]
            clock.now = 1.0
            assert "Thu, 01 Jan 1970 00:00:01 GMT" == web.get().headers["Date"]

    def test_the_newest_page_is_served_on_an_old_connection(self, web):
        client = web.connect(SCRAPE)
        answer(client)
        web.publication.publish(page(b"up 2\n"))
        client.sendall(SCRAPE)

        assert b"up 2\n" == answer(client).body

    def test_queries_and_escapes_do_not_matter(self, web):
        assert TEXT == web.get("/%6detrics?debug=1").body
        assert TEXT == web.get("http://localhost/metrics").body


class TestOtherPages:
    @pytest.mark.parametrize("path", ["/health", "/-/ready", "/-/healthy"])
    def test_all_is_well(self, web, path):
        response = web.get(path)

        assert (200, b"OK\n") == (response.status, response.body)
        assert "text/plain; charset=utf-8" == response.headers["Content-Type"]

    def test_an_unhealthy_page_says_why(self, web):
        web.publication.publish(page(reason="the engine does not answer"))

        for path in ("/health", "/-/ready"):
            response = web.get(path)
            assert (503, b"the engine does not answer\n") == (response.status, response.body)
        assert 200 == web.get("/-/healthy").status
        assert 200 == web.get("/metrics").status

    def test_a_healthy_page_may_have_notes(self, web):
        whole = page()
        noted = replace(whole, health=Health(healthy=True, notes=("forwarding fails",)))
        web.publication.publish(noted)

        response = web.get("/health")
        assert (200, b"OK\nforwarding fails\n") == (response.status, response.body)

    def test_the_landing_page_links_to_the_others(self, web):
        response = web.get("/")

        assert "text/html; charset=utf-8" == response.headers["Content-Type"]
        assert b'href="metrics"' in response.body
        assert b'href="health"' in response.body

    def test_the_landing_page_can_be_another(self, serving):
        routes = {"/": lambda _: Content(b"<p>8 GPUs"), "/more": lambda _: None}
        with serving(routes=routes) as web:
            assert b"<p>8 GPUs" == web.get("/").body
            assert 404 == web.get("/more").status

    def test_who_scrapes_is_noted(self, serving):
        scrapes = ScrapeLog()
        with serving(scrapes=scrapes) as web:
            web.get("/health", User_Agent="Prometheus/2.53.0")
            assert {} == scrapes.last
            web.get(User_Agent="Prometheus/2.53.0")
            assert ["Prometheus"] == list(scrapes.last)

    @pytest.mark.parametrize("path", ["/nothing", "/metrics/", "//metrics", "/METRICS"])
    def test_other_paths_are_not_found_and_the_connection_goes_on(self, web, path):
        response = web.get(path)

        assert 404 == response.status
        assert "keep-alive" == response.headers["Connection"]

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE", "BREW"])
    def test_other_methods_are_told_which_ones_there_are(self, web, method):
        response = web.ask(f"{method} /metrics")

        assert 405 == response.status
        assert "GET, HEAD" == response.headers["Allow"]


class TestConnections:
    def test_pipelined_requests_are_answered_in_order(self, web):
        paths = [b"/metrics", b"/health", b"/nothing", b"/metrics"] * 50
        requests = b"".join(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in paths)
        received = web.exchange(requests)

        statuses = [part[:3] for part in received.split(b"HTTP/1.1 ")[1:]]
        assert [b"404" if path == b"/nothing" else b"200" for path in paths] == statuses

    def test_a_request_may_come_byte_by_byte(self, web):
        client = web.connect()
        for byte in SCRAPE:
            client.sendall(bytes([byte]))

        assert TEXT == answer(client).body

    def test_empty_lines_before_a_request_are_ignored(self, web):
        assert web.exchange(b"\r\n\r\n" + SCRAPE).endswith(TEXT)

    def test_http_1_0_ends_with_the_answer(self, web):
        received = everything(web.connect(b"GET /metrics HTTP/1.0\r\n\r\n"))

        assert b"\r\nConnection: close\r\n" in received
        assert received.endswith(TEXT)

    def test_http_1_0_can_ask_to_go_on(self, web):
        client = web.connect(b"GET /metrics HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")

        assert "keep-alive" == answer(client).headers["Connection"]
        client.sendall(SCRAPE)
        assert TEXT == answer(client).body

    def test_a_client_that_says_close_gets_its_answer_and_the_end(self, web):
        request = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

        assert everything(web.connect(request + SCRAPE)).endswith(b"\r\n\r\nOK\n")

    def test_a_client_that_has_no_more_to_say_still_gets_everything(self, serving):
        with serving(first=page(HUGE)) as web:
            received = web.exchange(SCRAPE + SCRAPE)

        assert 2 * len(HUGE) < len(received)
        assert 2 == received.count(b"HTTP/1.1 200 OK")

    def test_expecting_to_continue_gets_a_final_answer_at_once(self, web):
        head = SCRAPE[:-2] + b"Content-Length: 5\r\nExpect: 100-continue\r\n\r\n"

        assert everything(web.connect(head)).startswith(b"HTTP/1.1 413 ")
        assert everything(web.connect(head.replace(b"GET", b"POST"))).startswith(b"HTTP/1.1 405 ")

    @pytest.mark.parametrize(
        ("data", "status"),
        [
            pytest.param(b"nonsense\r\n\r\n", 400, id="nonsense"),
            pytest.param(b"\x16\x03\x01\0\xa5\x01\0\n\n", 400, id="TLS"),
            pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare line feeds"),
            pytest.param(b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400, id="space before colon"),
            pytest.param(
                b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
                400,
                id="length and chunks",
            ),
            pytest.param(
                b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 44\r\n\r\n",
                400,
                id="two lengths",
            ),
            pytest.param(
                b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\n\r\n", 413, id="body"
            ),
            pytest.param(b"GET /" + b"a" * 9000, 414, id="long line"),
            pytest.param(b"GET / HTTP/1.1\r\nA: " + b"a" * 17000, 431, id="long header"),
            pytest.param(b"GET / HTTP/1.1\r\n" + b"A: a\r\n" * 200, 431, id="many headers"),
            pytest.param(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, id="HTTP/2"),
        ],
    )
    def test_a_refused_request_is_the_last_on_its_connection(self, web, data, status):
        received = everything(web.connect(data + SCRAPE))

        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert b"\r\nConnection: close\r\n" in received
        assert 1 == received.count(b"Content-Length: ")

    @pytest.mark.parametrize(
        ("head", "status"),
        [
            pytest.param(b"HEAD / HTTP/1.1\r\n\r\n", 400, id="no Host"),
            pytest.param(b"\r\nHEAD / HTTP/1.1\r\nContent-Length: 4\r\n\r\n", 413, id="body"),
            pytest.param(b"HEAD /" + b"a" * 9000, 414, id="long line"),
        ],
    )
    def test_a_refused_head_has_no_body(self, web, head, status):
        received = everything(web.connect(head))

        assert received.startswith(b"HTTP/1.1 %d " % status)
        assert received.endswith(b"\r\n\r\n")

    def test_a_refusal_arrives_even_while_the_client_goes_on_sending(self, web):
        client = web.connect(
            b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 9999999\r\n\r\n"
        )
        response = answer(client)
        client.sendall(b"x" * 1_000_000)

        assert 405 == response.status
        assert b"" == client.recv(1)


class TestTime:
    def test_a_client_that_says_nothing_is_hung_up_on(self, web):
        client = web.connect()
        web.pass_time(0)
        web.pass_time(10)

        assert b"" == everything(client)

    def test_a_client_that_drips_is_hung_up_on(self, web):
        client = web.connect()
        gone = False
        for _ in range(1000):  # fewer than a head may be long
            try:
                client.sendall(b"G")
            except OSError:
                gone = True
                break
            web.pass_time(1)

        assert gone

    def test_a_later_request_has_the_same_time_as_the_first(self, web):
        client = web.connect(SCRAPE)
        answer(client)
        web.pass_time(100)
        client.sendall(SCRAPE + SCRAPE[:9])
        answer(client)
        web.pass_time(10)

        assert b"" == everything(client)

    def test_an_idle_connection_is_kept_from_scrape_to_scrape_but_not_for_ever(self, web):
        client = web.connect(SCRAPE)
        answer(client)
        web.pass_time(120)
        client.sendall(SCRAPE)
        answer(client)
        web.pass_time(180)

        assert b"" == everything(client)

    def test_a_client_that_does_not_read_is_hung_up_on_and_hurts_nobody(self, serving):
        with serving(first=page(HUGE)) as web:
            client = web.connect(SCRAPE * 1000)
            client.recv(1)
            web.publication.publish(page())
            web.pass_time(30)

            assert TEXT == web.get().body
            assert len(everything(client)) < len(HUGE)

    def test_a_client_that_does_not_hang_up_after_the_last_answer_is_hung_up_on(self, web):
        client = web.connect(b"GET /health HTTP/1.0\r\n\r\n")
        everything(client)
        web.pass_time(2)

        with pytest.raises((BrokenPipeError, ConnectionResetError, ssl.SSLError)):
            while True:
                client.sendall(b"x" * 100_000)


class TestNumber:
    def test_the_oldest_without_a_complete_request_makes_room(self, serving):
        with serving(Limits(connections=3)) as web:
            begun = web.connect(b"GET /metrics")
            idle = web.connect(SCRAPE)
            answer(idle)
            newest = web.connect(SCRAPE)
            answer(newest)

            assert TEXT == web.get().body
            assert b"" == everything(begun)
            assert TEXT == web.get().body
            assert b"" == everything(idle)
            newest.sendall(SCRAPE)
            assert TEXT == answer(newest).body

    def test_slow_clients_take_no_place_from_those_who_have_asked(self, serving):
        with serving(Limits(connections=4)) as web:
            scraper = web.connect(SCRAPE)
            answer(scraper)
            for _ in range(20):
                web.connect(b"GET /me")
            scraper.sendall(SCRAPE)

            assert TEXT == answer(scraper).body

    def test_those_who_have_asked_leave_half_of_the_places_to_newcomers(self, serving):
        with serving(Limits(connections=4)) as web:
            known = []
            for _ in range(4):
                known.append(web.connect(SCRAPE))
                assert TEXT == answer(known[-1]).body
            newcomers = [web.connect(SCRAPE[:9]) for _ in range(2)]
            for client in newcomers:
                client.sendall(SCRAPE[9:])

            assert 2 * [TEXT] == [answer(client).body for client in newcomers]
            assert b"" == everything(known[0]) + everything(known[1])

    def test_those_who_have_their_last_answer_go_before_newcomers(self, serving):
        with serving(Limits(connections=4)) as web:
            newcomers = [web.connect(SCRAPE[:9]) for _ in range(2)]
            for _ in range(10):
                leaving = web.connect(CLOSING)
                assert TEXT == answer(leaving).body
            for client in newcomers:
                client.sendall(SCRAPE[9:])

            assert 2 * [TEXT] == [answer(client).body for client in newcomers]

    def test_a_thousand_slow_clients_do_not_stop_a_scrape(self, web):
        scraper = web.connect(SCRAPE)
        answer(scraper)
        for _ in range(10):
            slow = [web.connect(b"GET /me") for _ in range(100)]
            assert TEXT == web.get().body
            for client in slow:
                client.close()

    def test_those_being_answered_stay_as_long_as_another_is_idle(self, serving):
        with serving(Limits(connections=2), first=page(HUGE)) as web:
            busy = web.connect(CLOSING)
            busy.recv(1)
            idle = web.connect(SCRAPE.replace(b"/metrics", b"/health"))
            answer(idle)

            assert 200 == web.get("/health").status
            assert b"" == everything(idle)
            assert len(HUGE) <= len(everything(busy))

    def test_clients_that_do_not_read_keep_nobody_out(self, serving):
        with serving(Limits(connections=3), first=page(HUGE)) as web:
            for _ in range(10):
                web.connect(SCRAPE).recv(1)

                assert 200 == web.get("/health").status


class TestLife:
    def test_a_fault_of_ours_is_500_without_a_traceback_and_logged_once(self, serving, caplog):
        def broken(_: Request) -> Content:
            raise LookupError("secret")

        with serving(routes={"/": broken}) as web:
            responses = [web.get("/"), web.get("/")]
            assert TEXT == web.get().body

        assert [500, 500] == [response.status for response in responses]
        assert all(b"internal error\n" == response.body for response in responses)
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert 1 == len(errors)
        assert "LookupError" in errors[0].getMessage()

    def test_that_a_client_has_gone_is_no_error_of_ours(self, web, caplog):
        for number in (errno.ENOTCONN, errno.ECONNRESET, errno.EPIPE, errno.EMFILE):
            web.server._report({"message": "it failed", "exception": OSError(number, "so")})

        assert 1 == len(caplog.records)
        assert errno.EMFILE == caplog.records[0].exc_info[1].errno

    def test_a_server_is_alive_from_start_to_stop(self):
        server = MetricsServer(ListenAddress("127.0.0.1", 0), Publication(page()))
        assert not server.is_alive(within=1e9)
        server.start()
        assert server.is_alive(within=PATIENCE)
        server.stop()
        assert not server.is_alive(within=1e9)
        server.stop()

    def test_a_loop_that_no_longer_turns_is_not_alive(self, serving):
        entered, release = threading.Event(), threading.Event()

        def stuck(_: Request) -> Content:
            entered.set()
            release.wait(PATIENCE)
            return Content(b"")

        with serving(routes={"/": stuck}) as web:
            client = web.connect(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert entered.wait(PATIENCE)
            web._clock.now += 5
            assert not web.server.is_alive(within=4)
            release.set()
            answer(client)
            wait_until(lambda: web.server.is_alive(within=4), "the loop turns again")

    def test_stopping_hangs_up_on_everybody_and_frees_the_port(self, web):
        idle, begun = web.connect(SCRAPE), web.connect(b"GET")
        answer(idle)
        port = web.server.port
        web.server.stop()

        assert b"" == everything(idle) + everything(begun)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port), PATIENCE)

    def test_what_a_client_took_up_is_free_when_it_has_gone(self, web):
        """Without the collector of cycles, which does not see what OpenSSL holds."""
        gc.collect()
        gc.disable()
        try:
            for _ in range(5):
                with web.connect(SCRAPE) as client:
                    assert TEXT == answer(client).body
                web.connect(SCRAPE[:9]).close()
                web.exchange(SCRAPE)
            kinds = (Connection, TlsTransport)
            wait_until(
                lambda: not any(isinstance(thing, kinds) for thing in gc.get_objects()),
                "nothing of the connections is left",
            )
        finally:
            gc.enable()

    def test_a_taken_port_is_said_before_anything_is_served(self, web):
        second = MetricsServer(ListenAddress("127.0.0.1", web.server.port), web.publication)

        with pytest.raises(PortTaken):
            second.start()
        second.stop()

    def test_smaller_limits_can_be_set(self, serving):
        limits = Limits(head=HeadLimits(head_bytes=60, line_bytes=30, headers=1))
        with serving(limits) as web:
            assert 200 == web.get().status
            assert 431 == web.get(A="b").status
            assert 414 == web.get("/" + 30 * "a").status


class TestAnyBytes:
    FRAGMENTS = st.sampled_from(
        [
            b"GET ",
            b"HEAD ",
            b"POST ",
            b"/metrics",
            b"/health",
            b" HTTP/1.1",
            b" HTTP/1.0",
            b"\r\n",
            b"\r\n\r\n",
            b"\n",
            b"\r",
            b" ",
            b"Host: a\r\n",
            b"Content-Length: 5\r\n",
            b"Content-Length: 0\r\n",
            b"Transfer-Encoding: chunked\r\n",
            b"0\r\n\r\n",
            b"Connection: close\r\n",
            b"Connection: keep-alive\r\n",
            b"Accept-Encoding: gzip\r\n",
            b"\0",
            b"a" * 9000,
            SCRAPE,
        ]
    )

    @FUZZ
    @given(data=st.binary() | st.lists(FRAGMENTS | st.binary(max_size=8)).map(b"".join))
    def test_any_bytes_get_http_or_the_end_and_the_next_scrape_works(self, shared_web, data):
        received = shared_web.exchange(data)

        assert not received or received.startswith(b"HTTP/1.1 ")
        assert shared_web.exchange(SCRAPE).endswith(TEXT)

    @FUZZ
    @given(cuts=st.lists(st.integers(1, 2 * len(SCRAPE)), max_size=5))
    def test_where_the_network_cuts_does_not_matter(self, shared_web, cuts):
        data, client = SCRAPE + SCRAPE, shared_web.connect()
        for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
            client.sendall(data[begin:end])
        finish(client)

        assert 2 == everything(client).count(TEXT)
        client.close()
