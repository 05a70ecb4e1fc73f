"""No XID is lost or counted twice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING

from tests.e2e.pages import Page
from tests.simulation.ledger import XidReport, distinct

from dcgm_simulator.codes import EntityGroup
from dcgm_simulator.machine import Entity

if TYPE_CHECKING:
    from tests.simulation.world import World

TOTAL = "DCGM_EXP_XID_ERRORS_TOTAL"


class XidCounts:
    """Compares the totals of whole GPUs with the ledger; those of instances end with them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._before: dict[tuple[int, int], float] = {}

    def hold(self, page: Page) -> None:
        """No total exceeds what was reported since the start, or decreases.

        After the clock was set back, an XID from before the start looks like a new one.
        """
        if TOTAL not in page:
            return
        ledger = self._world.ledger
        old = set() if self._world.clocks.was_set_back else ledger.from_before
        told = self._told(ledger.xids.keys() - old)
        for key, value in self._totals(page).items():
            most = distinct(told.get(key, []))
            assert value <= most, f"XID {key[1]} of GPU {key[0]} is counted {value:g}, told {most}"
            assert value >= self._before.get(key, 0.0), f"the total of XID {key[1]} falls"
            self._before[key] = value

    def complete(self, page: Page) -> None:
        """Every XID that a cycle has read is counted."""
        totals = self._totals(page)
        for key, reports in self._told(self._world.ledger.certain).items():
            if key in self._world.ledger.begun_before:
                continue  # what came next may be its second report
            least = distinct(reports)
            found = totals.get(key, 0.0)
            assert found >= least, f"XID {key[1]} of GPU {key[0]} is counted {found:g}, not {least}"

    def _totals(self, page: Page) -> dict[tuple[int, int], float]:
        return {
            (int(sample.labels["gpu"]), int(sample.labels["xid"])): sample.value
            for sample in page.samples(TOTAL)
            if "xid" in sample.labels and "GPU_I_ID" not in sample.labels
        }

    def _told(
        self, keys: Iterable[tuple[int, Entity, int]]
    ) -> dict[tuple[int, int], list[XidReport]]:
        told: dict[tuple[int, int], list[XidReport]] = defaultdict(list)
        for key in keys:
            report = self._world.ledger.xids[key]
            if report.entity.group == EntityGroup.GPU:
                told[report.entity.id, report.code].append(report)
        return told
