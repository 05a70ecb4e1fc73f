"""Gather everything that the status page shows at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.collect.xid_log import SeenXid
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.page.publication import Page
from do_dcgm_exporter.page.status import Status


@dataclass(frozen=True, slots=True)
class Forwarding:
    """The state of forwarding: why it fails (empty while it works) and its last success."""

    complaint: str = ""
    last_success: float | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The moment ``now`` (Unix seconds). ``scrapes`` are the last ones by kind of scraper."""

    page: Page
    settings: Settings
    now: float
    host: str
    forwarding: Forwarding = Forwarding()
    scrapes: Mapping[str, float] = field(default_factory=dict)

    @property
    def status(self) -> Status:
        """The state behind the page."""
        return self.page.status

    @property
    def machine(self) -> MachineState:
        """The machine as the newest cycle found it, empty in an outage."""
        return self.page.status.machine

    @property
    def topology(self) -> Topology:
        """The devices as last known."""
        return self.page.status.last_known.roster.topology

    @property
    def xids(self) -> tuple[SeenXid, ...]:
        """The last XIDs, the newest first; they outlive an outage."""
        return self.page.status.last_known.xids

    def age(self, microseconds: int) -> float:
        """Return the seconds since a time of the engine (µs since 1970)."""
        return max(0.0, self.now - microseconds / 1e6)
