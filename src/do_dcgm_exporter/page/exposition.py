"""Render families as Prometheus' text format 0.0.4 and as OpenMetrics 1.0.0.

The content types are our own constants because prometheus_client's vary with its version.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from do_dcgm_exporter.collect.samples import Family, MetricType

TEXT_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_CONTENT_TYPE = "application/openmetrics-text; version=1.0.0; charset=utf-8"

OPENMETRICS_END = b"# EOF\n"

# In OpenMetrics the samples of a counter end in this, and the name of its family does not.
_TOTAL = "_total"


class Rendered(NamedTuple):
    """The same families in both formats, OpenMetrics without its end marker."""

    text: bytes
    openmetrics: bytes


def render(families: Sequence[Family]) -> Rendered:
    """Render ``families``. The formats differ in their heads only, so samples are rendered once."""
    text: list[str] = []
    openmetrics: list[str] = []
    for family in families:
        samples = _samples(family)
        text_head, openmetrics_head = _heads(family.name, family.help, family.type)
        text += (text_head, samples)
        openmetrics += (openmetrics_head, samples)
    return Rendered(_encoded(text), _encoded(openmetrics))


def _encoded(parts: Iterable[str]) -> bytes:
    """Encode as UTF-8; a host name, for example, may contain bytes that are not."""
    return "".join(parts).encode(errors="replace")


@lru_cache(maxsize=4096)
def _heads(name: str, text: str, type_: MetricType) -> tuple[str, str]:
    """Return HELP and TYPE of a family in both formats.

    In OpenMetrics, a counter whose name does not end in ``_total`` becomes ``unknown``: its
    name matters more than its type.
    """
    escaped = _escape_help(text)
    plain = _head(name, escaped, type_.value)
    type_word = type_.value
    if type_ is MetricType.COUNTER and name.endswith(_TOTAL):
        name = name[: -len(_TOTAL)]
    elif type_ is not MetricType.GAUGE:
        type_word = "unknown"
    return plain, _head(name, escaped.replace('"', '\\"'), type_word)


def _head(name: str, text: str, type_word: str) -> str:
    return f"# HELP {name} {text}\n# TYPE {name} {type_word}\n"


def _samples(family: Family) -> str:
    name = family.name
    return "".join(
        f"{name}{{{sample.labels}}} {sample.value}\n"
        if sample.labels
        else f"{name} {sample.value}\n"
        for sample in family.samples
    )


def _escape_help(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
