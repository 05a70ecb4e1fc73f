"""Questions that only one source waits for."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import pytest
from tests.builders import Clock
from tests.waiting import wait_until

from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable, ReturnCode
from do_dcgm_exporter.dcgm.side_call import SideCall

# So patient that a busy machine answers in time.
INTERVAL = 240.0


@dataclass
class Engine:
    """Answers with how often it was asked; ``may_answer`` holds it up."""

    asked: int = 0
    error: Exception | None = None
    may_answer: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.may_answer.set()

    def ask(self) -> int:
        self.asked += 1
        number = self.asked
        self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return number


def call_of(engine: Engine, clock: Clock, interval: float = INTERVAL) -> SideCall[int]:
    return SideCall(engine.ask, 10.0, interval, clock)


def test_it_is_asked_again_when_its_time_has_come() -> None:
    engine, clock = Engine(), Clock()
    call = call_of(engine, clock)
    found = []
    for clock.now in (0.0, 9.9, 10.0, 19.9, 35.0):
        found.append(call.answer())
    assert [1, 1, 2, 2, 3] == found


def test_a_refusal_is_told_until_the_next_answer() -> None:
    engine, clock = Engine(error=CallRefused("no", ReturnCode.VERSION_MISMATCH)), Clock()
    call = call_of(engine, clock)
    for clock.now in (0.0, 5.0):
        with pytest.raises(CallRefused, match="no") as caught:
            call.answer()
        assert ReturnCode.VERSION_MISMATCH == caught.value.code
    assert 1 == engine.asked
    engine.error = None
    clock.now = 10.0
    assert 2 == call.answer()


def test_a_connection_that_is_gone_is_found_out_by_others() -> None:
    engine = Engine(error=EngineUnavailable("gone", ReturnCode.TIMEOUT))
    with pytest.raises(CallRefused, match="gone"):
        call_of(engine, Clock()).answer()


def test_a_bug_is_no_refusal() -> None:
    with pytest.raises(ZeroDivisionError):
        call_of(Engine(error=ZeroDivisionError()), Clock()).answer()


def test_an_answer_that_takes_long_is_late_and_nobody_waits_for_it() -> None:
    engine, clock = Engine(), Clock()
    engine.may_answer.clear()
    call = call_of(engine, clock, interval=0.1)
    for clock.now, words in ((0.0, "for 0 s"), (45.0, "for 45 s")):
        with pytest.raises(CallRefused, match=words):
            call.answer()
    assert 1 == engine.asked  # one question at a time, however long it takes
    engine.may_answer.set()

    def late_answer() -> int:
        try:
            return call.answer()
        except CallRefused:
            return 0

    assert wait_until(late_answer, "the answer") >= 1


def test_the_answer_before_stands_while_the_next_one_is_awaited() -> None:
    engine, clock = Engine(), Clock()
    call = call_of(engine, clock, interval=0.1)
    wait_until(lambda: _answer_or_none(call) == 1, "the first answer")
    engine.may_answer.clear()
    clock.now = 10.0
    assert 1 == call.answer()
    clock.now = 20.0
    assert 1 == call.answer()
    clock.now = 20.3
    with pytest.raises(CallRefused, match=r"has not answered for 10\.3 s"):
        call.answer()
    engine.may_answer.set()


def _answer_or_none(call: SideCall[int]) -> int | None:
    try:
        return call.answer()
    except CallRefused:
        return None
