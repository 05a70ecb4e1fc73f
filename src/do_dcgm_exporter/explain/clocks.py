"""Say how fast a GPU runs and what holds its clocks down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from do_dcgm_exporter.collect.clock_log import events_in
from do_dcgm_exporter.collect.machine import SM_CLOCK, MachineState
from do_dcgm_exporter.collect.plan import CLOCK_EVENTS_FIELD
from do_dcgm_exporter.dcgm.entities import Entity

_IDLE = "gpu_idle"
# The engine sets this bit together with those that give the cause.
_EXPLAINED_BY = {"hw_slowdown": {"hw_thermal", "hw_power_brake"}}

_WORDS = {
    _IDLE: "idle",
    "clocks_setting": "application clocks",
    "power_cap": "power limit",
    "hw_slowdown": "hardware slowdown",
    "sync_boost": "sync boost",
    "sw_thermal": "too warm",
    "hw_thermal": "too hot",
    "hw_power_brake": "power brake",
    "display_clocks": "display clocks",
    "board_limit": "board limit",
    "reliability": "reliability limit",
}


@dataclass(frozen=True, slots=True)
class Clocks:
    """The SM clock in MHz, and the clock events that hold it down; None if not known."""

    megahertz: float | None
    events: tuple[str, ...] | None

    @property
    def speed(self) -> str:
        """Spell the clock, or what is known in its place; empty if nothing is."""
        if self.megahertz is not None:
            return f"{self.megahertz:.0f} MHz"
        return "full speed" if self.events == () else ""

    @property
    def reason(self) -> str:
        """Name what holds the clock down; empty if nothing does."""
        return ", ".join(_WORDS[event] for event in self.events or ())


def clocks_of(machine: MachineState, parts: Iterable[Entity]) -> Clocks:
    """Return the clocks of a GPU, given whole or as its instances."""
    devices = tuple(parts)
    mask = machine.highest(devices, CLOCK_EVENTS_FIELD)
    is_busy = any(machine.utilization(device) for device in devices)
    events = None if mask is None else holding_down(int(mask), is_busy)
    return Clocks(machine.highest(devices, SM_CLOCK), events)


def holding_down(mask: int, is_busy: bool) -> tuple[str, ...]:
    """Return the events of ``mask`` that hold the clocks down: on a busy GPU, not idleness."""
    events = tuple(events_in(mask))
    return tuple(
        event
        for event in events
        if not (event == _IDLE and is_busy) and _EXPLAINED_BY.get(event, set()).isdisjoint(events)
    )
