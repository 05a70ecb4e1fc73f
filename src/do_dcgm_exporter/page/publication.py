"""Hold the newest page.

The agent and the supervisor publish; the web server and the forwarder read. Publishing is a
single reference assignment, so readers need no lock.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass, field

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
    what the status page shows.
    """

    text: Body
    openmetrics: Body
    forwarded: bytes
    health: Health
    simulated: bool = False
    status: Status = field(default_factory=Status)


class Publication:
    """The holder of the newest page."""

    def __init__(self, first: Page) -> None:
        self._page = first

    @property
    def page(self) -> Page:
        """The newest page."""
        return self._page

    def publish(self, page: Page) -> None:
        """Make ``page`` the newest.

        A form that clients took compressed last time is compressed here, at the publisher's
        expense, so that scrapes only copy bytes.
        """
        for old, new in (
            (self._page.text, page.text),
            (self._page.openmetrics, page.openmetrics),
        ):
            if old.was_compressed:
                new.compressed  # noqa: B018 - fills the cache
        self._page = page
