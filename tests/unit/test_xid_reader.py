"""Field 230 read through its history, where latest values would fill the engine's log."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from tests.builders import MICROSECONDS, NOW, gpu, raw

from do_dcgm_exporter.collect.xid_reader import KEPT_FOR, XidReader
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.decoding import RawValue
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.versions import Versions

WATCH = Watch(None, None, (gpu(0), gpu(1)), (230,))
NOTHING = [raw(gpu(number), 230, 0, status=ReturnCode.NO_DATA, timestamp=0) for number in (0, 1)]


@dataclass
class Engine:
    """Tells what it is given, and remembers from when on it was asked (Unix seconds)."""

    release: str = "4.3.1"
    told: list[RawValue] = field(default_factory=lambda: list(NOTHING))
    asked_from: list[float] = field(default_factory=list)
    refuses: bool = False

    @property
    def versions(self) -> Versions:
        return Versions(self.release, self.release)

    def since(self, _watch: Watch, timestamp: int) -> list[RawValue]:
        if self.refuses:
            raise CallRefused("no")
        self.asked_from.append(timestamp / MICROSECONDS)
        return self.told


def reader_of(engine: Engine) -> XidReader:
    return XidReader(engine, [WATCH])


@pytest.mark.parametrize(("release", "asks"), [("3.3.9", 1), ("4.3.1", 1), ("4.4.1", 0)])
def test_history_is_read_until_4_3(release: str, asks: int) -> None:
    engine = Engine(release)
    reader_of(engine).read(NOW)
    assert asks == len(engine.asked_from)


def test_the_newest_value_of_each_entity_stands() -> None:
    engine = Engine()
    reader = reader_of(engine)
    assert NOTHING == list(reader.read(NOW))
    events = [raw(gpu(0), 230, 31, timestamp=NOW + 1), raw(gpu(0), 230, 43, timestamp=NOW + 2)]
    engine.told = [*events, NOTHING[1]]
    assert [events[1], NOTHING[1]] == list(reader.read(NOW + 20))
    assert events == list(reader.told[gpu(0)])
    engine.told = NOTHING
    assert [events[1], NOTHING[1]] == list(reader.read(NOW + 1000))


def test_a_refusal_is_no_absence_of_xids() -> None:
    engine = Engine(told=[raw(gpu(0), 230, 31), NOTHING[1]])
    reader = reader_of(engine)
    before = list(reader.read(NOW))
    engine.refuses = True
    assert before == list(reader.read(NOW + 20))
    assert {} == reader.told


@pytest.mark.parametrize(
    ("second", "from_there"),
    [
        (NOW + 20, NOW - KEPT_FOR),
        (NOW + 7200, NOW - KEPT_FOR),  # the clock was set ahead
        (NOW - 7200, NOW - 7200 - KEPT_FOR),  # or back
    ],
)
def test_no_xid_is_missed_when_the_clock_is_set(second: float, from_there: float) -> None:
    engine = Engine()
    reader = reader_of(engine)
    reader.read(NOW)
    reader.read(second)
    assert [0.0, from_there] == engine.asked_from
