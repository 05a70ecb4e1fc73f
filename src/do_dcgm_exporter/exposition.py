"""Render families as Prometheus' text format 0.0.4 and as OpenMetrics 1.0.0.

Content types are constants of our own: prometheus_client's change with its version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from do_dcgm_exporter.samples import Family, MetricType
from do_dcgm_exporter.topology import Label

TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_OPENMETRICS_TYPES = {
    MetricType.GAUGE: "gauge",
    # A counter's sample must end in _total there, which would rename DCGM's; none does.
    MetricType.COUNTER: "unknown",
    MetricType.UNTYPED: "unknown",
}


class Rendered(NamedTuple):
    """The same families in both formats; OpenMetrics without its closing ``# EOF``."""

    text: bytes
    openmetrics: bytes


def render(families: Sequence[Family]) -> Rendered:
    """Render ``families``; the formats differ in the heads alone, so samples are rendered once."""
    text: list[str] = []
    openmetrics: list[str] = []
    for family in families:
        samples = _samples(family)
        text += (_text_head(family), samples)
        openmetrics += (_openmetrics_head(family), samples)
    return Rendered("".join(text).encode(), "".join(openmetrics).encode())


def label_block(labels: Iterable[Label]) -> str:
    """``name="value"`` pairs joined by commas, values escaped."""
    return ",".join(f'{name}="{_escape_label(value)}"' for name, value in labels)


def _text_head(family: Family) -> str:
    return _head(family.name, _escape_help(family.help), family.type.value)


def _openmetrics_head(family: Family) -> str:
    text = _escape_help(family.help).replace('"', '\\"')
    return _head(family.name, text, _OPENMETRICS_TYPES[family.type])


def _head(name: str, text: str, type_word: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {type_word}\n"


def _samples(family: Family) -> str:
    name = family.name
    return "".join(f"{name}{{{sample.labels}}} {sample.value}\n" for sample in family.samples)


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _escape_label(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
