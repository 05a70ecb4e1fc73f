"""Which form of the page a client gets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from do_dcgm_exporter.serve.http.negotiation import Format, negotiate

PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;"
    "version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;"
    "escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_PROTOBUF = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;"
    "encoding=delimited;q=0.6," + PROMETHEUS_2
)


@pytest.mark.parametrize(
    "accept",
    [
        "",
        "*/*",
        "text/*",
        "text/plain",
        "TEXT/Plain",
        "text/plain;version=0.0.4",
        'text/plain; version="0.0.4"; charset=utf-8',
        "text/plain;q=0.1, application/openmetrics-text",
        "application/openmetrics-text; version=1.0.0, */*;q=0.001",
        PROMETHEUS_2,
        PROMETHEUS_3,
        PROMETHEUS_PROTOBUF,
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "application/json",
        "text/plain;q=0",
        "application/openmetrics-text;version=2.0.0",
        "application/openmetrics-text;q=0",
        "text/plain;version=1.0.0, text/plain;q=0.2, application/openmetrics-text",
        "application/openmetrics-text;q=0, */*;q=0",
        ";;;,,,=;q",
    ],
)
def test_the_text_goes_to_whoever_takes_it_and_to_whoever_takes_nothing_we_have(accept):
    assert Format.TEXT is negotiate(accept, "").format


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
        "application/openmetrics-text;version=0.0.1;q=0.9,application/openmetrics-text;version=1.0.0",
        "application/*",
        "application/openmetrics-text, text/plain;q=0",
        "application/openmetrics-text;q=0.1, text/plain;q=0.000, */*;q=0.5",
        "application/openmetrics-text, text/*;q=0.0",
        "application/openmetrics-text, text/html",
        "application/openmetrics-text, text/plain;version=1.0.0",
        "text/plain;version=0.0.4;q=0, text/plain, application/openmetrics-text",
        "text/plain;q=2, application/openmetrics-text",
    ],
)
def test_openmetrics_goes_to_a_client_that_takes_nothing_else(accept):
    assert Format.OPENMETRICS is negotiate(accept, "").format


@pytest.mark.parametrize(
    ("accept_encoding", "expected"),
    [
        ("", False),
        ("gzip", True),
        ("GZIP", True),
        ("x-gzip", True),
        ("gzip, deflate, br", True),
        ("gzip;q=0.5", True),
        ("gzip;q=0.001", True),
        ("gzip;q=0", False),
        ("gzip;q=0.000", False),
        ("*", True),
        ("*;q=0", False),
        ("*, gzip;q=0", False),
        ("gzip, *;q=0", True),
        ("identity", False),
        ("identity, gzip", True),
        ("identity;q=1, gzip;q=0.5", False),
        ("identity;q=0, gzip;q=0.5", True),
        ("identity;q=0", False),
        ("deflate, br", False),
        ("gzip;q=high", False),
        ("gzip;q=-1", False),
        ("gzipped", False),
    ],
)
def test_gzip_is_for_those_who_want_it_no_less_than_the_plain_page(accept_encoding, expected):
    assert expected is negotiate("", accept_encoding).gzip


@given(st.text(alphabet='textplain/*;,=q0.1 version"\\gzipé', max_size=200))
def test_no_header_is_too_odd_to_answer(header):
    form = negotiate.__wrapped__(header, header)

    assert form.format in Format
