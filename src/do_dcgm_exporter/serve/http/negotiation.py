"""Choose the form of a page for a client: its format by Accept, its coding by Accept-Encoding.

The rules are those of RFC 9110, sections 12.4 and 12.5; the preference is ours. A client that
accepts the text format 0.0.4 gets it: in OpenMetrics, counters whose established names do not end
in ``_total`` would lose their type.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from do_dcgm_exporter.page.exposition import OPENMETRICS_CONTENT_TYPE, TEXT_CONTENT_TYPE

_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


class Format(Enum):
    """A format the page exists in; the value is its Content-Type."""

    TEXT = TEXT_CONTENT_TYPE
    OPENMETRICS = OPENMETRICS_CONTENT_TYPE

    # Enum's own is written in Python, and every scrape would call it.
    __hash__ = object.__hash__


class Form(NamedTuple):
    """The format and coding of one answer."""

    format: Format
    gzip: bool


@dataclass(frozen=True, slots=True)
class _Item:
    """One element of an Accept or Accept-Encoding list."""

    name: str
    parameters: dict[str, str]
    weight: float


@lru_cache(maxsize=64)
def negotiate(accept: str, accept_encoding: str) -> Form:
    """Choose the form for a client that sent these two headers ("" for none)."""
    return Form(_choose_format(accept), _wants_gzip(accept_encoding))


def _choose_format(accept: str) -> Format:
    """Return OpenMetrics only for a client that accepts it and not the text format.

    A client that accepts neither gets the text format: a scraper with an odd header is
    better served with a page than with 406.
    """
    items = list(_items(accept))
    if _accepts(items, "text/plain", "0.0.4"):
        return Format.TEXT
    if _accepts(items, "application/openmetrics-text", "1.0.0"):
        return Format.OPENMETRICS
    return Format.TEXT


def _accepts(items: list[_Item], media_type: str, version: str) -> bool:
    """Return whether the most specific range that covers the type accepts it."""
    ranges = (f"{media_type.split('/', maxsplit=1)[0]}/*", "*/*")
    exact = [item for item in items if item.name == media_type]
    for candidates in (
        [item for item in exact if item.parameters.get("version") == version],
        [item for item in exact if "version" not in item.parameters],
        *([item for item in items if item.name == name] for name in ranges),
    ):
        if candidates:
            return max(item.weight for item in candidates) > 0
    return False


def _wants_gzip(accept_encoding: str) -> bool:
    """Return whether gzip is acceptable and weighs no less than no coding."""
    weights = {item.name: item.weight for item in _items(accept_encoding)}
    gzip = weights.get("gzip", weights.get("x-gzip", weights.get("*", 0.0)))
    return gzip > 0 and gzip >= weights.get("identity", 0.0)


def _items(header: str) -> Iterator[_Item]:
    """Split a list header; an element with a malformed weight is ignored.

    Commas in quoted parameters split too: nothing that matters here has any, and the pieces
    match nothing.
    """
    for element in header.lower().split(","):
        name, *rest = (part.strip() for part in element.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        weight = parameters.pop("q", "1")
        if name and _WEIGHT.fullmatch(weight):
            yield _Item(name, parameters, float(weight))
