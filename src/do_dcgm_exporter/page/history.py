"""How busy every device was in the last 15 minutes, a percentage every 15 seconds.

One byte per device and column, 6 kB for 8 GPUs and 8 kB for 56 instances. Histories
are values: a new column makes a new one, and whoever draws the old one is not disturbed.
"""

from __future__ import annotations

from dataclasses import dataclass

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.dcgm.entities import Entity

SPAN = 900.0
# A little less than 15 s, so that a cycle that comes early counts at an interval of 15 s.
_EVERY = 14.0
UNKNOWN = 255


@dataclass(frozen=True, slots=True)
class Column:
    """The percentages of ``devices`` at ``at`` (Unix seconds); none during an outage."""

    at: float
    devices: tuple[Entity, ...] = ()
    percentages: bytes = b""


History = tuple[Column, ...]


def column_of(state: MachineState) -> Column:
    """How busy the devices of a cycle were."""
    devices = state.roster.devices
    return Column(state.read_at, devices, bytes(_percentage(state, e) for e in devices))


def is_due(history: History, at: float) -> bool:
    """Whether there is room for a column at ``at``; also if the clock was set back."""
    return not history or not 0 <= at - history[-1].at < _EVERY


def extended(history: History, column: Column) -> History:
    """``history`` with ``column`` at its end, and without what is too old."""
    kept = (old for old in history if column.at - SPAN <= old.at < column.at)
    return (*kept, column)


def _percentage(state: MachineState, entity: Entity) -> int:
    value = state.utilization(entity)
    return UNKNOWN if value is None else min(max(value, 0), 100)
