"""NvLink peer-to-peer state of every ordered pair of GPUs.

DCGM_EXP_P2P_STATUS{gpu="0",…,link_status="OK",peer_gpu="1"} 0
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.config.counters import CounterSet, Special
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.side_call import HARDWARE_CHANGES, SideCall
from do_dcgm_exporter.dcgm.topology import Gpu

# dcgmNvLinkP2PStatus_t by number, in the words of NVIDIA's exporter.
_STATES = (
    "OK",
    "ChipsetNotSupported",
    "GPUNotSupported",
    "TopologyNotSupported",
    "DisabledByRegKey",
    "NotSupported",
)


@dataclass(slots=True)
class P2PCollector:
    """Asks for the matrix of peer-to-peer states; bindings have it from 4.4.2 on."""

    engine: HostEngine
    labels: LabelBlocks
    gpus: Sequence[Gpu]
    interval: float
    clock: Callable[[], float] = time.monotonic
    name: str = "p2p"
    _question: SideCall[Mapping[tuple[int, int], int]] = field(init=False)

    def __post_init__(self) -> None:
        ask = self.engine.p2p_states
        self._question = SideCall(ask, HARDWARE_CHANGES, self.interval, self.clock)

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Yield the peer-to-peer family, or count that bindings or engine lack the function.

        Raises CallRefused if the engine refuses for any other reason.
        """
        for counter in counters.counters:
            if counter.special is not Special.P2P_STATUS:
                continue
            try:
                states = self._question.answer()
            except CallRefused as error:
                if error.code != ReturnCode.NOT_SUPPORTED:
                    raise
                readings.drop(Absence.FUNCTION_ABSENT)
                continue
            samples = tuple(self._samples(states, readings.lost_gpus))
            yield Family(counter.name, MetricType(counter.type.value), counter.help, samples)

    def _samples(
        self, states: Mapping[tuple[int, int], int], lost: frozenset[int]
    ) -> Iterator[Sample]:
        entities = {gpu.id: gpu.entity for gpu in self.gpus}
        for (gpu_id, peer_id), state in sorted(states.items()):
            if gpu_id in entities and not lost & {gpu_id, peer_id}:
                word = _STATES[state] if state < len(_STATES) else "Unknown"
                labels = (("link_status", word), ("peer_gpu", str(peer_id)))
                for block in self.labels.with_labels(entities[gpu_id], labels):
                    yield Sample(block, str(state))
