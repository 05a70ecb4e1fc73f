"""Profiling values come and go with the watches, as on engines that were tried.

The first table is what four fresh engines answered at an interval of five seconds; the
rest follows from DcgmGpmManager.cpp and DcgmWatchTable.cpp of each release.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from dcgm_simulator.codes import is_sentinel
from dcgm_simulator.faults import Override
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import SECOND, Watch
from dcgm_simulator.signals import elapsed

START = 1_700_000_000 * SECOND
GPU = Entity(1, 0)
FIELDS = tuple(range(1001, 1013))
INTERVAL = 5
NEWEST_ONLY, LONG = (0.0, 1), (10.0 * INTERVAL, 0)
OLD, NEW = ["3.3.9", "4.2.3"], ["4.5.3", "4.6.0"]


class Engine:
    """A fresh engine with clients that watch profiling fields of its GPU."""

    def __init__(self, version: str, fields: Sequence[int] = FIELDS) -> None:
        self.now = START
        self.host = Host("h100x1", version, clock=lambda: self.now)
        self.fields = [self.host.cache.fields()[number] for number in fields]
        self.host.faults.override(GPU, fields[0], Override(START, source=elapsed(START)))

    def watch(
        self, seconds: float, keep: tuple[float, int] = NEWEST_ONLY, connection: int = 1
    ) -> None:
        watch = Watch(int(seconds * SECOND), *keep)
        for field in self.fields:
            self.host.cache.watch(connection, GPU, field, watch, self.now)

    def unwatch(self, connection: int = 1) -> None:
        for field in self.fields:
            self.host.cache.unwatch(connection, GPU, field, self.now)

    def disconnect(self, connection: int) -> None:
        self.host.cache.unwatch_all(connection, self.now)

    def pass_time(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)

    def value(self) -> float | None:
        """The first field's newest value, None where it is blank."""
        value = self.host.cache.latest(GPU, self.fields[0], self.now, live=False).value
        return None if is_sentinel(value) else float(value)

    def letters(self, count: int, step: float = INTERVAL) -> str:
        """What ``count`` readings find: a value or a blank."""
        found = ""
        for number in range(count):
            if number:
                self.pass_time(step)
            found += "B" if self.value() is None else "v"
        return found


@pytest.mark.parametrize("keep", [NEWEST_ONLY, LONG])
@pytest.mark.parametrize(
    ("version", "found"),
    [*((version, "BBvvvvvv") for version in OLD), *((version, "Bvvvvvvv") for version in NEW)],
)
def test_watched_once(version: str, keep: tuple[float, int], found: str) -> None:
    engine = Engine(version)
    engine.watch(INTERVAL, keep)
    assert found == engine.letters(8)


@pytest.mark.parametrize(
    ("version", "keep", "found"),
    [
        ("3.3.9", NEWEST_ONLY, "vBBBBBBB"),
        ("4.2.3", NEWEST_ONLY, "vBBBBBBB"),
        ("4.5.3", NEWEST_ONLY, "vBBBBBBB"),
        ("4.6.0", NEWEST_ONLY, "vBBBBBBB"),
        ("3.3.9", LONG, "vvvvvvvv"),
        ("4.2.3", LONG, "vvvvvvvv"),
        ("4.5.3", LONG, "vvvvvvvv"),
        ("4.6.0", LONG, "vBBBBBBB"),
    ],
)
def test_watched_anew_more_slowly(version: str, keep: tuple[float, int], found: str) -> None:
    engine = Engine(version)
    engine.watch(1)
    engine.pass_time(2)
    engine.value()
    engine.watch(INTERVAL, keep)
    assert found == engine.letters(8)


@pytest.mark.parametrize("version", [*OLD, *NEW])
def test_unwatched_and_then_watched_more_slowly(version: str) -> None:
    engine = Engine(version)
    engine.watch(1)
    engine.pass_time(2)
    engine.unwatch()
    engine.watch(INTERVAL)
    assert "Bvvvvvvv" == engine.letters(8)


@pytest.mark.parametrize(("version", "blanks"), [("3.3.9", 2), ("4.2.3", 2), ("4.6.0", 1)])
def test_every_second(version: str, blanks: int) -> None:
    engine = Engine(version)
    engine.watch(1)
    assert "B" * blanks + "v" * (30 - blanks) == engine.letters(30, step=1)


@pytest.mark.parametrize("version", [*OLD, *NEW])
def test_a_value_is_the_mean_over_the_interval(version: str) -> None:
    engine = Engine(version)
    engine.watch(INTERVAL)
    engine.letters(4)
    assert 15 - INTERVAL / 2 == engine.value()


@pytest.mark.parametrize("version", [*OLD, *NEW])
def test_of_two_clients_the_shorter_interval_decides(version: str) -> None:
    engine = Engine(version)
    engine.watch(30, connection=2)
    engine.watch(1)
    engine.pass_time(10)
    assert 10 - 0.5 == engine.value()


@pytest.mark.parametrize(
    ("version", "found"),
    [("3.3.9", "vBBBBB"), ("4.2.3", "vBBBBB"), ("4.5.3", "vvvvvv"), ("4.6.0", "vvvvvv")],
)
def test_another_client_that_goes_shortens_what_old_engines_keep(version: str, found: str) -> None:
    engine = Engine(version)
    engine.watch(20, (80.0, 0))
    engine.watch(30, (0.0, 1), connection=2)
    engine.letters(6, step=20)
    engine.disconnect(2)
    assert found == engine.letters(6, step=20)


@pytest.mark.parametrize("version", OLD)
def test_watching_anew_at_the_same_interval_makes_good_for_it(version: str) -> None:
    engine = Engine(version)
    engine.watch(20, (80.0, 0))
    engine.watch(30, (0.0, 1), connection=2)
    engine.letters(6, step=20)
    engine.disconnect(2)
    assert "vB" == engine.letters(2, step=20)
    engine.watch(20, (80.0, 0))
    assert "Bvvv" == engine.letters(4, step=20)


@pytest.mark.parametrize(
    ("version", "found"), [("3.3.9", "B"), ("4.2.3", "B"), ("4.5.3", "v"), ("4.6.0", "v")]
)
def test_one_field_alone_is_kept_for_a_second_by_old_engines(version: str, found: str) -> None:
    engine = Engine(version, fields=[1002])
    engine.watch(20, NEWEST_ONLY)
    assert found == engine.letters(10, step=20)[-1]


@pytest.mark.parametrize("version", [*OLD, *NEW])
def test_a_long_time_is_passed_over_and_leaves_what_it_would_have_left(version: str) -> None:
    engine = Engine(version)
    engine.watch(1)
    engine.pass_time(100_000)
    assert 100_000 - 0.5 == engine.value()


@pytest.mark.parametrize(("version", "found"), [("3.3.9", "BB"), ("4.2.3", "vv"), ("4.6.0", "BB")])
def test_a_lost_gpu_gives_no_samples_and_then_does_again(version: str, found: str) -> None:
    engine = Engine(version)
    engine.watch(1)
    engine.letters(5, step=1)
    engine.host.faults.lose(0, engine.now + 1)
    engine.pass_time(2)
    assert found == engine.letters(2, step=5)
    engine.host.faults.restore(0, engine.now)
    engine.pass_time(6)
    assert "vvv" == engine.letters(3, step=1)
