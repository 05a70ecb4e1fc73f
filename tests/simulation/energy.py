"""Energy from samples of the power: no more than what lies below the samples that were given."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import TYPE_CHECKING

from tests.e2e.pages import Page
from tests.simulation.ledger import records_in

from dcgm_simulator.codes import EntityGroup, is_sentinel

if TYPE_CHECKING:
    from tests.simulation.world import World

NAME = "DCGM_EXP_SAMPLED_ENERGY_JOULES_TOTAL"
POWER = 155
_JOINED = 3.0  # three of the longest sample interval that is drawn, in seconds
_ROUNDING = 0.001


class EnergyTruth:
    """Compares the energy of whole GPUs with the samples; that of instances ends with them."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._given: dict[int, dict[int, float]] = defaultdict(dict)
        self._before: dict[int, float] = {}

    def note(self, body: bytes) -> None:
        """Take the records of an answered call for samples."""
        for _, kind, number, field_id, _, status, _, timestamp, value in records_in(body):
            if (kind, field_id, status) == (EntityGroup.GPU, POWER, 0):
                self._given[number][timestamp] = value

    def hold(self, page: Page) -> None:
        """It never falls, and holds no time twice and none that was not sampled."""
        for sample in page.samples(NAME):
            if "GPU_I_ID" in sample.labels:
                continue
            gpu = int(sample.labels["gpu"])
            before = self._before.get(gpu, 0.0)
            assert sample.value >= before, f"the energy of GPU {gpu} falls from {before:g}"
            self._before[gpu] = sample.value
            most = self._most(gpu)
            assert self._world.clocks.was_set_back or sample.value <= most + _ROUNDING, (
                f"the energy of GPU {gpu} is {sample.value:g} J, and its samples give {most:g}"
            )

    def _most(self, gpu: int) -> float:
        areas = (
            (power + later) / 2 * (end - start) / 1e6
            for (start, power), (end, later) in pairwise(sorted(self._given[gpu].items()))
            if end - start <= _JOINED * 1e6 and not is_sentinel(power) and not is_sentinel(later)
        )
        return sum(areas)
