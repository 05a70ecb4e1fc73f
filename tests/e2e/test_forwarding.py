"""Posting to the endpoint, which may do whatever it likes."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.e2e import endpoint as endpoints
from tests.e2e.conftest import Stage
from tests.e2e.endpoint import Behaviour, Endpoint
from tests.e2e.exporter import Exporter
from tests.e2e.pages import Page
from tests.waiting import STOP_LIMIT, wait_until

from dcgm_simulator.process import SimulatedEngine
from do_dcgm_exporter import __version__
from do_dcgm_exporter.page.publisher import NOT_FORWARDED

FORWARDING = {"forward": "true", "forward_interval": 500, "forward_timeout": 800}


def attempts(exporter: Exporter, result: str) -> float:
    return exporter.page().own("forward_attempts_total", result=result)


def test_the_endpoint_gets_the_dcgm_families_and_nothing_else(
    stage: Stage, engine: SimulatedEngine, endpoint: Endpoint
) -> None:
    exporter = stage.exporter(
        engine, **FORWARDING | {"forward_url": endpoint.url, "forward_timeout": 5000}
    )
    wait_until(lambda: exporter.has("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), "all families")
    endpoint.wait_for_posts(2)
    post = endpoint.wait_for_posts(1)[0]
    assert post.request_line == "POST /v1/gpu_metrics HTTP/1.1"
    names = {name.lower(): value for name, value in post.headers.items()}
    assert names.pop("host") == f"127.0.0.1:{endpoint.port}"
    assert names.pop("content-type") == "text/plain; version=0.0.4; charset=utf-8"
    assert names.pop("user-agent") == f"do-dcgm-exporter/{__version__}"
    assert names.pop("content-length") == str(len(post.body))
    assert set(names) <= {"connection", "accept-encoding"}
    page = Page(post.body.decode())
    assert set(page.families) == page.dcgm == exporter.page().dcgm - NOT_FORWARDED
    assert exporter.page().dcgm & NOT_FORWARDED
    assert "do_dcgm_exporter" not in post.body.decode()

    wait_until(lambda: attempts(exporter, "success") >= 3, "the success is counted")
    assert exporter.page().own("forward_last_success_timestamp_seconds") > 1.7e9
    assert len(exporter.log_lines("forwarding to ")) == 1


def test_no_empty_page_is_ever_posted(
    stage: Stage, engine: SimulatedEngine, endpoint: Endpoint
) -> None:
    engine.kill()
    exporter = stage.exporter(
        engine, **FORWARDING | {"forward_url": endpoint.url, "forward_timeout": 5000}
    )
    wait_until(lambda: "no engine answers" in exporter.health()[1], "the outage")
    engine.restart()
    endpoint.wait_for_posts(2)
    engine.kill()
    exporter.wait_until_down()
    engine.restart()
    endpoint.wait_for_posts(2)
    for post in endpoint.posts:
        assert Page(post.body.decode()).samples("DCGM_FI_DEV_GPU_TEMP")


def test_proxies_of_the_environment_are_ignored(
    stage: Stage, engine: SimulatedEngine, endpoint: Endpoint
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        names = ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
        environ = dict.fromkeys(names, address) | {"no_proxy": "", "NO_PROXY": ""}
        stage.exporter(engine, environ=environ, **FORWARDING | {"forward_url": endpoint.url})
        endpoint.wait_for_posts(2)
        proxy.setblocking(False)
        with pytest.raises(BlockingIOError):
            proxy.accept()


def test_simulated_values_do_not_leave_this_machine(
    stage: Stage, engine: SimulatedEngine, endpoint: Endpoint
) -> None:
    """0.0.0.0 leads to this very machine, but a URL only counts as local if it says so."""
    url = f"http://0.0.0.0:{endpoint.port}/"
    exporter = stage.exporter(engine, **FORWARDING | {"forward_url": url})
    exporter.wait_until_up()
    exporter.wait_for_cycles(4)
    results = exporter.page().samples("do_dcgm_exporter_forward_attempts_total")
    assert {sample.value for sample in results} == {0}
    assert not endpoint.posts
    exporter.reload(forward_url=endpoint.url)
    endpoint.wait_for_posts(1)
    exporter.reload(forward_url=url)
    exporter.wait_for_cycles(4)
    assert {post.request_line for post in endpoint.posts} == {"POST /v1/gpu_metrics HTTP/1.1"}


# Endpoints that do everything wrong


@pytest.fixture(scope="module")
def bad_endpoint() -> Iterator[Endpoint]:
    with Endpoint() as endpoint:
        yield endpoint


@pytest.fixture(scope="module")
def forwarding(shared_stage: Stage, bad_endpoint: Endpoint) -> Exporter:
    """An exporter that forwards, shared by the tests that only change the endpoint."""
    exporter = shared_stage.exporter(
        shared_stage.engine(),
        collect_interval=300,
        **FORWARDING | {"forward_url": bad_endpoint.url},
    )
    exporter.wait_until_up()
    wait_until(lambda: attempts(exporter, "success") > 0, "a success")
    return exporter


ELSEWHERE = "http://127.0.0.1:1/"


@pytest.mark.parametrize(
    ("behaviour", "result"),
    [
        (endpoints.answering("500 Oops"), "http_5xx"),
        (endpoints.answering("403 No"), "http_4xx"),
        (endpoints.answering("301 There", f"Location: {ELSEWHERE}\r\n"), "http_3xx"),
        (endpoints.resetting, "reset"),
        (endpoints.hanging, "timeout"),
        (endpoints.dripping, "timeout"),
        (endpoints.answering_nonsense, "broken_answer"),
    ],
    ids=["500", "403", "301", "reset", "hangs", "drips", "no HTTP"],
)
def test_a_bad_endpoint_is_counted_and_touches_nothing_else(
    forwarding: Exporter, bad_endpoint: Endpoint, behaviour: Behaviour, result: str
) -> None:
    failures = len(forwarding.log_lines("forwarding fails"))
    recoveries = len(forwarding.log_lines("works again"))
    before, dropped = attempts(forwarding, result), attempts(forwarding, "dropped")
    bad_endpoint.behaviour = behaviour
    wait_until(lambda: attempts(forwarding, result) >= before + 2, f"{result} is counted")
    wait_until(lambda: attempts(forwarding, "dropped") > dropped, "the loss is counted")
    forwarding.wait_for_cycles(2)
    assert forwarding.is_up()
    assert forwarding.health()[0] == 200
    assert len(forwarding.log_lines("forwarding fails")) == failures + 1

    bad_endpoint.behaviour = endpoints.OK
    forwarding.wait_for_log("works again", recoveries + 1)
    assert len(forwarding.log_lines("forwarding fails")) == failures + 1


def test_a_redirect_is_not_followed(
    forwarding: Exporter, bad_endpoint: Endpoint, endpoint: Endpoint
) -> None:
    before = attempts(forwarding, "http_3xx")
    bad_endpoint.behaviour = endpoints.answering("302 Found", f"Location: {endpoint.url}\r\n")
    wait_until(lambda: attempts(forwarding, "http_3xx") >= before + 3, "three redirects")
    assert not endpoint.posts
    bad_endpoint.behaviour = endpoints.OK


def test_an_answer_without_end_is_left_unread(forwarding: Exporter, bad_endpoint: Endpoint) -> None:
    before = attempts(forwarding, "success")
    bad_endpoint.behaviour = endpoints.answering_without_end
    wait_until(lambda: attempts(forwarding, "success") >= before + 3, "it said 200")
    bad_endpoint.behaviour = endpoints.OK
    forwarding.wait_for_cycles(1)


def test_an_endpoint_that_is_not_there_is_counted(
    stage: Stage, engine: SimulatedEngine, endpoint: Endpoint
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # and does not listen
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        exporter = stage.exporter(engine, **FORWARDING | {"forward_url": url})
        wait_until(lambda: attempts(exporter, "refused") >= 2, "refusals")
        assert exporter.page().own("forward_last_success_timestamp_seconds") == 0
        assert len(exporter.log_lines("forwarding fails")) == 1
        assert exporter.is_up()
        assert "forward" in exporter.health()[1]  # a note, since the page is whole


def in_a_post_that_hangs(stage: Stage, engine: SimulatedEngine, endpoint: Endpoint) -> Exporter:
    """Start an exporter, and wait until the endpoint keeps it waiting."""
    endpoint.behaviour = endpoints.hanging
    exporter = stage.exporter(
        engine, **FORWARDING | {"forward_url": endpoint.url, "forward_timeout": 60_000}
    )
    endpoint.wait_for_posts(1)
    return exporter


def test_it_stops_at_once_while_the_endpoint_hangs(
    stage: Stage, engine: SimulatedEngine, endpoint: Endpoint
) -> None:
    exporter = in_a_post_that_hangs(stage, engine, endpoint)
    assert exporter.stop() < STOP_LIMIT
    assert exporter.process.returncode == 0


def test_it_stops_at_once_while_both_sides_hang_and_clients_dawdle(
    stage: Stage, engine: SimulatedEngine, endpoint: Endpoint
) -> None:
    exporter = in_a_post_that_hangs(stage, engine, endpoint)
    engine.suspend()
    exporter.wait_until_down()
    with socket.create_connection(("127.0.0.1", exporter.port)) as client:
        client.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n")  # and no end of it
        assert exporter.stop() < STOP_LIMIT
    engine.resume()
