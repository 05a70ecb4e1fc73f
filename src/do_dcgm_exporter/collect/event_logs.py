"""Keep what must outlive a connection: event counts, sample ages and the last inventory."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.clock_log import ClockLog
from do_dcgm_exporter.collect.energy_log import EnergyLog
from do_dcgm_exporter.collect.peak_log import PeakLog
from do_dcgm_exporter.collect.sample_ages import SampleAges, boot_time
from do_dcgm_exporter.collect.xid_log import XidLog
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.dcgm.discovery import Inventory
from do_dcgm_exporter.dcgm.topology import Topology


@dataclass(slots=True)
class EventLogs:
    """The logs of XIDs, clock events, peaks and energy, sample ages, and the last inventory."""

    xids: XidLog
    clocks: ClockLog
    ages: SampleAges = field(default_factory=SampleAges)
    peaks: PeakLog = field(default_factory=PeakLog)
    energy: EnergyLog = field(default_factory=EnergyLog)
    inventory: Inventory = field(default_factory=Inventory)

    @classmethod
    def starting_now(
        cls,
        settings: Settings,
        wall_clock: Callable[[], float] = time.time,
        boot_clock: Callable[[], float] = boot_time,
    ) -> EventLogs:
        """Return empty logs whose totals count from now."""
        return cls(
            XidLog(settings.xid_window, wall_clock, boot_clock),
            ClockLog(settings.clock_events_window),
            SampleAges(boot_clock, wall_clock),
        )

    def adjust(self, settings: Settings, before: Topology, after: Topology) -> None:
        """Adopt a new configuration and topology, and forget instances that no longer exist."""
        self.xids.window = settings.xid_window
        self.clocks.window = settings.clock_events_window
        kept = set(after.mig_parts)
        for part in before.mig_parts:
            if part not in kept:
                self.xids.forget(part.entity)
                self.clocks.forget(part.entity)
                self.energy.forget(part.entity)
