"""The last value of each profiling field, which stands where the engine has a blank one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.topology import Topology


@dataclass(slots=True)
class ProfilingValues:
    """What profiling fields last read, and when that was taken by the clock of sample ages.

    ``blank`` are the entities without any value in the last reading, ``absent`` those of
    them without one that could stand for it. Lost GPUs are neither.
    """

    topology: Topology
    blank: frozenset[Entity] = frozenset()
    absent: frozenset[Entity] = frozenset()
    _last: dict[tuple[Entity, int], tuple[RawValue, float]] = field(default_factory=dict)

    def bridge(self, watches: Iterable[Watch], readings: Readings) -> None:
        """Let earlier values stand for blank ones, each for as long as it is fresh."""
        blank, absent = set(), set()
        for entity, field_ids in self._watched(watches, readings):
            read = [self._remember(entity, field_id, readings) for field_id in field_ids]
            stand = [self._stand_in(entity, field_id, readings) for field_id in field_ids]
            if not any(read):
                blank.add(entity)
                if not any(stand):
                    absent.add(entity)
        self.blank, self.absent = frozenset(blank), frozenset(absent)

    def _watched(
        self, watches: Iterable[Watch], readings: Readings
    ) -> Iterator[tuple[Entity, tuple[int, ...]]]:
        """Yield what is watched, and forget the values of lost GPUs: they are of another life."""
        for watch in watches:
            for entity in watch.entities:
                if self.topology.gpu_id_of(entity) not in readings.lost_gpus:
                    yield entity, watch.field_ids
                    continue
                for field_id in watch.field_ids:
                    self._last.pop((entity, field_id), None)

    def _remember(self, entity: Entity, field_id: int, readings: Readings) -> bool:
        """Return whether there is a value, which then is the last one."""
        key = entity, field_id
        if not isinstance(readings.get(entity, field_id), int | float):
            return False
        self._last[key] = readings.raw[key], readings.taken_at[key]
        return True

    def _stand_in(self, entity: Entity, field_id: int, readings: Readings) -> bool:
        """Return whether the last value takes the place of a blank one."""
        known = self._last.get((entity, field_id))
        if known is None or readings.get(entity, field_id) is not Absence.BLANK:
            return False
        return readings.put_back(*known)
