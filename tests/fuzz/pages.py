"""What every target demands of a page: both formats are valid and say the same."""

from __future__ import annotations

from collections.abc import Sequence

from tests.e2e.pages import Page
from tests.simulation import openmetrics

from do_dcgm_exporter.collect.samples import Family
from do_dcgm_exporter.page.exposition import OPENMETRICS_END, render


def parsed(families: Sequence[Family]) -> Page:
    """The page of ``families``; raises AssertionError if a strict parser would refuse it."""
    rendered = render(families)
    text = rendered.text.decode()
    openmetrics.check((rendered.openmetrics + OPENMETRICS_END).decode(), text)
    return Page(text)
