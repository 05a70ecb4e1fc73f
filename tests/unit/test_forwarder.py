"""When the forwarder posts what, what it counts, and what it tells."""

from __future__ import annotations

import contextlib
import http.server
import logging
import socket
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from do_dcgm_exporter.forward.forwarder import Forwarder, ForwardStatistics
from do_dcgm_exporter.page.publication import Body, Health, Page, Publication

PATIENCE = 120  # seconds; only ever waited out by a failure
INTERVAL = 20


def page(forwarded: bytes) -> Page:
    return Page(Body(b""), Body(b""), forwarded, Health(healthy=True))


class Endpoint:
    """A real endpoint that answers with one status after the other, the last for ever."""

    def __init__(self) -> None:
        self.statuses = [200]
        self.received: list[bytes] = []
        self.posted_at: list[float] = []
        self.now = 0.0
        endpoint = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.received.append(body)
                endpoint.posted_at.append(endpoint.now)
                statuses = endpoint.statuses
                self.send_response(statuses.pop(0) if len(statuses) > 1 else statuses[0])
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1/gpu_metrics"

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def endpoint():
    with contextlib.closing(Endpoint()) as running:
        yield running


class Run:
    """A forwarder in a world whose time passes only when it waits."""

    def __init__(self, endpoint: Endpoint, first: bytes = b"a 1\n", url: str = "") -> None:
        self.statistics = ForwardStatistics()
        self.publication = Publication(page(first))
        self.events: dict[float, object] = {}
        self._endpoint = endpoint
        self._until = 0.0
        self.forwarder = Forwarder(
            url or endpoint.url,
            INTERVAL,
            PATIENCE,
            self.publication,
            self.statistics,
            "1.2.3",
            clock=lambda: endpoint.now,
            unix_time=lambda: 1_000_000 + endpoint.now,
            wait=self._wait,
            jitter=lambda _, longest: longest,
        )

    def publish_at(self, when: float, forwarded: bytes) -> None:
        self.events[when] = page(forwarded)

    def until(self, when: float) -> Run:
        """Run from 0 to ``when``."""
        self._until = when
        self.forwarder.start()
        self.forwarder._thread.join(PATIENCE)
        assert not self.forwarder._thread.is_alive()
        return self

    def _wait(self, seconds: float) -> bool:
        self._endpoint.now += seconds
        for when in [when for when in self.events if when <= self._endpoint.now]:
            self.publication.publish(self.events.pop(when))
        if self._endpoint.now < self._until:
            return False
        self.forwarder.stop()
        return True

    def counted(self) -> dict[str, int]:
        """Return the counts that are not 0, by the names they are exported under."""
        counts = self.statistics.counts.items()
        return {result.value: count for result, count in counts if count}


class TestTiming:
    def test_a_page_is_posted_at_once_and_then_every_interval(self, endpoint):
        run = Run(endpoint).until(60)

        assert [0, 20, 40] == endpoint.posted_at
        assert {"success": 3} == run.counted()
        assert 1_000_040 == run.statistics.last_success

    def test_the_newest_page_is_posted(self, endpoint):
        run = Run(endpoint, b"a 1\n")
        run.publish_at(20, b"a 2\n")
        run.until(40)

        assert [b"a 1\n", b"a 2\n"] == endpoint.received

    def test_an_empty_page_is_never_posted_and_a_full_one_soon(self, endpoint):
        run = Run(endpoint, b"")
        run.publish_at(5, b"a 1\n")
        run.publish_at(6, b"")
        run.until(60)

        assert [5] == endpoint.posted_at
        assert {"success": 1} == run.counted()

    def test_a_page_that_has_become_too_old_is_never_posted(self, endpoint):
        run = Run(endpoint)
        run.publication = run.forwarder._publication = Publication(
            replace(page(b"a 1\n"), expires_at=40.0), clock=lambda: endpoint.now
        )
        run.until(120)

        assert [0, 20] == endpoint.posted_at

    def test_nor_is_it_when_it_becomes_so_between_two_attempts(self, endpoint):
        endpoint.statuses = [500]
        run = Run(endpoint)
        run.forwarder._publication = Publication(
            replace(page(b"a 1\n"), expires_at=5.0), clock=lambda: endpoint.now
        )
        run.until(60)

        assert [0, 1, 3] == endpoint.posted_at

    @pytest.mark.parametrize(("host", "posts"), [("127.0.0.1", 2), ("0.0.0.0", 0)])
    def test_simulated_pages_are_posted_to_this_machine_only(self, endpoint, host, posts):
        run = Run(endpoint, url=endpoint.url.replace("127.0.0.1", host))
        run.publication.publish(replace(page(b"a 1\n"), simulated=True))
        run.until(40)

        assert posts == len(endpoint.received)

    def test_a_failed_page_is_tried_again_less_and_less_often(self, endpoint):
        endpoint.statuses = [500]
        run = Run(endpoint).until(40)

        assert [0, 1, 3, 7, 15, 20, 21, 23, 27, 35] == endpoint.posted_at
        assert {"http_5xx": 10, "dropped": 2} == run.counted()
        assert run.statistics.last_success is None

    def test_a_retry_that_succeeds_loses_nothing(self, endpoint):
        endpoint.statuses = [503, 429, 200]
        run = Run(endpoint).until(40)

        assert [0, 1, 3, 20] == endpoint.posted_at
        assert {"http_5xx": 1, "http_4xx": 1, "success": 2} == run.counted()

    @pytest.mark.parametrize(("status", "name"), [(301, "http_3xx"), (403, "http_4xx")])
    def test_a_rejected_page_is_not_tried_again_but_the_next_one_is(self, endpoint, status, name):
        endpoint.statuses = [status]
        run = Run(endpoint).until(60)

        assert [0, 20, 40] == endpoint.posted_at
        assert {name: 3, "dropped": 3} == run.counted()

    def test_the_newer_page_wins_when_the_next_interval_begins(self, endpoint):
        endpoint.statuses = [500, 500, 500, 500, 500, 200]
        run = Run(endpoint, b"a 1\n")
        run.publish_at(20, b"a 2\n")
        run.until(40)

        assert [b"a 1\n"] * 5 + [b"a 2\n"] == endpoint.received
        assert {"http_5xx": 5, "dropped": 1, "success": 1} == run.counted()

    def test_a_page_that_vanishes_before_it_was_sent_is_lost(self, endpoint):
        endpoint.statuses = [500]
        run = Run(endpoint)
        run.publish_at(1, b"")
        run.until(40)

        assert {"http_5xx": 1, "dropped": 1} == run.counted()

    def test_intervals_that_an_attempt_outlasts_are_not_made_up_for(self, endpoint):
        run = Run(endpoint)
        wait = run._wait
        run.forwarder._wait = lambda seconds: wait(50 if endpoint.now < 1 else seconds)
        run.until(90)

        assert [0, 50, 60, 80] == endpoint.posted_at


class TestResults:
    def test_every_result_is_counted_from_the_start(self):
        statistics = ForwardStatistics()

        assert {
            "success",
            "http_3xx",
            "http_4xx",
            "http_5xx",
            "timeout",
            "refused",
            "reset",
            "unreachable",
            "broken_answer",
            "error",
            "dropped",
        } == {result.value for result in statistics.counts}
        assert {0} == set(statistics.counts.values())
        assert statistics.last_success is None

    def test_an_endpoint_that_is_away_is_counted_as_that(self, endpoint):
        endpoint.close()
        run = Run(endpoint).until(20)

        assert {"refused": 5, "dropped": 1} == run.counted()

    def test_a_fault_of_ours_is_counted_and_the_forwarder_goes_on(self, endpoint):
        run = Run(endpoint, first="not bytes \ud800")
        run.publish_at(20, b"a 1\n")
        run.until(40)

        assert {"error": 5, "dropped": 1, "success": 1} == run.counted()


class TestLog:
    def told(self, caplog) -> list[tuple[int, str]]:
        return [
            (record.levelno, record.getMessage())
            for record in caplog.records
            if record.name == "do_dcgm_exporter.forward.forwarder"
            and record.levelno > logging.DEBUG
        ]

    def test_only_changes_are_told(self, endpoint, caplog):
        caplog.set_level(logging.DEBUG)
        endpoint.statuses = [200, 500, 503, 400, 200, 200, 500]
        Run(endpoint).until(120)

        url = endpoint.url
        assert [
            (logging.INFO, f"forwarding to {url} works"),
            (logging.WARNING, f"forwarding fails: the endpoint {url} answered 500"),
            (logging.INFO, f"forwarding to {url} works again after 20 s"),
            (logging.WARNING, f"forwarding fails: the endpoint {url} answered 500"),
        ] == self.told(caplog)

    def test_having_nothing_to_post_is_mentioned_once(self, endpoint, caplog):
        caplog.set_level(logging.DEBUG)
        Run(endpoint, b"").until(60)

        messages = [record.getMessage() for record in caplog.records]
        assert 1 == sum(message.startswith("there is nothing to forward") for message in messages)

    def test_nothing_secret_is_told(self, endpoint, caplog):
        caplog.set_level(logging.INFO)
        url = endpoint.url.replace("//", "//user:password@") + "?token=secret"
        run = Run(endpoint, url=url).until(20)

        assert {"success": 1} == run.counted()
        assert [(logging.INFO, f"forwarding to {endpoint.url} works")] == self.told(caplog)


class TestLife:
    def test_stopping_neither_waits_for_a_hanging_endpoint_nor_blames_it(self, caplog):
        statistics = ForwardStatistics()
        with hanging_endpoint() as (url, connected):
            publication = Publication(page(b"a 1\n"))
            forwarder = Forwarder(url, INTERVAL, 600, publication, statistics, "1")
            forwarder.start()
            assert connected.wait(PATIENCE)
            forwarder.stop()
            forwarder._thread.join(PATIENCE)

        assert not forwarder._thread.is_alive()
        assert {0} == set(statistics.counts.values())
        assert not caplog.records

    def test_an_attempt_that_ends_after_the_stop_complains_no_more(self, endpoint, monkeypatch):
        run = Run(endpoint)
        attempt = Forwarder._attempt

        def stop_meanwhile(forwarder, target, body):
            post = target.post

            def post_and_stop(page):
                outcome = post(page)
                forwarder.stop()
                return outcome

            target.post = post_and_stop
            return attempt(forwarder, target, body)

        endpoint.statuses = [500]
        monkeypatch.setattr(Forwarder, "_attempt", stop_meanwhile)
        run.until(60)

        assert ("", {}) == (run.statistics.complaint, run.counted())

    def test_a_complaint_ends_with_its_forwarder(self, endpoint):
        endpoint.statuses = [500]
        run = Run(endpoint).until(60)

        assert "" == run.statistics.complaint

    def test_stopping_before_anything_happened_is_harmless(self):
        publication = Publication(page(b""))
        Forwarder("http://127.0.0.1:1/", 20, 5, publication, ForwardStatistics(), "1").stop()

    def test_a_waiting_forwarder_stops_at_once(self, endpoint):
        publication = Publication(page(b""))
        forwarder = Forwarder(endpoint.url, 600, 5, publication, ForwardStatistics(), "1")
        forwarder.start()
        forwarder.stop()
        forwarder._thread.join(PATIENCE)

        assert not forwarder._thread.is_alive()

    def test_requests_is_only_loaded_by_a_forwarder_that_runs(self):
        code = "import sys, do_dcgm_exporter.forward.forwarder; sys.exit('requests' in sys.modules)"

        assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


@contextlib.contextmanager
def hanging_endpoint():
    connected, over = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def hang() -> None:
            client, _ = listener.accept()
            with client:
                received = b""
                while not received.endswith(b"a 1\n"):
                    received += client.recv(65536)
                connected.set()
                over.wait(PATIENCE)

        thread = threading.Thread(target=hang)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/", connected
        over.set()
        thread.join()
