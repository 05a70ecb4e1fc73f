"""Make the families of peaks: the lowest, highest and mean value of a field between two pages.

DCGM_FI_DEV_POWER_USAGE_MAX{gpu="0",UUID="GPU-…",…,Hostname="droplet"} 698.412000

The engine samples these fields more often than pages are made and summarises them itself. Each
page is about the samples since the page before, up to the one whose value it shows.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product

from do_dcgm_exporter.collect.labels import LabelBlocks
from do_dcgm_exporter.collect.peak_log import Key, PeakLog, Window
from do_dcgm_exporter.collect.readings import Readings, is_possible
from do_dcgm_exporter.collect.sample_text import number_text
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.collect.sampling import Sampling
from do_dcgm_exporter.config.counters import CounterSet
from do_dcgm_exporter.config.peaks import Peak, Statistic
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.conversions import conversion_to
from do_dcgm_exporter.dcgm.decoding import Absence, Reading, absence_of
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.fields import Field, ValueType, field_by_id
from do_dcgm_exporter.dcgm.side_call import SideCall
from do_dcgm_exporter.dcgm.summaries import Summary
from do_dcgm_exporter.dcgm.topology import Topology

_ABSENT = (ReturnCode.FUNCTION_NOT_FOUND, ReturnCode.NOT_SUPPORTED)


@dataclass(frozen=True, slots=True)
class _Summaries:
    """What the engine said about some ``windows``."""

    windows: Mapping[Key, Window] = field(default_factory=dict)
    found: Mapping[Key, Summary | Absence] = field(default_factory=dict)


@dataclass(slots=True)
class PeakCollector:
    """Asks for summaries of what is sampled on the ``carriers``, by the name of a counter.

    ``unoffered`` tells which profiling fields an entity's GPU does not offer.
    """

    engine: HostEngine
    topology: Topology
    labels: LabelBlocks
    log: PeakLog
    sampling: Sampling
    carriers: Mapping[str, Sequence[Entity]]
    unoffered: Callable[[], frozenset[Key]]
    clock: Callable[[], float] = time.monotonic
    name: str = "peaks"
    _question: SideCall[_Summaries] = field(init=False)
    _shown: _Summaries = field(default_factory=_Summaries)

    def __post_init__(self) -> None:
        interval = self.sampling.between_pages
        self._question = SideCall(_Summaries, 0.0, interval, self.clock)

    def collect(self, counters: CounterSet, readings: Readings) -> Iterator[Family]:
        """Yield a family for every peak that has a sample, and show means in ``readings``.

        Raises CallRefused unless the refusal means that there are no summaries at all.
        """
        self._question.ask = partial(self._ask, self._windows(readings))
        try:
            summaries = self._question.answer()
        except CallRefused as error:
            if error.code not in _ABSENT:
                raise
            readings.drop(Absence.FUNCTION_ABSENT)
            return
        if summaries is self._shown:
            raise CallRefused("the engine has not summarised the latest samples yet")
        self._shown = summaries
        self.log.advance(summaries.windows)
        found = self._without_doubtful_means(summaries.found)
        _show_means({k: found[k] for k in found if _is_current(k, summaries, readings)}, readings)
        readings.ranges = dict(_ranges(found))
        for counter in counters.counters:
            if counter.peak and counter.name in self.carriers:
                entities = self.carriers[counter.name]
                samples = tuple(self._samples(entities, counter.peak, found, readings))
                yield Family(counter.name, MetricType.GAUGE, counter.help, samples)

    def _windows(self, readings: Readings) -> Mapping[Key, Window]:
        """Return what to summarise of each field that was read on a GPU that is not lost."""
        at_first = int(self.sampling.between_pages * 1e6)
        kept = int(self.sampling.retention.seconds * 1e6)
        windows = {}
        for key in product(self._entities(), self.sampling.field_ids):
            raw = readings.raw.get(key)
            if self.topology.gpu_id_of(key[0]) in readings.lost_gpus:
                self.log.note_loss(key, raw.timestamp if raw else 0)
                continue
            if raw is None or raw.status != ReturnCode.OK:
                continue
            if window := self.log.window(key, raw.timestamp, at_first, kept):
                windows[key] = window
        return windows

    def _entities(self) -> Iterable[Entity]:
        return dict.fromkeys(entity for entities in self.carriers.values() for entity in entities)

    def _ask(self, windows: Mapping[Key, Window]) -> _Summaries:
        return _Summaries(windows, {key: self._summary(key, windows[key]) for key in windows})

    def _summary(self, key: Key, window: Window) -> Summary | Absence:
        try:
            return self.engine.summary(*key, *window)
        except CallRefused as error:
            absence = None if error.code in _ABSENT else absence_of(error.code)
            if absence is None:
                raise
            return absence

    def _without_doubtful_means(
        self, found: Mapping[Key, Summary | Absence]
    ) -> Mapping[Key, Summary | Absence]:
        """Leave out the means of a GPU with blanks: of some fields they cannot be told."""
        doubtful = {
            self.topology.gpu_id_of(entity)
            for (entity, _), summary in found.items()
            if isinstance(summary, Summary) and summary.has_blanks
        }
        return {
            key: summary.without_mean()
            if isinstance(summary, Summary) and self.topology.gpu_id_of(key[0]) in doubtful
            else summary
            for key, summary in found.items()
        }

    def _samples(
        self,
        entities: Sequence[Entity],
        peak: Peak,
        found: Mapping[Key, Summary | Absence],
        readings: Readings,
    ) -> Iterator[Sample]:
        for entity in entities:
            value = self._why_none(entity, peak.field, readings) or _value(entity, peak, found)
            if isinstance(value, int | float):
                for block in self.labels.of(entity):
                    yield Sample(block, number_text(value))
            else:
                readings.drop(value if isinstance(value, Absence) else Absence.NOT_A_NUMBER)

    def _why_none(self, entity: Entity, wanted: Field, readings: Readings) -> Absence | None:
        if self.topology.gpu_id_of(entity) in readings.lost_gpus:
            return Absence.GPU_LOST
        if (entity, wanted.id) in self.unoffered():
            return Absence.NOT_OFFERED
        reading = readings.get(entity, wanted.id)
        return reading if isinstance(reading, Absence) and reading is not Absence.BLANK else None


def _is_current(key: Key, summaries: _Summaries, readings: Readings) -> bool:
    """Return whether a summary is about this page: the answer to an earlier one may be late."""
    raw = readings.raw.get(key)
    return raw is not None and summaries.windows[key][1] == raw.timestamp


def _show_means(found: Mapping[Key, Summary | Absence], readings: Readings) -> None:
    """Let fields whose samples are means be those of the whole time, as they are without peaks."""
    for (entity, field_id), summary in found.items():
        shown = field_by_id(field_id)
        if not shown or not shown.is_mean or isinstance(summary, Absence) or summary.mean is None:
            continue
        if isinstance(readings.values.get((entity, field_id)), int | float):
            is_whole = shown.value_type is ValueType.INTEGER
            mean = round(summary.mean) if is_whole else summary.mean
            readings.values[entity, field_id] = mean


def _ranges(
    found: Mapping[Key, Summary | Absence],
) -> Iterator[tuple[Key, tuple[float, float]]]:
    for key, summary in found.items():
        lowest, highest = (
            _number(summary, key[1], statistic) for statistic in (Statistic.MIN, Statistic.MAX)
        )
        if isinstance(lowest, int | float) and isinstance(highest, int | float):
            yield key, (lowest, highest)


def _value(entity: Entity, peak: Peak, found: Mapping[Key, Summary | Absence]) -> Reading:
    summary = found.get((entity, peak.field.id))
    if summary is not None:
        return _number(summary, peak.field.id, peak.statistic)
    conversion = conversion_to(peak.field.id)
    summary = found.get((entity, conversion.source.id)) if conversion else None
    if conversion is None or summary is None:
        return Absence.NO_DATA
    value = _number(summary, conversion.source.id, peak.statistic)
    return conversion.apply(value) if isinstance(value, int | float) else value


def _number(summary: Summary | Absence, field_id: int, statistic: Statistic) -> Reading:
    if isinstance(summary, Absence):
        return summary
    for extreme in (summary.lowest, summary.highest):
        if isinstance(extreme, Absence):
            return extreme
        if not is_possible(field_id, extreme):
            return Absence.NOT_A_NUMBER
    if statistic is Statistic.AVG:
        return Absence.BLANK if summary.mean is None else summary.mean
    return summary.lowest if statistic is Statistic.MIN else summary.highest
