"""Remember the utilization of every device over 15 minutes, one percentage every 15 seconds.

It takes a byte per device and column: 6 kB for 8 GPUs, 8 kB for 56 instances. Histories are
immutable, so one can be drawn while the next is made.
"""

from __future__ import annotations

from dataclasses import dataclass

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.dcgm.entities import Entity

SPAN = 900.0
# A little less than 15 s, so that at an interval of 15 s a cycle that is early still counts.
_EVERY = 14.0
UNKNOWN = 255


@dataclass(frozen=True, slots=True)
class Column:
    """The percentages of ``devices`` at ``at`` (Unix seconds), none during an outage."""

    at: float
    devices: tuple[Entity, ...] = ()
    percentages: bytes = b""


History = tuple[Column, ...]


def column_of(state: MachineState) -> Column:
    """Return the utilization of all devices in a cycle."""
    devices = state.roster.devices
    return Column(state.read_at, devices, bytes(_percentage(state, e) for e in devices))


def is_due(history: History, at: float) -> bool:
    """Return whether a column is due at ``at``, as it is when the clock was set back."""
    return not history or not 0 <= at - history[-1].at < _EVERY


def extended(history: History, column: Column) -> History:
    """Append ``column`` to ``history`` and drop what is too old."""
    kept = (old for old in history if column.at - SPAN <= old.at < column.at)
    return (*kept, column)


def _percentage(state: MachineState, entity: Entity) -> int:
    value = state.utilization(entity)
    return UNKNOWN if value is None else min(max(value, 0), 100)
