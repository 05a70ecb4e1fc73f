"""Note who scrapes and when, for people who wonder whether their Prometheus does."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import lru_cache

# How the User-Agent of each scraper begins, in lower case.
_SCRAPERS = {
    "prometheus/": "Prometheus",
    "do-agent": "do-agent",
    "vmagent": "vmagent",
    "victoriametrics": "VictoriaMetrics",
    "grafana-agent": "Grafana Agent",
    "grafanaagent": "Grafana Agent",
    "alloy": "Grafana Alloy",
    "grafana alloy": "Grafana Alloy",
    "opentelemetry": "OpenTelemetry Collector",
    "otelcol": "OpenTelemetry Collector",
    "telegraf": "Telegraf",
    "datadog": "Datadog Agent",
    "vector/": "Vector",
    "netdata": "Netdata",
    "mimir": "Mimir",
}
_OTHER = "another client"


class ScrapeLog:
    """The last scrape of every kind of scraper; for the event loop alone."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._last: dict[str, float] = {}

    @property
    def last(self) -> Mapping[str, float]:
        """The Unix time of the last scrape of each kind of scraper."""
        return self._last

    def note(self, user_agent: str) -> None:
        """Note a scrape by a client of this name; people and scripts do not count."""
        scraper = _scraper(user_agent)
        if scraper:
            self._last[scraper] = self._clock()


@lru_cache(maxsize=64)
def _scraper(user_agent: str) -> str:
    """Return whose ``user_agent`` is; empty for a browser, a command line or none.

    Anybody may send any name, so names are never kept or shown as they came.
    """
    text = user_agent.lower()
    for beginning, name in _SCRAPERS.items():
        if text.startswith(beginning):
            return name
    by_hand = ("mozilla/", "curl/", "wget/", "w3m/", "lynx/")
    return "" if not text or text.startswith(by_hand) else _OTHER
