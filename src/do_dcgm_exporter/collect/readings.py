"""What one cycle read, judged and counted: the input of every collector."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.sample_ages import SampleAges
from do_dcgm_exporter.dcgm.conversions import conversion_to
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue, Reading, read_value
from do_dcgm_exporter.dcgm.entities import Entity

# Fields whose last value stands however old it is: 230 (XID) and 450 (GPU unbind and
# other events of DCGM) are written when something happens, not every interval.
_EVENT_FIELDS = frozenset({230, 450})

# InfoROM fields 83 and 84 are refreshed every 30 s whatever is asked (observed).
_SLOW_FIELDS = frozenset({83, 84})
_SLOW_FIELDS_AGE = 90.0


@dataclass(slots=True)
class Readings:
    """The values of one cycle by entity and field.

    ``now`` is Unix time in seconds, ``stale_after`` seconds. ``dropped`` counts, by
    reason, what was planned and has no value; ``left_out`` says of a field that was not
    read at all why.
    """

    now: float
    stale_after: float
    ages: SampleAges = field(default_factory=SampleAges)
    values: dict[tuple[Entity, int], Reading] = field(default_factory=dict)
    raw: dict[tuple[Entity, int], RawValue] = field(default_factory=dict)
    left_out: Mapping[int, Absence] = field(default_factory=dict)
    lost_gpus: frozenset[int] = frozenset()
    dropped: Tally[Absence] = field(default_factory=Tally)

    def add(self, raws: Iterable[RawValue]) -> None:
        """Judge ``raws`` and keep them."""
        clock_now = self.ages.clock()
        for raw in raws:
            key = (raw.entity, raw.field_id)
            max_age = self._max_age(raw.field_id)
            value = read_value(raw, self.now, max_age)
            seen_for = self.ages.at_least(key, raw.timestamp, clock_now)
            if seen_for > max_age and not isinstance(value, Absence):
                value = Absence.STALE
            self.raw[key] = raw
            self.values[key] = value

    def put_back(self, raw: RawValue, seen_for: float) -> bool:
        """Let an earlier value be the one of this cycle, unless it is too old by now.

        ``seen_for`` is how many seconds ago it was first read.
        """
        max_age = self._max_age(raw.field_id)
        value = read_value(raw, self.now, max_age)
        if seen_for > max_age or isinstance(value, Absence):
            return False
        self.values[raw.entity, raw.field_id] = value
        return True

    def get(self, entity: Entity, field_id: int) -> Reading:
        """Return the value of a field on an entity, or why there is none."""
        found = self.values.get((entity, field_id))
        if found is None:
            found = self._converted(entity, field_id)
        return self.left_out.get(field_id, Absence.NOT_WATCHED) if found is None else found

    def _converted(self, entity: Entity, field_id: int) -> Reading | None:
        """Return the value computed from the other field of the same quantity, if that was read."""
        conversion = conversion_to(field_id)
        if conversion is None:
            return None
        found = self.values.get((entity, conversion.source.id))
        return conversion.apply(found) if isinstance(found, int | float) else found

    def drop(self, reason: Absence) -> None:
        """Count one value that is not exported."""
        self.dropped[reason] += 1

    def _max_age(self, field_id: int) -> float:
        if field_id in _EVENT_FIELDS:
            return math.inf
        if field_id in _SLOW_FIELDS:
            return max(self.stale_after, _SLOW_FIELDS_AGE)
        return self.stale_after
