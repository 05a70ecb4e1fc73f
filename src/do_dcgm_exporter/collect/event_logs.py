"""What must outlive a connection: events counted, ages of samples, and what the machine had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.clock_log import ClockLog
from do_dcgm_exporter.collect.sample_ages import SampleAges, boot_time
from do_dcgm_exporter.collect.xid_log import XidLog
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.dcgm.discovery import Inventory
from do_dcgm_exporter.dcgm.topology import Topology


@dataclass(slots=True)
class EventLogs:
    """The logs of both kinds of events, how old samples are, and the last inventory taken."""

    xids: XidLog
    clocks: ClockLog
    ages: SampleAges = field(default_factory=SampleAges)
    inventory: Inventory = field(default_factory=Inventory)

    @classmethod
    def starting_at(
        cls, now: float, settings: Settings, boot_clock: Callable[[], float] = boot_time
    ) -> EventLogs:
        """Empty logs whose totals count from ``now`` (Unix seconds)."""
        return cls(
            XidLog(int(now * 1e6), settings.xid_window),
            ClockLog(settings.clock_events_window),
            SampleAges(boot_clock),
        )

    def adjust(self, settings: Settings, before: Topology, after: Topology) -> None:
        """Follow a new configuration and topology: what was an instance may be another now."""
        self.xids.window = settings.xid_window
        self.clocks.window = settings.clock_events_window
        kept = set(after.mig_parts)
        for part in before.mig_parts:
            if part not in kept:
                self.xids.forget(part.entity)
                self.clocks.forget(part.entity)
