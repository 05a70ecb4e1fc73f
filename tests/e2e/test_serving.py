"""What HTTP clients get from the real program."""

from __future__ import annotations

import gzip
import socket

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families
from tests.e2e.conftest import Stage
from tests.e2e.exporter import Exporter
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def serving(shared_stage: Stage) -> Exporter:
    """An exporter whose page stays the same."""
    exporter = shared_stage.exporter(shared_stage.engine("h100x8"), collect_interval=3_600_000)
    wait_until(lambda: exporter.has("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), "all families")
    return exporter


def test_the_page_is_text_and_the_library_reads_it(serving: Exporter) -> None:
    answer = serving.get()
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    names = {family.name for family in text_string_to_metric_families(answer.text)}
    assert len(names) == len(serving.page().families)


def test_a_client_of_nothing_but_openmetrics_gets_it(serving: Exporter) -> None:
    answer = serving.get(headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert answer.text.endswith("# EOF\n")
    samples = {s.name for family in openmetrics(answer.text) for s in family.samples}
    assert samples == set(serving.page().families)


def test_gzip_and_head(serving: Exporter) -> None:
    plain = serving.get()
    compressed = serving.get(headers={"Accept-Encoding": "gzip"})
    assert compressed.headers["Content-Encoding"] == "gzip"
    assert gzip.decompress(compressed.body) == plain.body
    head = serving.get(method="HEAD")
    assert (head.status, head.body) == (200, b"")
    assert head.headers["Content-Length"] == plain.headers["Content-Length"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200),
        ("GET", "/health", 200),
        ("GET", "/-/ready", 200),
        ("GET", "/-/healthy", 200),
        ("GET", "/metrics?x=1", 200),
        ("GET", "/nonsense", 404),
        ("POST", "/metrics", 405),
        ("DELETE", "/", 405),
    ],
)
def test_paths_and_methods(serving: Exporter, method: str, path: str, status: int) -> None:
    assert serving.get(path, method=method).status == status


def test_slow_clients_in_any_number_hurt_nobody(serving: Exporter) -> None:
    clients = [socket.create_connection(("127.0.0.1", serving.port)) for _ in range(300)]
    try:
        for client in clients:
            client.sendall(b"GET /metrics HTTP/1.1\r\n")
        for _ in range(10):
            assert serving.get().status == 200
        assert serving.descriptors() < 300
    finally:
        for client in clients:
            client.close()


def test_nonsense_is_refused_and_the_next_client_served(serving: Exporter) -> None:
    for nonsense in (b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"\0" * 100_000, b"\r\n" * 1000):
        with socket.create_connection(("127.0.0.1", serving.port)) as client:
            client.settimeout(30)
            try:
                client.sendall(nonsense)
                client.shutdown(socket.SHUT_WR)
                while client.recv(4096):
                    pass
            except ConnectionError:
                pass
        assert serving.get().status == 200
