"""The state behind a page, for people: the status page and --once show it.

The publisher makes one for every page.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.gpu_users import GpuUses
from do_dcgm_exporter.page.history import History

_NO_MACHINE = MachineState()


@dataclass(frozen=True, slots=True)
class Status:
    """The state behind one page. Times are Unix seconds, ``last_success`` 0 before the first.

    ``result`` is the cycle's, None in an outage; ``gpu_uses`` is None unless somebody looks.
    ``last_known`` is the machine as the last successful cycle found it; it, ``history`` and
    ``versions`` outlive outages.
    """

    versions: Versions = field(default_factory=Versions)
    engine_up: bool = False
    result: CycleResult | None = None
    last_known: MachineState = _NO_MACHINE
    history: History = ()
    last_success: float = 0.0
    collect_seconds: float = 0.0
    reload_refused: bool = False
    gpu_uses: GpuUses | None = None

    @property
    def machine(self) -> MachineState:
        """The machine as the cycle found it, empty in an outage."""
        return self.result.machine if self.result else _NO_MACHINE
