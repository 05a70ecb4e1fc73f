"""The state of every GPU's own NvLinks, for the exporter's own metrics.

do_dcgm_exporter_nvlink_state{gpu="0",nvlink="0"} 3
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.result import LinkStates
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.errors import CallRefused
from do_dcgm_exporter.dcgm.topology import Gpu

_NOT_SUPPORTED = 0  # dcgmNvLinkLinkState_t; also what every slot without a link reads


@dataclass(frozen=True, slots=True)
class NvLinkCollector:
    """Asks for the links of the GPUs in scope."""

    engine: HostEngine
    gpus: Sequence[Gpu]
    name: str = "nvlink"

    def collect(self, readings: Readings) -> LinkStates:
        """States by GPU and link: 1 disabled, 2 down, 3 up; a lost GPU's are not known."""
        try:
            states = self.engine.nvlink_states()
        except CallRefused:
            readings.drop(Absence.FUNCTION_ABSENT)
            return {}
        shown = {gpu.id for gpu in self.gpus} - readings.lost_gpus
        return {
            (gpu_id, link): state
            for gpu_id, links in states.items()
            if gpu_id in shown
            for link, state in enumerate(links)
            if state != _NOT_SUPPORTED
        }
