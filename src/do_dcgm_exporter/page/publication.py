"""The one place where the newest page stands.

The agent and the supervisor publish; the web server and the forwarder read.
Publishing is one reference assignment, so readers need no lock.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field

from do_dcgm_exporter.page.status import Status

# Level 1 costs a third of level 6 in CPU and gives a page of metrics 10 % more bytes.
_GZIP_LEVEL = 1


@dataclass(frozen=True, slots=True)
class Health:
    """Whether the newest page holds what it should, and if not, why (one sentence).

    ``notes`` are sentences about single things that are missing from a healthy page.
    ``forwarding`` says why forwarding fails, ``web_config`` why the web configuration was not
    taken: neither makes the page less whole. ``is_starting`` is whether no cycle has ended yet.
    """

    healthy: bool
    reason: str = ""
    notes: tuple[str, ...] = ()
    forwarding: str = ""
    web_config: str = ""
    is_starting: bool = False

    @property
    def sentences(self) -> tuple[str, ...]:
        """All that is to be said beside the verdict."""
        return (*self.notes, *filter(None, (self.forwarding, self.web_config)))


@dataclass(slots=True)
class Body:
    """Bytes that can be sent as they are or compressed; compressed once, if ever."""

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
        """Whether anybody has asked for the gzip form."""
        return self._compressed is not None


@dataclass(frozen=True, slots=True)
class Page:
    """One rendered page in every form that is sent.

    ``text`` is the text format 0.0.4, ``openmetrics`` OpenMetrics 1.0.0, and
    ``forwarded`` the DCGM families alone in the text format (empty when there are none).
    What is ``simulated`` must not pass for real, so it may not leave this machine.
    ``status`` is what the status page draws.
    """

    text: Body
    openmetrics: Body
    forwarded: bytes
    health: Health
    simulated: bool = False
    status: Status = field(default_factory=Status)


class Publication:
    """Holds the newest page."""

    def __init__(self, first: Page) -> None:
        self._page = first

    @property
    def page(self) -> Page:
        """The newest page."""
        return self._page

    def publish(self, page: Page) -> None:
        """Make ``page`` the newest.

        A form that clients took compressed last time is compressed here, in the
        publisher's time, so that a regular scrape only copies bytes.
        """
        for old, new in (
            (self._page.text, page.text),
            (self._page.openmetrics, page.openmetrics),
        ):
            if old.was_compressed:
                new.compressed  # noqa: B018 - fills the cache
        self._page = page
