"""Values on pages: each is the engine's, none is too old, none is missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from tests.e2e.pages import Page, Sample
from tests.simulation.ledger import LIFE_SIGN

from dcgm_simulator.codes import EntityGroup, Status, is_sentinel
from dcgm_simulator.fields import XID
from dcgm_simulator.machine import Entity
from do_dcgm_exporter.config.counters import CounterType
from do_dcgm_exporter.dcgm.fields import field_by_name

if TYPE_CHECKING:
    from tests.simulation.world import World

# How long the cycle that read a page's values may take, with publisher and yields.
_CYCLE = 6.0
_EXEMPT = frozenset({230})
_SLOW = {83: 90.0, 84: 90.0}


class ValueTruth:
    """Compares the values of pages with the ledger."""

    def __init__(
        self, world: World, means: Callable[[tuple[Entity, int]], Iterable[tuple[float, float]]]
    ) -> None:
        self._world = world
        self._means = means

    def hold(self, page: Page) -> None:
        """Every sample of a field is the engine's last value, and not stale."""
        now = self._world.clocks.true()
        for name in page.dcgm:
            field = None if name.startswith("DCGM_EXP_") else field_by_name(name)
            if field is None or field.id in _EXEMPT:
                continue
            for sample in page.samples(name):
                age = self._age(sample, field.id, now)
                assert age is not None, f"the engine never gave {name} = {sample}"
                limit = self._limit(field.id)
                assert age <= limit, f"{name} is {age:.1f} s old: {sample}"

    def profiling_on(self, page: Page) -> set[tuple[str, str, str]]:
        """Every profiling field with whom it is of: label fields come and go by themselves."""
        names = [n for n in page.dcgm if n.startswith("DCGM_FI_PROF_") and field_by_name(n)]
        return {
            (name, sample.labels["gpu"], sample.labels.get("GPU_I_ID", ""))
            for name in names
            for sample in page.samples(name)
        }

    def fresh_of_each_gpu(self, page: Page) -> None:
        """Of each GPU that is there the engine has sampled something of late."""
        for sample in page.samples("do_dcgm_exporter_gpu_up"):
            age = self.age_of_newest(int(sample.labels["gpu"]))
            limit = self._limit(LIFE_SIGN)
            assert age <= limit, f"healthy, and {sample} was sampled {age:.1f} s ago"

    def age_of_newest(self, gpu: int | None = None) -> float:
        """How long ago the engine sampled what it gave last of a GPU, or of any."""
        sampled = (
            given.sampled_at
            for (kind, number, field_id), given in self._world.ledger.newest.items()
            if field_id not in (*_EXEMPT, *_SLOW)
            and gpu in (None, number if kind == EntityGroup.GPU else number // 7)
        )
        return self._world.clocks.true() - max(sampled, default=-math.inf)

    def _limit(self, field_id: int) -> float:
        stale_after = self._world.configuration.settings.stale_after
        cycle = max(2.0, self._world.interval) + _CYCLE + self._world.slept_in_cycle
        return max(stale_after, _SLOW.get(field_id, 0.0)) + cycle

    def _age(self, sample: Sample, field_id: int, now: float) -> float | None:
        """How long ago the engine sampled it, or what it is the mean of; None if it did not."""
        ages = [
            now - sampled_at
            for entity in self._entities(sample)
            for value, sampled_at in self._given(entity, field_id)
            if value == sample.value
        ]
        return min(ages, default=None)

    def _given(self, entity: Entity, field_id: int) -> Iterator[tuple[float, float]]:
        if given := self._world.ledger.newest.get((*entity, field_id)):
            yield float(given.text), given.sampled_at
        yield from self._means((entity, field_id))

    def _entities(self, sample: Sample) -> Iterator[Entity]:
        """What the labels name; an instance of that number had different ids over time."""
        gpu = int(sample.labels["gpu"])
        if "GPU_I_ID" not in sample.labels:
            yield Entity(EntityGroup.GPU, gpu)
            return
        for number in range(7):
            yield Entity(EntityGroup.GPU_I, gpu * 7 + number)

    def nothing_missing(self, page: Page) -> None:
        """All is well: every counter has a sample wherever the engine has a value."""
        world, host = self._world, self._world.engine.host
        assert host is not None
        if any(wire.was_refused for wire in world.engine.wires):
            return  # some fields may not be watched: the engine refused it
        for counter in world.configuration.counters.counters:
            field = counter.field
            if field is None or counter.type is CounterType.LABEL or field.id == XID:
                continue
            if field.is_profiling and not host.machine.layout.profiling:
                continue  # what was watched before the module went stays watched
            expected = sum(self._has_value(entity, field.id) for entity in self._selected())
            found = len(page.samples(counter.name))
            assert found == expected, f"{counter.name} has {found} samples, not {expected}"

    def _selected(self) -> Iterator[Entity]:
        """What the flexible selection shows: instances where there are any, else the GPU."""
        host = self._world.engine.host
        assert host is not None
        for gpu in host.machine.gpus():
            instances = host.machine.instances.get(gpu, [])
            if not instances:
                yield Entity(EntityGroup.GPU, gpu)
            for instance in instances:
                yield Entity(EntityGroup.GPU_I, instance.id)

    def _has_value(self, entity: Entity, field_id: int) -> bool:
        host = self._world.engine.host
        assert host is not None
        field = host.cache.fields().get(field_id)
        if field is None:
            return False
        if field.is_profiling and field_id not in self._offered():
            return False
        answer = host.hardware.answer(entity, field)
        if isinstance(answer, Status):
            return False
        value = answer(host.clock())
        return not isinstance(value, str) and not is_sentinel(value) and math.isfinite(value)

    def _offered(self) -> set[int]:
        host = self._world.engine.host
        assert host is not None
        return {n for group in host.machine.recording["profiling"] for n in group["fieldIds"]}
