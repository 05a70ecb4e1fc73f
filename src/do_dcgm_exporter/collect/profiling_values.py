"""Keep the last value of each profiling field, to bridge a blank one."""

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
    """The last values of profiling fields, and when they were taken by the clock of sample ages.

    ``blank`` are the entities of a watch without any value in the last reading, ``absent`` those
    of them that have no earlier value to show either, and ``silent`` those that had none in any
    of their watches. Lost GPUs are none of these.
    """

    topology: Topology
    blank: frozenset[Entity] = frozenset()
    absent: frozenset[Entity] = frozenset()
    silent: frozenset[Entity] = frozenset()
    _last: dict[tuple[Entity, int], tuple[RawValue, float]] = field(default_factory=dict)

    def bridge(self, watches: Iterable[Watch], readings: Readings) -> None:
        """Show earlier values in place of blank ones, each for as long as it is fresh."""
        blank, absent, heard = set(), set(), set()
        for entity, field_ids in self._watched(watches, readings):
            read = [self._remember(entity, field_id, readings) for field_id in field_ids]
            stand = [self._stand_in(entity, field_id, readings) for field_id in field_ids]
            if any(read):
                heard.add(entity)
            else:
                blank.add(entity)
                if not any(stand):
                    absent.add(entity)
        self.blank, self.absent = frozenset(blank), frozenset(absent)
        self.silent = frozenset(blank - heard)

    def _watched(
        self, watches: Iterable[Watch], readings: Readings
    ) -> Iterator[tuple[Entity, tuple[int, ...]]]:
        """Yield what is watched on live GPUs, and forget the values of lost ones."""
        for watch in watches:
            for entity in watch.entities:
                if self.topology.gpu_id_of(entity) not in readings.lost_gpus:
                    yield entity, watch.field_ids
                    continue
                for field_id in watch.field_ids:
                    self._last.pop((entity, field_id), None)

    def _remember(self, entity: Entity, field_id: int, readings: Readings) -> bool:
        """Return whether there is a value, and keep it as the last one."""
        key = entity, field_id
        if not isinstance(readings.get(entity, field_id), int | float):
            return False
        self._last[key] = readings.raw[key], readings.taken_at[key]
        return True

    def _stand_in(self, entity: Entity, field_id: int, readings: Readings) -> bool:
        """Put the last value in place of a blank one; return whether that was possible."""
        known = self._last.get((entity, field_id))
        if known is None or readings.get(entity, field_id) is not Absence.BLANK:
            return False
        return readings.put_back(*known)
