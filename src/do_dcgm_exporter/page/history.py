"""Remember the utilization of every device over 15 minutes, one percentage every 15 seconds.

It takes a byte per device and column, and two more where peaks give the range in between: 7 kB for
8 GPUs, 9 kB for 56 instances. Histories are immutable, so one can be drawn while the next is made.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from do_dcgm_exporter.collect.machine import MachineState
from do_dcgm_exporter.dcgm.entities import Entity

SPAN = 900.0
# A little less than 15 s, so that at an interval of 15 s a cycle that is early still counts.
_EVERY = 14.0
UNKNOWN = 255


@dataclass(frozen=True, slots=True)
class Column:
    """The percentages of ``devices`` at ``at`` (Unix seconds), none during an outage.

    ``lowest`` and ``highest`` are those since the column before, empty if nobody knows.
    """

    at: float
    devices: tuple[Entity, ...] = ()
    percentages: bytes = b""
    lowest: bytes = b""
    highest: bytes = b""


History = tuple[Column, ...]


def column_of(state: MachineState) -> Column:
    """Return the utilization of all devices in a cycle."""
    devices = state.roster.devices
    percentages = bytes(_percentage(state, e) for e in devices)
    lowest, highest = _ranges(state, percentages) if state.ranges else (b"", b"")
    return Column(state.read_at, devices, percentages, lowest, highest)


def widened(history: History, column: Column) -> History:
    """Let the last column be about what happened until ``column``, which comes too early."""
    if not history or not column.lowest or history[-1].devices != column.devices:
        return history
    last = history[-1]
    lowest = bytes(map(min, last.lowest or last.percentages, column.lowest))
    pairs = zip(last.highest or last.percentages, column.highest)
    highest = bytes(max((p for p in pair if p != UNKNOWN), default=UNKNOWN) for pair in pairs)
    return (*history[:-1], replace(last, lowest=lowest, highest=highest))


def is_due(history: History, at: float) -> bool:
    """Return whether a column is due at ``at``, as it is when the clock was set back."""
    return not history or not 0 <= at - history[-1].at < _EVERY


def extended(history: History, column: Column) -> History:
    """Append ``column`` to ``history`` and drop what is too old."""
    kept = (old for old in history if column.at - SPAN <= old.at < column.at)
    return (*kept, column)


def _percentage(state: MachineState, entity: Entity) -> int:
    value = state.utilization(entity)
    return UNKNOWN if value is None else _in_bounds(value)


def _ranges(state: MachineState, percentages: bytes) -> tuple[bytes, bytes]:
    """Return the lowest and highest percentages, which are those shown where nobody knows more."""
    found = [
        state.utilization_range(device) or (percentage, percentage)
        for device, percentage in zip(state.roster.devices, percentages)
    ]
    known = [(UNKNOWN, UNKNOWN) if p == UNKNOWN else r for p, r in zip(percentages, found)]
    lowest, highest = zip(*known)
    return bytes(map(_in_bounds, lowest)), bytes(map(_in_bounds, highest))


def _in_bounds(percentage: int) -> int:
    return percentage if percentage == UNKNOWN else min(max(percentage, 0), 100)
