"""The figures that are read from afar."""

from __future__ import annotations

from tests.builders import NOW, gpu, raw, readings_of, settings, some_gpu
from tests.unit.test_status_page import page_of

from do_dcgm_exporter.collect.machine import MachineState, Roster, machine_state
from do_dcgm_exporter.collect.selection import Selection
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.explain.figures import Figure, figures
from do_dcgm_exporter.explain.view import View

# Utilization, memory used and in all, temperature and its limit, power and its limit, the clock,
# what holds it down.
FIELDS = (203, 252, 250, 150, 158, 155, 164, 100, 112)
BUSY = (77, 40960, 81920, 60, 90, 510.0, 700.0, 1897, 0)
HOT = (30, 20480, 81920, 88, 90, 490.0, 700.0, 1200, 0x40)
IDLE = (0, 0, 81920, 30, 90, 70.0, 700.0, 345, 0x1)


def figures_of(*gpus: tuple[float, ...]) -> dict[str, Figure]:
    known = tuple(map(some_gpu, range(len(gpus))))
    roster = Roster.of(
        Topology(gpus=known), Selection(tuple(g.entity for g in known), known, ()), keep=True
    )
    raws = [raw(gpu(n), f, v) for n, values in enumerate(gpus) for f, v in zip(FIELDS, values)]
    state: MachineState = machine_state(roster, readings_of(*raws), ())
    view = View(page_of(state), settings(), NOW, "host")
    return {figure.name: figure for figure in figures(view)}


def test_of_several_gpus_they_are_sums_and_extremes() -> None:
    found = figures_of(BUSY, HOT, IDLE)
    assert {
        "Busiest": ("77 %", ["GPU 0", "36 % on average"]),
        "Memory": ("60.0 GiB", ["of 240.0 GiB", "fullest: GPU 0, 50 %"]),
        "Hottest": ("88 °C", ["GPU 1", "slows down at 90 °C"]),
        "Power": ("1.1 kW", ["of 2.1 kW", "most: GPU 0, 510 W"]),
        "Slowest clock": ("1200 MHz", ["GPU 1", "too hot"]),
    } == {name: (figure.value, list(figure.notes)) for name, figure in found.items()}
    assert ["Hottest"] == [name for name, figure in found.items() if figure.warns]


def test_of_one_gpu_they_are_its_own() -> None:
    assert {
        "Utilization": ("0 %", []),
        "Memory": ("0.0 GiB", ["of 80.0 GiB"]),
        "Temperature": ("30 °C", ["slows down at 90 °C"]),
        "Power": ("70 W", ["of 700 W"]),
        "Clock": ("345 MHz", ["idle"]),
    } == {name: (figure.value, list(figure.notes)) for name, figure in figures_of(IDLE).items()}


def test_where_all_are_idle_none_is_the_slowest() -> None:
    assert "Busiest" in figures_of(IDLE, IDLE)
    assert "Slowest clock" not in figures_of(IDLE, IDLE)


def test_what_is_not_known_is_no_figure() -> None:
    assert ["Utilization"] == list(figures_of((12,)))
    assert {} == figures_of(())
