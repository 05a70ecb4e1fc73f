"""The recent past as a picture."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from tests.builders import NOW, gpu

from do_dcgm_exporter.collect.machine import GPU_UTILIZATION, MachineState, Roster
from do_dcgm_exporter.page.history import UNKNOWN, Column
from do_dcgm_exporter.serve.status_page.sparkline import Sparklines, axis, up_to_date

DEVICES = (gpu(0), gpu(1))


def columns(*values: tuple[float, int]) -> tuple[Column, ...]:
    """GPU 0's percentages by seconds before now."""
    return tuple(Column(NOW - age, DEVICES, bytes((percent, 50))) for age, percent in values)


def drawn(*values: tuple[float, int], interval: float = 20.0) -> str:
    return Sparklines(columns(*values), NOW, interval).of(gpu(0), "GPU 0")


def lines_of(svg: str) -> list[list[str]]:
    return [points.split() for points in re.findall(r'<polyline [^>]*points="([^"]*)"', svg)]


def test_a_line_goes_from_left_to_right_and_high_is_busy() -> None:
    assert [["40,100", "50,50", "60,0"]] == lines_of(drawn((20, 0), (10, 50), (0, 100)))


def test_what_is_not_known_is_a_gap() -> None:
    assert [["100,99", "120,98"], ["160,97", "160,97"]] == lines_of(
        drawn((80, 1), (60, 2), (40, UNKNOWN), (20, 3))
    )


def test_a_long_silence_is_a_gap() -> None:
    dots = [["60,99", "60,99"], ["360,98", "360,98"]]
    assert dots == lines_of(drawn((300, 1), (0, 2)))
    assert [["60,99", "360,98"]] == lines_of(drawn((300, 1), (0, 2), interval=300))


def test_what_is_too_old_is_not_drawn() -> None:
    assert [["40,98", "40,98"]] == lines_of(drawn((901, 1), (20, 2)))


def test_a_device_that_came_later_begins_where_it_came() -> None:
    history = (Column(NOW - 40, (gpu(1),), bytes((9,))), *columns((20, 30), (0, 40)))
    assert [2] == [len(line) for line in lines_of(Sparklines(history, NOW, 20).of(gpu(0), "GPU 0"))]


def test_those_who_do_not_see_it_are_told() -> None:
    label = "Utilization of GPU 0 over 1 minute: 10 to 40 %, 25 % on average"
    assert f'role="img" aria-label="{label}"' in drawn((20, 10), (0, 40))


@pytest.mark.parametrize(
    ("age", "marks"),
    [
        (0, ["−60", "−40", "−20 s", "now"]),
        (60, ["−60", "−40", "−20 s", "now"]),
        (61, ["−3", "−2", "−1 min", "now"]),
        (300, ["−6", "−4", "−2 min", "now"]),
        (890, ["−15", "−10", "−5 min", "now"]),
        (2000, ["−60", "−40", "−20 s", "now"]),
    ],
)
def test_the_axis_reaches_no_further_than_it_must(age: float, marks: list[str]) -> None:
    lines = Sparklines(columns((age, 1), (0, 2)), NOW, 20)
    assert marks == re.findall('data-at="([^"]*)"', axis(lines))


def test_a_line_ends_with_what_is_read_now() -> None:
    roster = Roster(devices=(gpu(0),))
    state = MachineState(roster, NOW, values={(gpu(0), GPU_UTILIZATION): 70})
    (seen,) = columns((5, 10))
    assert (seen, Column(NOW, (gpu(0),), bytes((70,)))) == up_to_date((seen,), state)
    assert (seen,) == up_to_date((seen,), replace(state, read_at=seen.at))
    assert (seen,) == up_to_date((seen,), MachineState()), "an outage says nothing"


def test_of_a_device_without_a_past_there_is_no_picture() -> None:
    assert "" == drawn((20, UNKNOWN), (0, UNKNOWN))
    assert "" == Sparklines((), NOW, 20).of(gpu(0), "GPU 0")


def test_what_was_in_between_is_drawn_behind_the_line() -> None:
    peaks = Column(NOW, DEVICES, bytes((40, 50)), bytes((0, 50)), bytes((100, 50)))
    sparklines = Sparklines((*columns((20, 30)), peaks), NOW, 20)
    svg = sparklines.of(gpu(0), "GPU 0")
    (points,) = re.findall(r'<polygon class="range" points="([^"]*)"', svg)
    assert ["40,70", "60,0", "60,100", "40,70"] == points.split()
    assert svg.index("range") < svg.index("polyline")
    assert "1 minute: 0 to 100 %, 35 % on average" in svg
    assert "0 to 100 %, 35 % on average" == sparklines.summary(gpu(0))
    assert "range" not in sparklines.of(gpu(1), "GPU 1")
