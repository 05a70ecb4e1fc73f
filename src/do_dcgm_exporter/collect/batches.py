"""What to read on which entities in one call: what is watched there, and nothing else.

The engine writes a line into its log for each value it is asked for and does not watch.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.entities import Entity


@dataclass(frozen=True, slots=True)
class Batch:
    """Entities with the same watched fields."""

    entities: tuple[Entity, ...]
    field_ids: tuple[int, ...]


def batches_of(
    watches: Iterable[Watch], left_alone: Container[tuple[Entity, int]] = ()
) -> tuple[Batch, ...]:
    """Return batches that read everything in ``watches`` once, except what is ``left_alone``."""
    fields: dict[Entity, dict[int, None]] = {}
    for watch in watches:
        for entity in watch.entities:
            read = (id_ for id_ in watch.field_ids if (entity, id_) not in left_alone)
            fields.setdefault(entity, {}).update(dict.fromkeys(read))
    together: dict[tuple[int, ...], list[Entity]] = {}
    for entity in sorted(fields):
        together.setdefault(tuple(fields[entity]), []).append(entity)
    return tuple(Batch(tuple(entities), ids) for ids, entities in together.items() if ids)
