"""What the exporter may read: for each unwatched value, the engine logs a line."""

from __future__ import annotations

import struct
from collections.abc import Container

from dcgm_simulator.fields import XID
from dcgm_simulator.host import LATEST_HEAD, LIVE_DATA, Host
from dcgm_simulator.machine import Entity


def only_what_is_watched(
    host: Host, body: bytes, were_lost: Container[int | None], was_refused: bool
) -> None:
    """Hold a latest-values call against what has ever been watched.

    The last XID of a GPU that could not be watched is looked for once all the same: one of those
    that ``were_lost``, or one that the engine refuses after a call that ``was_refused``.
    """
    flags, entity_count, field_count = LATEST_HEAD.unpack_from(body)
    if flags & LIVE_DATA:
        return
    numbers = struct.unpack_from(f"<{2 * entity_count}I{field_count}H", body, LATEST_HEAD.size)
    entities = [Entity(*numbers[i : i + 2]) for i in range(0, 2 * entity_count, 2)]
    known = host.cache.fields()
    for entity in entities:
        for field_id in numbers[2 * entity_count :]:
            is_watched = host.cache.is_watched(entity, known[field_id])
            is_looked_back_at = field_id == XID and (
                was_refused or host.machine.gpu_of(entity) in were_lost
            )
            excused = _is_gone(host, entity) or is_looked_back_at
            assert is_watched or excused, f"field {field_id} of {entity} is read and not watched"


def _is_gone(host: Host, entity: Entity) -> bool:
    """Whether an instance was cut away, which the exporter has yet to see."""
    return not host.machine.has(entity)
