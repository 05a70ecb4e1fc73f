"""Read many fields of many entities in as few calls as the engine allows.

One field must never take the others down, but an empty string in the cache of DCGM 3.3.9
fails the whole call. Such a field is found by halving, left out, and tried again later.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.bisection import split_off_culprits
from do_dcgm_exporter.dcgm.connection import FIELDS_PER_CALL, HostEngine
from do_dcgm_exporter.dcgm.decoding import RawValue
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable, ReturnCode

_log = logging.getLogger(__name__)

# In seconds. An empty string, such as a process name, may be filled within minutes.
RETRY_POISONED_AFTER = 300.0


@dataclass(slots=True)
class BatchReader:
    """Reads latest values, keeping poisoned fields out of the batches."""

    engine: HostEngine
    clock: Callable[[], float] = time.monotonic
    _poisoned_until: dict[int, float] = field(default_factory=dict)

    @property
    def poisoned(self) -> frozenset[int]:
        """The fields that are currently left out."""
        now = self.clock()
        return frozenset(f for f, until in self._poisoned_until.items() if until > now)

    def read(self, entities: Sequence[Entity], field_ids: Sequence[int]) -> Iterator[RawValue]:
        """Yield the latest value of every field on every entity, except poisoned fields."""
        poisoned = self.poisoned
        healthy = [field_id for field_id in field_ids if field_id not in poisoned]
        size = self.engine.entities_per_call
        for first_entity in range(0, len(entities), size):
            some_entities = entities[first_entity : first_entity + size]
            for first_field in range(0, len(healthy), FIELDS_PER_CALL):
                some_fields = healthy[first_field : first_field + FIELDS_PER_CALL]
                yield from self._read_batch(some_entities, some_fields)
        self._forgive(healthy)

    def _forgive(self, field_ids: Iterable[int]) -> None:
        """Take back fields that were tried again and worked."""
        for field_id in field_ids:
            if self._poisoned_until.get(field_id, math.inf) <= self.clock():
                _log.info("field %d can be read again", field_id)
                del self._poisoned_until[field_id]

    def _read_batch(self, entities: Sequence[Entity], field_ids: Sequence[int]) -> list[RawValue]:
        try:
            return self.engine.latest(entities, field_ids)
        except CallRefused as error:
            if error.code == ReturnCode.INSUFFICIENT_SIZE and len(entities) > 1:
                # The engine's reply holds 4 MB; fewer entities need less.
                middle = len(entities) // 2
                return self._read_batch(entities[:middle], field_ids) + self._read_batch(
                    entities[middle:], field_ids
                )
        return self._read_without_poison(entities, field_ids)

    def _read_without_poison(
        self, entities: Sequence[Entity], field_ids: Sequence[int]
    ) -> list[RawValue]:
        values: list[RawValue] = []

        def works(some: Sequence[int]) -> bool:
            try:
                values.extend(self.engine.latest(entities, some))
            except CallRefused:
                return False
            return True

        _, culprits = split_off_culprits(field_ids, works)
        if len(culprits) == len(field_ids) > 1:
            # No single field is to blame, and a new connection may help.
            raise EngineUnavailable("the engine fails on every field")
        for field_id in culprits:
            if field_id not in self._poisoned_until:
                _log.warning("field %d makes the engine fail and is left out for now", field_id)
            self._poisoned_until[field_id] = self.clock() + RETRY_POISONED_AFTER
        return values
