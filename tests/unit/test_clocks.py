"""How fast a GPU runs, and what holds it down."""

from __future__ import annotations

import pytest
from tests.builders import gpu

from do_dcgm_exporter.collect.machine import GPU_UTILIZATION, SM_CLOCK, MachineState, Roster
from do_dcgm_exporter.collect.plan import CLOCK_EVENTS_FIELD
from do_dcgm_exporter.explain.clocks import clocks_of


def machine(**values: int) -> MachineState:
    """A GPU with these values, by name."""
    fields = {"clock": SM_CLOCK, "mask": CLOCK_EVENTS_FIELD, "busy": GPU_UTILIZATION}
    return MachineState(
        Roster(devices=(gpu(0),)),
        values={(gpu(0), fields[name]): value for name, value in values.items()},
    )


@pytest.mark.parametrize(
    ("values", "speed", "reason"),
    [
        ({"clock": 1980, "mask": 0, "busy": 40}, "1980 MHz", ""),
        ({"clock": 1755, "mask": 0x4, "busy": 99}, "1755 MHz", "power limit"),
        ({"clock": 345, "mask": 0x1, "busy": 0}, "345 MHz", "idle"),
        # An engine may sample the mask and the utilization at different moments.
        ({"clock": 1980, "mask": 0x1, "busy": 85}, "1980 MHz", ""),
        ({"clock": 1980, "mask": 0x5, "busy": 85}, "1980 MHz", "power limit"),
        ({"clock": 345, "mask": 0x1}, "345 MHz", "idle"),
        # The hardware's slowdown has a cause that says more.
        ({"clock": 600, "mask": 0x48, "busy": 9}, "600 MHz", "too hot"),
        ({"clock": 600, "mask": 0x8, "busy": 9}, "600 MHz", "hardware slowdown"),
        ({"clock": 1980}, "1980 MHz", ""),
        ({"mask": 0}, "full speed", ""),
        ({"mask": 0x8000}, "full speed", ""),
        ({"mask": 0x20}, "", "too warm"),
        ({}, "", ""),
    ],
)
def test_a_clock_comes_with_what_holds_it_down(
    values: dict[str, int], speed: str, reason: str
) -> None:
    clocks = clocks_of(machine(**values), [gpu(0)])
    assert (speed, reason) == (clocks.speed, clocks.reason)
