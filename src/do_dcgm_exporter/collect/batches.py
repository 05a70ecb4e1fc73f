"""What to read on which entities in one call: what is watched there, and nothing else.

The engine writes a line into its log for each value it is asked for and does not watch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.entities import Entity


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities with the same watched fields."""

    entities: tuple[Entity, ...]
    field_ids: tuple[int, ...]


def batches_of(watches: Iterable[Watch]) -> tuple[Batch, ...]:
    """Return the batches that read everything in ``watches``, each value once."""
    fields: dict[Entity, dict[int, None]] = {}
    for watch in watches:
        for entity in watch.entities:
            fields.setdefault(entity, {}).update(dict.fromkeys(watch.field_ids))
    together: dict[tuple[int, ...], list[Entity]] = {}
    for entity in sorted(fields):
        together.setdefault(tuple(fields[entity]), []).append(entity)
    return tuple(Batch(tuple(entities), ids) for ids, entities in together.items())
