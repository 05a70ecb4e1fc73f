"""Rendering: what strict parsers of both formats read back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text

from do_dcgm_exporter.collect.sample_text import label_block, number_text
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.page.exposition import OPENMETRICS_END, Rendered, render

GAUGE, COUNTER, UNTYPED = MetricType.GAUGE, MetricType.COUNTER, MetricType.UNTYPED


def family(
    name: str = "DCGM_FI_DEV_GPU_TEMP",
    type_: MetricType = GAUGE,
    text: str = "Temperature.",
    *samples: Sample,
) -> Family:
    return Family(name, type_, text, samples or (Sample('gpu="0"', "41"),))


def openmetrics(rendered: Rendered) -> str:
    return (rendered.openmetrics + OPENMETRICS_END).decode()


def test_a_family_in_text() -> None:
    rendered = render([family("A", GAUGE, "Help.", Sample('gpu="0"', "1"), Sample("", "2.500000"))])
    assert b'# HELP A Help.\n# TYPE A gauge\nA{gpu="0"} 1\nA 2.500000\n' == rendered.text


def test_families_follow_each_other_without_blank_lines() -> None:
    rendered = render([family("B"), family("A")])
    names = [line.split()[2] for line in rendered.text.decode().splitlines() if "TYPE" in line]
    assert ["B", "A"] == names
    assert b"\n\n" not in rendered.text


def test_no_families_are_an_empty_page() -> None:
    assert Rendered(b"", b"") == render([])
    assert [] == list(parse_openmetrics(openmetrics(render([]))))


@pytest.mark.parametrize(
    ("name", "type_", "text_type", "openmetrics_name", "openmetrics_type"),
    [
        ("DCGM_FI_DEV_GPU_TEMP", GAUGE, "gauge", "DCGM_FI_DEV_GPU_TEMP", "gauge"),
        ("DCGM_FI_DEV_RETIRED_SBE", COUNTER, "counter", "DCGM_FI_DEV_RETIRED_SBE", "unknown"),
        ("DCGM_EXP_XID_ERRORS_TOTAL", COUNTER, "counter", "DCGM_EXP_XID_ERRORS_TOTAL", "unknown"),
        ("engine_calls_total", COUNTER, "counter", "engine_calls", "counter"),
        ("something", UNTYPED, "untyped", "something", "unknown"),
        ("something_total", UNTYPED, "untyped", "something_total", "unknown"),
    ],
)
def test_types_in_both_formats(
    name: str, type_: MetricType, text_type: str, openmetrics_name: str, openmetrics_type: str
) -> None:
    rendered = render([family(name, type_)])
    assert f"# TYPE {name} {text_type}\n" in rendered.text.decode()
    assert f"# TYPE {openmetrics_name} {openmetrics_type}\n" in openmetrics(rendered)
    (parsed,) = parse_openmetrics(openmetrics(rendered))
    assert [(name, {"gpu": "0"}, 41.0)] == [tuple(sample)[:3] for sample in parsed.samples]


def test_label_values_are_escaped() -> None:
    assert r'a="\"",b="\\",c="\n"' == label_block((("a", '"'), ("b", "\\"), ("c", "\n")))


def test_help_texts_are_escaped_for_their_format() -> None:
    rendered = render([family(text='a\\b\n"c"')])
    assert '# HELP DCGM_FI_DEV_GPU_TEMP a\\\\b\\n"c"\n' in rendered.text.decode()
    assert '# HELP DCGM_FI_DEV_GPU_TEMP a\\\\b\\n\\"c\\"\n' in openmetrics(rendered)


# Whatever a model or a job is called, every label comes back.

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
NAMES = st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,20}", fullmatch=True)


@given(st.lists(st.tuples(NAMES, TEXTS), min_size=1, max_size=4, unique_by=lambda label: label[0]))
def test_any_label_value_comes_back(labels: list[tuple[str, str]]) -> None:
    rendered = render([family("A", GAUGE, "Help.", Sample(label_block(tuple(labels)), "1"))])
    for parsed in (
        list(parse_text(rendered.text.decode())),
        list(parse_openmetrics(openmetrics(rendered))),
    ):
        assert [dict(labels)] == [sample.labels for sample in parsed[0].samples]


@given(TEXTS.filter(lambda text: text == text.strip()))
def test_any_help_text_comes_back(text: str) -> None:
    rendered = render([family(text=text)])
    (of_text,) = parse_text(rendered.text.decode())
    (of_openmetrics,) = parse_openmetrics(openmetrics(rendered))
    assert (text, text) == (of_text.documentation, of_openmetrics.documentation)


@given(st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(-1e15, 1e15)))
def test_any_value_comes_back(number: float) -> None:
    rendered = render([family("A", GAUGE, "Help.", Sample("", number_text(number)))])
    (parsed,) = parse_openmetrics(openmetrics(rendered))
    assert float(number) == float(parsed.samples[0].value)
