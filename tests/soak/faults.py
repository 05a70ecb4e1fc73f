"""Kills, hangs, outages and reloads on real processes, in an order drawn from a seed."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.e2e.endpoint import (
    OK,
    answering,
    answering_nonsense,
    dripping,
    hanging,
    resetting,
)
from tests.soak.promises import Promise
from tests.soak.scraper import Found, Scrape
from tests.soak.stage import Stage, Usage
from tests.waiting import wait_until

# The longest that a fault may keep a scrape waiting.
LONGEST_SCRAPE = 0.1

_OUTAGES = (answering("500 Oops"), answering("404 Gone"), resetting, hanging, dripping)
_ALL_OUTAGES = (*_OUTAGES, answering_nonsense)
_BAD_SETTINGS: Sequence[dict[str, str | int]] = (
    {"collect_interval": "soon"},
    {"default_counters": "/nonexistent.csv"},
    {"forward_url": "gopher://127.0.0.1/"},
)


@dataclass(frozen=True)
class Counts:
    """How many of each fault."""

    kills: int
    hangs: int
    outages: int
    reloads: int


@dataclass
class Faults:
    """Causes them, one after the other, and measures times."""

    stage: Stage
    generator: random.Random
    recoveries: list[float] = field(default_factory=list)
    """Seconds from the engine's return to values on the page."""
    resumptions: list[float] = field(default_factory=list)
    """Seconds from the endpoint's return to the next post it takes."""
    unanswered: list[str] = field(default_factory=list)
    """Reloads without the expected outcome."""
    spans: list[tuple[float, float]] = field(default_factory=list)
    reloads: int = 0

    def run(self, counts: Counts, say: Callable[[str], None]) -> None:
        """Cause all faults in a random order."""
        kinds = (
            [self._kill] * counts.kills
            + [self._hang] * counts.hangs
            + [self._outage] * counts.outages
            + [self._reload] * counts.reloads
        )
        self.generator.shuffle(kinds)
        for done, make in enumerate(kinds, 1):
            began = time.monotonic()
            make()
            self.spans.append((began, time.monotonic()))
            if done % 50 == 0:
                say(f"{done} of {len(kinds)} faults")

    def _kill(self) -> None:
        self._let_pass()
        self.stage.engine.kill()
        if self.generator.random() < 0.5:
            self.stage.exporter.wait_until_down()
        self.stage.engine.restart()
        self._recover()

    def _hang(self) -> None:
        self._let_pass()
        self.stage.engine.suspend()
        self.stage.exporter.wait_until_down()
        self.stage.engine.resume()
        self._recover()

    def _recover(self) -> None:
        """Wait for values of this engine rather than the previous one."""
        connected = lambda: bool(self.stage.engine.control("status")["connections"])  # noqa: E731
        began = time.monotonic()
        wait_until(connected, "the exporter has connected again")
        wait_until(self.stage.exporter.is_up, "the page has values again")
        self.recoveries.append(time.monotonic() - began)

    def _outage(self) -> None:
        self.stage.endpoint.behaviour = self.generator.choice(_ALL_OUTAGES)
        self.stage.endpoint.wait_for_posts(1)
        self._let_pass()
        self.stage.endpoint.behaviour = OK
        began = time.monotonic()
        wait_until(lambda: "forwarding" not in self.stage.exporter.health()[1], "posts")
        self.resumptions.append(time.monotonic() - began)

    def _reload(self) -> None:
        exporter = self.stage.exporter
        self.reloads += 1
        good = self.reloads % 2 == 1
        settings = dict(exporter.settings)
        changes = (
            {"xid_count_window_size": self.generator.choice((10_000, 20_000))}
            if good
            else dict(self.generator.choice(_BAD_SETTINGS))
        )
        exporter.reload(**changes)
        taken = exporter.page().own("config_last_reload_successful")
        if taken != good:
            self.unanswered.append(f"{changes}: config_last_reload_successful {taken:g}")
        exporter.settings = settings
        if not good:
            exporter.reload()

    def _let_pass(self) -> None:
        time.sleep(self.generator.uniform(0, self.stage.exporter.interval))


def promises(
    faults: Faults, found: Found, before: Usage, after: Usage, lives: bool
) -> list[Promise]:
    """What was promised under faults, and what was measured."""
    begin, end = faults.spans[0][0], faults.spans[-1][1]
    scrapes, calm = found.between(begin, end), found.between(0.0, begin)
    slow = [scrape for scrape in scrapes if scrape.own_seconds > LONGEST_SCRAPE]
    worst = max(scrape.own_seconds for scrape in scrapes)
    complaints = "; ".join(found.complaints[:2])
    return [
        Promise("the process lives", "always", "it does" if lives else "it ended", lives),
        Promise(
            "pages that are not valid",
            "none",
            f"{len(found.complaints)} of {len(scrapes)} scrapes {complaints}".strip(),
            not found.complaints,
        ),
        Promise(
            "longest scrape, without the time its threads waited for a CPU",
            f"≤ {1000 * LONGEST_SCRAPE:g} ms",
            f"{1000 * worst:.1f} ms; {_percentiles(scrapes)}; without faults {_percentiles(calm)}",
            not slow,
            is_timed=True,
        ),
        *_recoveries(faults),
        Promise(
            "reloads that are taken if good and refused if bad",
            "all",
            "; ".join(faults.unanswered[:2]) or "all",
            not faults.unanswered,
        ),
        Promise("what the exporter holds", f"{before}", f"{after}", before == after),
    ]


def _recoveries(faults: Faults) -> list[Promise]:
    interval = faults.stage.exporter.interval
    slowest = max(faults.recoveries, default=0.0)
    return [
        Promise(
            f"values are back after the engine is ({len(faults.recoveries)} times)",
            f"≤ one interval ({interval:g} s)",
            f"{slowest:.2f} s at most, {_median(faults.recoveries):.2f} s in the middle",
            slowest <= interval,
            is_timed=True,
        ),
        Promise(
            f"posts are back after the endpoint is ({len(faults.resumptions)} times)",
            "≤ two forward intervals (2 s)",
            f"{max(faults.resumptions, default=0.0):.2f} s at most",
            max(faults.resumptions, default=0.0) <= 2.0,
            is_timed=True,
        ),
    ]


def _median(values: Sequence[float]) -> float:
    return statistics.median(values) if values else 0.0


def _percentiles(scrapes: Sequence[Scrape]) -> str:
    times = sorted(scrape.seconds for scrape in scrapes)
    p50, p99 = times[len(times) // 2], times[len(times) * 99 // 100]
    return f"in all p50 {1000 * p50:.1f}, p99 {1000 * p99:.1f}, max {1000 * times[-1]:.1f} ms"
