"""Hold the newest page.

The agent and the supervisor publish; the web server and the forwarder read. Publishing is a
single reference assignment, so readers need no lock. A page that has outlived its time is not
handed out, so that nothing that fails while pages are made can pass off the old one as current.
"""

from __future__ import annotations

import gzip
import math
from collections.abc import Callable
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.sample_ages import boot_time
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.page.exposition import OPENMETRICS_END, render
from do_dcgm_exporter.page.status import Status

# Level 1 takes a third of the CPU of level 6 and makes a page of metrics 10 % larger.
_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the newest page is complete, and if not, why (one sentence).

    ``notes`` are sentences about single things that a healthy page lacks. ``forwarding`` says
    why forwarding fails and ``web_config`` why the web configuration was refused; neither makes
    the page incomplete. ``is_starting`` means that no cycle has ended yet.
    """

    healthy: bool
    reason: str = ""
    notes: tuple[str, ...] = ()
    forwarding: str = ""
    web_config: str = ""
    is_starting: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """Everything to add to the verdict."""
        return (*self.notes, *filter(None, (self.forwarding, self.web_config)))


@dataclass(slots=True)
class Body:
    """Bytes to send as they are or compressed. They are compressed at most once."""

    plain: bytes
    _compressed: bytes | None = field(default=None, repr=False)

    @property
    def compressed(self) -> bytes:
        """The gzip form (mtime 0, so equal pages are equal bytes)."""
        if self._compressed is None:
            self._compressed = gzip.compress(self.plain, _GZIP_LEVEL, mtime=0)
        return self._compressed

    @property
    def was_compressed(self) -> bool:
        """Whether anyone has asked for the gzip form."""
        return self._compressed is not None


@dataclass(frozen=True, slots=True)
class Page:
    """One rendered page in every form that is sent.

    ``text`` is the text format 0.0.4, ``openmetrics`` OpenMetrics 1.0.0, and
    ``forwarded`` the DCGM families alone in the text format (empty when there are none).
    A ``simulated`` page must not pass for real, so it never leaves this machine. ``status`` is
    what the status page shows. ``expires_at`` is when it is too old to be shown, by the clock of
    sample ages.
    """

    text: Body
    openmetrics: Body
    forwarded: bytes
    health: Health
    simulated: bool = False
    status: Status = field(default_factory=Status)
    expires_at: float = math.inf


# Rendered before anything can fail.
_ENGINE_DOWN = render(
    [
        Family(
            "do_dcgm_exporter_hostengine_up",
            MetricType.GAUGE,
            "1 while the engine answers.",
            (Sample("", "0"),),
        )
    ]
)


def bare_page(reason: str) -> Page:
    """Return the page of an outage about which only the ``reason`` is known."""
    return Page(
        text=Body(_ENGINE_DOWN.text),
        openmetrics=Body(_ENGINE_DOWN.openmetrics + OPENMETRICS_END),
        forwarded=b"",
        health=Health(False, reason),
    )


TOO_OLD = "the last reading is older than two intervals: see journalctl --unit do-dcgm-exporter"
_EXPIRED = bare_page(TOO_OLD)


class Publication:
    """The holder of the newest page; ``clock`` is that of sample ages."""

    def __init__(self, first: Page, clock: Callable[[], float] = boot_time) -> None:
        self._page = first
        self._clock = clock

    @property
    def page(self) -> Page:
        """The newest page, or one that says that it is too old."""
        page = self._page
        return page if self._clock() < page.expires_at else _EXPIRED

    def publish(self, page: Page) -> None:
        """Make ``page`` the newest.

        A form that clients took compressed last time is compressed here, at the publisher's
        expense, so that scrapes only copy bytes.
        """
        old, self._page = self._page, page
        for before, now in ((old.text, page.text), (old.openmetrics, page.openmetrics)):
            if before.was_compressed:
                now.compressed  # noqa: B018 - fills the cache
