"""The values that one cycle has read and judged: the input of every collector."""

from __future__ import annotations

import math
from collections import Counter as Tally
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.collect.plan import EVENT_FIELDS
from do_dcgm_exporter.collect.sample_ages import Moment, SampleAges
from do_dcgm_exporter.dcgm.conversions import conversion_to
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue, Reading, read_value
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.fields import field_by_id

# The upper limit of each utilization: percentages, and the ratios that DCGM 4.7 has added.
# An engine has reported 4294967295 (observed).
_HIGHEST = {203: 100, 204: 100, 206: 100, 207: 100, 1613: 1, 1614: 1, 1615: 1, 1616: 1}

# InfoROM fields 83 and 84 are refreshed every 30 s, whatever the interval (observed).
_SLOW_FIELDS = frozenset({83, 84})
_SLOW_FIELDS_AGE = 90.0

# Between two looks at two clocks some time passes, in seconds.
_SHORTEST_STEP = 1.0


@dataclass(slots=True)
class Readings:
    """The values of one cycle by entity and field.

    ``now`` is Unix time in seconds, ``clock_now`` the same moment by the clock of sample ages;
    ``taken_at`` is by the latter, too. ``stale_after`` is in seconds. ``dropped`` counts, by
    reason, planned values that are missing. ``left_out`` has the reason for each field that was
    not read at all. ``ranges`` has the lowest and highest samples since the previous page, of
    fields that are summarised.
    """

    now: float
    stale_after: float
    ages: SampleAges = field(default_factory=SampleAges)
    values: dict[tuple[Entity, int], Reading] = field(default_factory=dict)
    raw: dict[tuple[Entity, int], RawValue] = field(default_factory=dict)
    left_out: Mapping[int, Absence] = field(default_factory=dict)
    lost_gpus: frozenset[int] = frozenset()
    dropped: Tally[Absence] = field(default_factory=Tally)
    clock_now: float = field(init=False)
    taken_at: dict[tuple[Entity, int], float] = field(default_factory=dict)
    _wall_offset: float = field(init=False)
    ranges: dict[tuple[Entity, int], tuple[float, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.clock_now = self.ages.clock()
        self._wall_offset = self.ages.wall_offset()

    def add(self, raws: Iterable[RawValue]) -> None:
        """Judge raw values and keep them."""
        now = self._moment()
        for raw in raws:
            key = (raw.entity, raw.field_id)
            value = read_value(raw)
            if not isinstance(value, Absence):
                age = self.ages.age(key, raw.timestamp, now)
                self.taken_at[key] = self.clock_now - age
                if age > self._max_age(raw.field_id):
                    value = Absence.STALE
                elif not is_possible(raw.field_id, value):
                    value = Absence.NOT_A_NUMBER
            self.raw[key] = raw
            self.values[key] = value

    def _moment(self) -> Moment:
        """Return the moment of this cycle, by the wall clock as it was set in the meantime."""
        step = self.ages.wall_offset() - self._wall_offset
        return Moment(self.now + (step if abs(step) > _SHORTEST_STEP else 0.0), self.clock_now)

    def put_back(self, raw: RawValue, taken_at: float) -> bool:
        """Use an earlier value in this cycle and return True, unless it has become too old."""
        if self.clock_now - taken_at > self._max_age(raw.field_id):
            return False
        self.values[raw.entity, raw.field_id] = read_value(raw)
        return True

    def get(self, entity: Entity, field_id: int) -> Reading:
        """Return the value of a field of an entity, or why there is none."""
        found = self.values.get((entity, field_id))
        if found is None:
            found = self._converted(entity, field_id)
        return self.left_out.get(field_id, Absence.NOT_WATCHED) if found is None else found

    def _converted(self, entity: Entity, field_id: int) -> Reading | None:
        """Return the value computed from the other field for the quantity, if that was read."""
        conversion = conversion_to(field_id)
        if conversion is None:
            return None
        found = self.values.get((entity, conversion.source.id))
        return conversion.apply(found) if isinstance(found, int | float) else found

    def sampled_entities(self) -> frozenset[Entity]:
        """Return the entities with a current number in a field that is sampled every interval."""
        return frozenset(
            entity
            for (entity, field_id), value in self.values.items()
            if isinstance(value, int | float) and _is_sampled_on_entities(field_id)
        )

    def drop(self, reason: Absence) -> None:
        """Count one value that is not exported."""
        self.dropped[reason] += 1

    def _max_age(self, field_id: int) -> float:
        if field_id in EVENT_FIELDS:
            return math.inf
        if field_id in _SLOW_FIELDS:
            return max(self.stale_after, _SLOW_FIELDS_AGE)
        return self.stale_after


def _is_sampled_on_entities(field_id: int) -> bool:
    """Return whether a value proves that its entity is sampled; events and global fields do not."""
    field = field_by_id(field_id)
    apart = field_id in EVENT_FIELDS or field_id in _SLOW_FIELDS
    return field is not None and not field.is_global and not apart


def is_possible(field_id: int, value: float | str) -> bool:
    """Return whether a field can have this value at all."""
    highest = _HIGHEST.get(field_id)
    return highest is None or (not isinstance(value, str) and 0 <= value <= highest)
