"""Who has scraped."""

from __future__ import annotations

import pytest
from tests.builders import Clock

from do_dcgm_exporter.serve.scrape_log import ScrapeLog


@pytest.mark.parametrize(
    ("user_agent", "scraper"),
    [
        ("Prometheus/2.53.0", "Prometheus"),
        ("vmagent", "vmagent"),
        ("OpenTelemetry Collector Contrib/0.1", "OpenTelemetry Collector"),
        ("Go-http-client/1.1", "another client"),
        ("<script>alert(1)</script>", "another client"),
    ],
)
def test_scrapers_are_known_by_what_they_call_themselves(user_agent: str, scraper: str) -> None:
    log = ScrapeLog(Clock(7.0))
    log.note(user_agent)
    assert {scraper: 7.0} == log.last


@pytest.mark.parametrize("user_agent", ["", "Mozilla/5.0 (X11)", "curl/8.5.0", "w3m/0.5.3"])
def test_people_who_look_are_no_scrapers(user_agent: str) -> None:
    log = ScrapeLog()
    log.note(user_agent)
    assert {} == log.last


def test_many_names_take_no_room() -> None:
    log = ScrapeLog()
    for number in range(10_000):
        log.note(f"agent-{number}")
    assert 1 == len(log.last)


def test_the_newest_scrape_of_each_counts() -> None:
    clock = Clock(1.0)
    log = ScrapeLog(clock)
    log.note("Prometheus/2.53.0")
    clock.now = 5.0
    log.note("do-agent/3.18")
    clock.now = 9.0
    log.note("Prometheus/3.0.0")
    assert {"Prometheus": 9.0, "do-agent": 5.0} == log.last
