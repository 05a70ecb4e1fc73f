"""Peaks on pages: each is of what the engine held since the page before, and of no more."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING

from tests.e2e.pages import Page

from dcgm_simulator.codes import EntityGroup, StatusError, is_sentinel
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity, Instance
from do_dcgm_exporter.config.peaks import Peak, Statistic, peak_by_name
from do_dcgm_exporter.dcgm.fields import ValueType, field_by_id

if TYPE_CHECKING:
    from tests.simulation.world import World

Key = tuple[Entity, int]
"""An entity, and the field of which samples are summarised."""


@dataclass(frozen=True)
class Window:
    """A time (µs, both ends included) that was summarised, and what the engine then had of it."""

    start: int
    end: int
    numbers: tuple[float, ...]
    first_number: int
    has_blanks: bool
    sampled_at: float

    @property
    def mean(self) -> float:
        """The mean of its numbers."""
        return sum(self.numbers) / len(self.numbers)


@dataclass(frozen=True)
class _Shown:
    """The window of a page, and what else was so then."""

    window: Window
    at: float
    disturbances: int
    instance: Instance | None


@dataclass
class PeakTruth:
    """Compares the peaks of pages with what the engine was asked and what it held."""

    world: World
    _asked: dict[Key, list[Window]] = field(default_factory=lambda: defaultdict(list))
    """Those that have been on no page."""
    _empty: dict[Key, int] = field(default_factory=dict)
    """The end of the last window in which there was no number."""
    _shown: dict[Key, _Shown] = field(default_factory=dict)
    _lost_at: dict[int, tuple[int, float]] = field(default_factory=dict)
    """By GPU, when it was lost (µs) that a page has told of, and when that was (true time)."""

    def note(self, host: Host, asked: list[int]) -> None:
        """Take a call that was answered."""
        kind, number, field_id, _, start, end = asked
        entity, now = Entity(kind, number), host.clock()
        try:
            held = host.cache.between(entity, host.cache.fields()[field_id], start, end, now)
        except StatusError:
            held = []
        numbers = [(s.timestamp, s.value) for s in held if not is_sentinel(s.value)]
        if not numbers:
            self._empty[entity, field_id] = end
            return
        window = Window(
            start,
            end,
            tuple(float(value) for _, value in numbers),
            numbers[0][0],
            len(numbers) < len(held),
            self.world.clocks.true_time_of(end),
        )
        self._asked[entity, field_id].append(window)

    def means(self, key: Key) -> Iterator[tuple[float, float]]:
        """Yield the means that may stand for a field's value, and when they were sampled."""
        known = field_by_id(key[1])
        shown = self._shown.get(key)
        if known is not None and known.is_mean:
            for window in (*self._asked.get(key, ()), *([shown.window] if shown else ())):
                mean = window.mean
                whole = known.value_type is ValueType.INTEGER
                yield (float(round(mean)) if whole else mean), window.sampled_at

    def hold(self, page: Page) -> None:
        """Every peak on a new page is true, and of the time since the page before."""
        self._note_losses(page)
        found = sorted(_peaks_on(page), key=lambda one: one[0])
        for (labels, field_id), group in groupby(found, key=lambda one: one[0]):
            peaks = {statistic: value for _, statistic, value in group}
            self._check(dict(labels), field_id, peaks)

    def _note_losses(self, page: Page) -> None:
        host = self.world.engine.host
        for sample in page.samples("do_dcgm_exporter_gpu_up"):
            gpu = int(sample.labels["gpu"])
            spans = host.faults.lost.get(gpu, ()) if host else ()
            if sample.value == 0:  # lost, or its life sign is blank for another reason
                lost_at = spans[-1].start if spans else 0
                self._lost_at[gpu] = lost_at, self.world.clocks.true()

    def _check(self, labels: dict[str, str], field_id: int, peaks: dict[Statistic, float]) -> None:
        lowest, highest = peaks[Statistic.MIN], peaks[Statistic.MAX]
        mean = peaks.get(Statistic.AVG)
        said = f"peaks of field {field_id} of {labels}: {lowest:g}, {mean}, {highest:g}"
        assert lowest <= highest, said
        assert mean is None or lowest <= mean <= highest, said
        key = self._entity(labels), field_id
        found = [
            window
            for window in self._asked.get(key, ())
            if (min(window.numbers), max(window.numbers)) == (lowest, highest)
        ]
        assert found, f"{said}: the engine was asked for no such time, or it was shown"
        window = found[-1]
        assert _may_have_mean(key, window, mean), f"{said}: the mean is {window.mean}"
        wrong = self._what_is_wrong(key, window)
        assert not wrong, f"{said}: {wrong}"
        self._show(key, window)

    def _entity(self, labels: dict[str, str]) -> Entity:
        """Return what the session that read it took for what the labels name."""
        session = self.world.service._agent._session
        assert session is not None, "a page with values of no session"
        for part in session.topology.gpu_instances:
            if labels["GPU_I_ID"] and (part.gpu_id, part.instance_id) == tuple(
                map(int, labels.values())
            ):
                return Entity(EntityGroup.GPU_I, part.id)
        return Entity(EntityGroup.GPU, int(labels["gpu"]))

    def _what_is_wrong(self, key: Key, window: Window) -> str:
        """Return why the window cannot be on this page, which continues where another ended."""
        world, before = self.world, self._shown.get(key)
        kept = round(self._kept * 1e6)
        length = window.end - window.start + 1
        if length > kept:
            return f"{length} µs, of which {kept} are kept"
        lost_at, told_at = self._lost_at.get(_gpu_of(key[0]), (0, -math.inf))
        if window.first_number < lost_at and world.clocks.set_at < told_at:
            return "from before the GPU was lost"
        if before is None or before.instance is not self._instance(key[0]):
            return ""
        if max(world.clocks.set_at, world.engine.spoiled_at) >= before.at:
            return ""  # a time was not what the engine said, or is another now
        gap = window.start - 1 - before.window.end
        if gap < 0:
            return f"{-gap} µs of it were on the page before"
        is_calm = before.disturbances == world.troubles.disturbances
        begins_anew = told_at >= before.at and length == 1
        was_empty = self._empty.get(key) == window.start - 1
        is_missing = gap and length < kept and is_calm and not begins_anew and not was_empty
        return f"{gap} µs before it are on no page" if is_missing else ""

    @property
    def _kept(self) -> float:
        """For how long samples are kept (collect/sampling.py)."""
        return math.ceil(2 * self.world.interval) + 1.0

    def _show(self, key: Key, window: Window) -> None:
        world, asked = self.world, self._asked[key]
        del asked[: asked.index(window) + 1]
        self._shown[key] = _Shown(
            window, world.cycle_began_at, world.troubles.disturbances, self._instance(key[0])
        )

    def _instance(self, entity: Entity) -> Instance | None:
        """An instance that was cut anew is another, whatever its number."""
        host = self.world.engine.host
        cut = host.machine.instances.values() if host else ()
        found = [one for instances in cut for one in instances if one.id == entity.id]
        return found[0] if found and entity.group == EntityGroup.GPU_I else None


def _may_have_mean(key: Key, window: Window, mean: float | None) -> bool:
    """Return whether a page may show this mean: of integers, one blank in four cannot be told."""
    known = field_by_id(key[1])
    is_excused = window.has_blanks and known and known.value_type is ValueType.INTEGER
    return mean is None or bool(is_excused) or math.isclose(mean, window.mean, rel_tol=1e-9)


def _peaks_on(
    page: Page,
) -> Iterator[tuple[tuple[tuple[tuple[str, str], ...], int], Statistic, float]]:
    for name in page.dcgm:
        if peak := _peak(name):
            for sample in page.samples(name):
                own = tuple((key, sample.labels.get(key, "")) for key in ("gpu", "GPU_I_ID"))
                up = page.own("gpu_up", gpu=sample.labels["gpu"])
                assert up, f"a peak of a GPU that is not up: {name} {sample}"
                yield (own, peak.field.id), peak.statistic, sample.value


def _peak(name: str) -> Peak | None:
    found = peak_by_name(name)
    return found[1] if found else None


def _gpu_of(entity: Entity) -> int:
    return entity.id if entity.group == EntityGroup.GPU else entity.id // 7
