"""Add up the energy between samples of the power, across connections to the engine."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise

from do_dcgm_exporter.dcgm.decoding import RawValue, read_value
from do_dcgm_exporter.dcgm.entities import Entity

_MICROSECONDS = 1_000_000


@dataclass(slots=True)
class EnergyLog:
    """The energy of each entity in J, and the newest sample of its power that is part of it."""

    _joules: dict[Entity, float] = field(default_factory=dict)
    _newest: dict[Entity, RawValue] = field(default_factory=dict)

    def joules(self, entity: Entity) -> float:
        """Return the energy so far."""
        return self._joules.get(entity, 0.0)

    def asks_from(self, entity: Entity, newest: int) -> int:
        """Return the time (µs) of the first sample to ask for; the engine has a ``newest`` one.

        That is asked for again if nothing is newer, because it shows a clock that was set back.
        """
        known = self._newest.get(entity)
        return newest if known is None else min(known.timestamp + 1, newest)

    def add(self, entity: Entity, samples: Iterable[RawValue], longest: float) -> None:
        """Add what lies between ``samples`` that are no more than ``longest`` seconds apart.

        Samples that were added before are left out, whatever their order. If all are older, the
        engine's clock was set back, and the newest of them is where counting goes on.
        """
        found = sorted(samples, key=lambda sample: sample.timestamp)
        if not found:
            return
        known = self._newest.get(entity)
        if known is None:
            known = found[0]
        elif found[-1].timestamp < known.timestamp:
            known = found[-1]
        newer = [sample for sample in found if sample.timestamp > known.timestamp]
        areas = (_joules_between(*two, longest) for two in pairwise((known, *newer)))
        self._joules[entity] = self.joules(entity) + sum(areas)
        self._newest[entity] = newer[-1] if newer else known

    def forget(self, entity: Entity) -> None:
        """Forget an instance that no longer exists."""
        self._joules.pop(entity, None)
        self._newest.pop(entity, None)


def _joules_between(before: RawValue, after: RawValue, longest: float) -> float:
    """Return the area below two samples, 0 if either is no power or they are far apart."""
    seconds = (after.timestamp - before.timestamp) / _MICROSECONDS
    watts = [read_value(sample) for sample in (before, after)]
    numbers = [value for value in watts if isinstance(value, int | float) and value >= 0]
    return sum(numbers) / 2 * seconds if len(numbers) == 2 and seconds <= longest else 0.0
