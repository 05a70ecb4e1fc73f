"""What counts as a request, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.serve.http.request import (
    HeadLimits,
    Refused,
    Request,
    check_size,
    head_end,
    parse_head,
)


def head(line: bytes = b"GET /metrics HTTP/1.1", *headers: bytes) -> bytes:
    return b"\r\n".join((line, b"Host: localhost", *headers, b"\r\n"))


def test_an_ordinary_scrape_is_understood():
    request = parse_head(head(b"GET /metrics HTTP/1.1", b"Accept-Encoding: gzip", b"ACCEPT:a "))

    expected = {"host": "localhost", "accept-encoding": "gzip", "accept": "a"}
    assert Request("/metrics", expected, keep_alive=True) == request


def test_repeated_headers_are_one_list():
    request = parse_head(head(b"GET / HTTP/1.1", b"Accept: a", b"accept: b"))

    assert "a, b" == request.headers["accept"]


@pytest.mark.parametrize(
    ("target", "path"),
    [
        (b"/", "/"),
        (b"/metrics?name[]=up", "/metrics"),
        (b"/%6Detrics", "/metrics"),
        (b"/%2e%2e/metrics", "/../metrics"),
        (b"/a%zz", "/a%zz"),
        (b"/%ff%00", "/\ufffd\0"),
        (b"http://droplet:9401/metrics?x", "/metrics"),
        (b"http://droplet:9401", "/"),
        (b"//metrics", "//metrics"),
        (b"*", "*"),
    ],
)
def test_the_path_is_decoded_and_without_a_query(target, path):
    assert path == parse_head(head(b"GET " + target + b" HTTP/1.1")).path


@pytest.mark.parametrize(
    ("version", "connection", "expected"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"close", False),
        (b"1.1", b"Close", False),
        (b"1.1", b"x, close", False),
        (b"1.1", b"keep-alive", True),
        (b"1.0", b"", False),
        (b"1.0", b"Keep-Alive", True),
        (b"1.0", b"keep-alive, close", False),
    ],
)
def test_the_client_says_whether_it_asks_again(version, connection, expected):
    request = parse_head(head(b"GET / HTTP/" + version, b"Connection: " + connection))

    assert expected is request.keep_alive


@pytest.mark.parametrize(
    "headers",
    [
        (b"Content-Length: 0",),
        (b"Expect: 100-continue",),
        (b"Connection: Upgrade", b"Upgrade: h2c"),
        (b"X: \xc3\xa9",),
        (b"Cookie:",),
    ],
)
def test_what_needs_no_body_is_harmless(headers):
    assert "/metrics" == parse_head(head(b"GET /metrics HTTP/1.1", *headers)).path


def test_http_1_0_needs_no_host():
    assert "/" == parse_head(b"GET / HTTP/1.0\r\n\r\n").path


@pytest.mark.parametrize(
    ("data", "status"),
    [
        pytest.param(b"\r\n\r\n", 400, id="nothing"),
        pytest.param(b"GET /\r\n\r\n", 400, id="HTTP/0.9"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(head(b"GET / HTTP/1.1", b"Host: b"), 400, id="two hosts"),
        pytest.param(head(b"GET / HTTP/1.2"), 505, id="HTTP/1.2"),
        pytest.param(b"PRI * HTTP/2.0\r\n\r\n", 505, id="HTTP/2"),
        pytest.param(head(b"GET  / HTTP/1.1"), 400, id="two spaces"),
        pytest.param(head(b"GET\t/ HTTP/1.1"), 400, id="tab"),
        pytest.param(head(b"GET /a b HTTP/1.1"), 400, id="space in target"),
        pytest.param(head(b"GET /\xc3\xa9 HTTP/1.1"), 400, id="raw UTF-8 in target"),
        pytest.param(head(b"GET / HTTP/1.1 "), 400, id="space at the end"),
        pytest.param(head(b"GET localhost:1 HTTP/1.1"), 400, id="authority as target"),
        pytest.param(head(b"GET / ICE/1.0"), 400, id="another protocol"),
        pytest.param(b"\x16\x03\x01\x02\0\x01\n\n", 400, id="TLS"),
        pytest.param(b"GET / HTTP/1.1\nHost: a\n\n", 400, id="bare line feeds"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", 400, id="one bare line feed"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", 400, id="bare carriage return"),
        pytest.param(head(b"GET / HTTP/1.1", b" Folded: x"), 400, id="folded"),
        pytest.param(head(b"GET / HTTP/1.1", b"X : y"), 400, id="space before the colon"),
        pytest.param(head(b"GET / HTTP/1.1", b": y"), 400, id="no name"),
        pytest.param(head(b"GET / HTTP/1.1", b"X"), 400, id="no colon"),
        pytest.param(head(b"GET / HTTP/1.1", b"X: a\0b"), 400, id="NUL"),
        pytest.param(head(b"GET / HTTP/1.1", b"X(: a"), 400, id="no token"),
        pytest.param(head(b"POST / HTTP/1.1"), 405, id="POST"),
        pytest.param(head(b"OPTIONS * HTTP/1.1"), 405, id="OPTIONS"),
        pytest.param(head(b"CONNECT a:1 HTTP/1.1"), 405, id="CONNECT"),
        pytest.param(head(b"BREW / HTTP/1.1"), 405, id="unknown method"),
        pytest.param(head(b"get / HTTP/1.1"), 405, id="lower-case method"),
        pytest.param(head(b"GET / HTTP/1.1", b"Content-Length: 5"), 413, id="body"),
        pytest.param(head(b"GET / HTTP/1.1", b"Transfer-Encoding: chunked"), 413, id="chunks"),
        pytest.param(
            head(b"GET / HTTP/1.1", b"Content-Length: 0", b"Transfer-Encoding: chunked"),
            400,
            id="length and chunks",
        ),
        pytest.param(
            head(b"GET / HTTP/1.1", b"Transfer-Encoding: chunked", b"Content-Length: 0"),
            400,
            id="chunks and length",
        ),
        pytest.param(
            head(b"GET / HTTP/1.1", b"Content-Length: 0", b"Content-Length: 5"),
            400,
            id="two lengths",
        ),
        pytest.param(head(b"GET / HTTP/1.1", b"Content-Length: +0"), 400, id="signed length"),
        pytest.param(head(b"GET / HTTP/1.1", b"Content-Length: 0, 0"), 400, id="list of lengths"),
        pytest.param(head(b"GET / HTTP/1.1", b"Content-Length: 9" + 30 * b"9"), 400, id="overflow"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data, status):
    with pytest.raises(Refused) as refusal:
        parse_head(data)

    assert status == refusal.value.status


@pytest.mark.parametrize(
    ("received", "end"),
    [(b"", 0), (b"GET / HTTP/1.1\r\n", 0), (head() + b"GET", len(head())), (b"a\n\nb", 3)],
)
def test_a_head_ends_with_an_empty_line(received, end):
    assert end == head_end(received)


@pytest.mark.parametrize(
    ("received", "status"),
    [
        (b"G" * 101, 414),
        (b"GET /" + b"a" * 200 + b" HTTP/1.1\r\n\r\n", 414),
        (head(b"GET / HTTP/1.1", b"X: " + 200 * b"x"), 431),
        (head(b"GET / HTTP/1.1", *(b"X: y",) * 5), 431),
    ],
)
def test_a_head_that_grows_too_large_is_refused(received, status):
    with pytest.raises(Refused) as refusal:
        check_size(received, HeadLimits(head_bytes=200, line_bytes=100, headers=5))

    assert status == refusal.value.status


def test_a_head_at_the_limits_passes():
    limits = HeadLimits(head_bytes=len(head(b"GET / HTTP/1.1", b"X: y")), headers=2)

    check_size(head(b"GET / HTTP/1.1", b"X: y"), limits)


@given(st.binary(max_size=300) | st.binary(max_size=40).map(lambda part: head(b"GET /", part)))
def test_any_bytes_are_a_request_or_refused(data):
    try:
        request = parse_head(data)
    except Refused as refusal:
        assert 400 <= refusal.status < 600
    else:
        assert isinstance(request, Request)


@given(
    name=st.sampled_from([b"Content-Length", b"Transfer-Encoding"]),
    value=st.binary(max_size=12).filter(lambda value: value.strip(b" \t") != b"0"),
)
def test_nothing_that_announces_a_body_passes(name, value):
    with pytest.raises(Refused):
        parse_head(head(b"GET / HTTP/1.1", name + b":" + value))
