"""The state of each GPU's own NvLinks, for the exporter's own metrics.

do_dcgm_exporter_nvlink_state{gpu="0",nvlink="0"} 3
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.result import LinkStates
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.side_call import HARDWARE_CHANGES, SideCall
from do_dcgm_exporter.dcgm.topology import Gpu

_NO_LINK = 0  # dcgmNvLinkLinkState_t; also what every slot without a link reads


@dataclass(slots=True)
class NvLinkCollector:
    """Asks for the links of the GPUs in scope, in cycles ``interval`` seconds apart."""

    engine: HostEngine
    gpus: Sequence[Gpu]
    interval: float
    clock: Callable[[], float] = time.monotonic
    name: str = "nvlink"
    _question: SideCall[Mapping[int, tuple[int, ...]]] = field(init=False)

    def __post_init__(self) -> None:
        ask = self.engine.nvlink_states
        self._question = SideCall(ask, HARDWARE_CHANGES, self.interval, self.clock)

    def collect(self, readings: Readings) -> LinkStates:
        """Return states by GPU and link (1 disabled, 2 down, 3 up), none for lost GPUs.

        Raises CallRefused, unless the refusal means that there are no NvLinks to ask about.
        """
        try:
            states = self._question.answer()
        except CallRefused as error:
            if error.code != ReturnCode.NOT_SUPPORTED:
                raise
            readings.drop(Absence.FUNCTION_ABSENT)
            return {}
        shown = {gpu.id for gpu in self.gpus} - readings.lost_gpus
        return {
            (gpu_id, link): state
            for gpu_id, links in states.items()
            if gpu_id in shown
            for link, state in enumerate(links)
            if state != _NO_LINK
        }
