"""Addresses are read generously where they are clear, and refused where they are not."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from do_dcgm_exporter.config.addresses import (
    is_loopback_url,
    parse_engine_address,
    parse_forward_url,
    parse_listen_address,
    without_secrets,
)
from do_dcgm_exporter.config.options import DEFAULT_FORWARD_URL
from do_dcgm_exporter.config.settings import ListenAddress
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.errors import ConfigurationError

FUZZ = settings(deadline=None)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":9401", "", 9401),
        ("9400", "", 9400),
        ("127.0.0.1:9401", "127.0.0.1", 9401),
        ("0.0.0.0", "0.0.0.0", 9401),
        ("gpu-1.example:80", "gpu-1.example", 80),
        ("[::1]:9401", "::1", 9401),
        ("[::]", "::", 9401),
        (":0", "", 0),
    ],
)
def test_a_place_to_listen_is_a_port_with_or_without_a_host(
    text: str, host: str, port: int
) -> None:
    assert parse_listen_address(text) == ListenAddress(host, port)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "is empty"),
        ("::1", r"write \[::1\]:PORT"),
        (":65536", "port 65536 is too high"),
        ("host:http", "not HOST:PORT"),
        ("[::1", "not HOST:PORT"),
        ("[nonsense]:1", "not an IPv6 address"),
        ("a b:1", "not a host name"),
        ("http://localhost:9401", "not HOST:PORT"),
    ],
)
def test_a_place_to_listen_that_is_unclear_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_listen_address(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost:5555", EngineAddress("localhost", 5555)),
        ("gpu-host", EngineAddress("gpu-host", 5555)),
        ("tcp://gpu-host:1234", EngineAddress("gpu-host", 1234)),
        ("[::1]:5555", EngineAddress("::1", 5555)),
        ("[::1]", EngineAddress("::1", 5555)),
        ("unix:///run/dcgm.sock", EngineAddress(socket_path="/run/dcgm.sock")),
        ("/run/dcgm.sock", EngineAddress(socket_path="/run/dcgm.sock")),
        (
            "unix:///run/nvidia-dcgm/nv-hostengine.sock",
            EngineAddress(socket_path="/run/nvidia-dcgm/nv-hostengine.sock"),
        ),
        ("vsock://3:5555", EngineAddress("3", 5555, is_vsock=True)),
        ("vsock://4294967295", EngineAddress("4294967295", 5555, is_vsock=True)),
    ],
)
def test_an_engine_is_at_a_host_or_a_socket(text: str, expected: EngineAddress) -> None:
    assert parse_engine_address(text) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "names no host"),
        (":5555", "names no host"),
        ("::1", r"write \[::1\]:PORT"),
        ("localhost:0", "port 0"),
        ("unix://dcgm.sock", "no absolute path"),
        ("unix:///" + "x" * 108, "at most 107 bytes"),
        ("vsock://gpu-host:5555", "not vsock://CID:PORT"),
        ("vsock:3", "not vsock://CID:PORT"),
    ],
)
def test_an_engine_address_that_is_unclear_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_engine_address(text)


@pytest.mark.parametrize(
    "url",
    ["http://169.254.169.254:80/v1/gpu_metrics", "https://example.com", "http://[::1]:8080/x?y=1"],
)
def test_a_forward_url_is_left_as_it_is(url: str) -> None:
    assert parse_forward_url(url) == url


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "characters that a URL cannot have"),
        ("example.com/x", "does not begin with http://"),
        ("ftp://example.com", "does not begin with http://"),
        ("http://", "lacks a host"),
        ("http:///path", "lacks a host"),
        ("http://example.com:0", "port 0"),
        ("http://example.com:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://exa mple.com", "characters that a URL cannot have"),
        ("http://127.0.0.1\\@example.com", "characters that a URL cannot have"),
        ("http://user:sesame", "is not a URL"),
    ],
)
def test_a_forward_url_that_cannot_work_is_refused(url: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        parse_forward_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://user:sesame",
        "http://user:sesame@",
        "http://user:sesame@host:0/",
        "http://user:ses ame@host",
        "http://user:sesame@[::1",
        "ftp://user:sesame@host/",
        "user:sesame@host",
        "http://host:x?token=sesame",
    ],
)
def test_the_complaint_about_a_forward_url_does_not_repeat_it(url: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_forward_url(url)
    assert "sesame" not in str(caught.value)
    assert "ses ame" not in str(caught.value)


def test_where_pages_go_without_being_asked_is_link_local() -> None:
    """Such an address is not routed: what is there is this machine's own host."""
    host = urlsplit(DEFAULT_FORWARD_URL).hostname or ""
    assert ip_address(host).is_link_local


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("http://user:pass@host/a", "http://host/a"),
        ("forward-url http://user:pa/ss@host/a", "forward-url http://host/a"),
        ("http://host/a@b", "http://b"),
        ("http://host/a", "http://host/a"),
        ("user@host", "user@host"),
    ],
)
def test_what_may_be_shown_of_a_url(text: str, expected: str) -> None:
    assert without_secrets(text) == expected


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://localhost/", True),
        ("http://LOCALHOST:8080/v1", True),
        ("http://127.0.0.1:80/", True),
        ("http://127.255.0.9/", True),
        ("http://[::1]:80/", True),
        ("https://127.0.0.1/", True),
        ("http://169.254.169.254:80/v1/gpu_metrics", False),
        ("http://0.0.0.0/", False),
        ("http://[::]/", False),
        ("http://10.0.0.1/", False),
        ("http://droplet/", False),
        ("http://localhost.example.com/", False),
        ("http://127.0.0.1.example.com/", False),
        ("http://127.1/", False),
        ("http://2130706433/", False),
        ("http://localhost@example.com/", False),
        ("http://example.com\\@127.0.0.1/", False),
        ("http://example.com#@localhost/", False),
        ("http://example.com\t@localhost/", False),
        ("http://[::1/", False),
        ("http:///", False),
        ("localhost", False),
        ("", False),
    ],
)
def test_only_what_cannot_leave_the_host_is_loopback(url, expected):
    assert expected is is_loopback_url(url)


@pytest.mark.parametrize("parse", [parse_listen_address, parse_engine_address, parse_forward_url])
@FUZZ
@given(
    text=st.one_of(
        st.text(),
        st.text(alphabet="[]:/.@%-_0123456789abcx\0"),
        st.text(alphabet="[]:.%0123456789abc/").map(lambda rest: f"http://{rest}"),
    )
)
def test_any_text_is_an_address_or_a_configuration_error(
    parse: Callable[[str], object], text: str
) -> None:
    try:
        parse(text)
    except ConfigurationError as error:
        assert str(error)


@FUZZ
@given(st.ip_addresses(v=6), st.integers(1, 65535))
def test_every_ipv6_address_works_in_brackets(address: object, port: int) -> None:
    assert parse_engine_address(f"[{address}]:{port}") == EngineAddress(str(address), port)
    assert str(parse_listen_address(f"[{address}]:{port}")) == f"[{address}]:{port}"
