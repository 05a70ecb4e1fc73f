"""Killed at any point, the tool can go on or back; and two runs at once do what one does."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.unit.integration.conftest import UNIT, Machine
from tests.unit.integration.runs import CLIENT, READING, STATE, apply, means, restarts, undo

from do_dcgm_exporter.integration.changing.running import alone
from do_dcgm_exporter.integration.looking.configuration import Choice

# The child touches nothing of the threads that serve pages here.
pytestmark = pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")

CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.symlink"}
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT


def is_change(event: str, arguments: tuple[Any, ...]) -> bool:
    """Whether an audited event changes the disk, or has another program change something."""
    if event == "open":
        path, _, flags = arguments
        return isinstance(flags, int) and bool(flags & WRITING) and path != os.devnull
    if event == "subprocess.Popen":
        program, verb, *_ = arguments[1]
        return program != "busctl" and verb not in READING
    return event in CHANGES


def killed_before(change: int, work: Callable[[], object]) -> str:
    """Do ``work`` in a child that is killed just before a change; return what that was.

    Nothing if it came to its end without so many changes.
    """
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        count = 0

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            nonlocal count
            if is_change(event, arguments):
                if count == change:
                    os.write(writer, event.encode())
                    os.kill(os.getpid(), signal.SIGKILL)
                count += 1

        sys.addaudithook(watch)
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader) as pipe:
        event = pipe.read()
    _, status = os.waitpid(pid, 0)
    assert os.WTERMSIG(status) == (signal.SIGKILL if event else 0), "it fell before it was killed"
    assert event or os.WEXITSTATUS(status) == 0, "it failed by itself"
    return event


def every_point(work: Callable[[], object], *changes: str) -> Iterator[int]:
    """Yield after ``work`` was killed before its first change, its second, and so on.

    Each of the ``changes`` has to be among those at which it was.
    """
    seen: set[str] = set()
    change = 0
    while event := killed_before(change, work):
        seen.add(event)
        yield change
        change += 1
    assert seen >= {"subprocess.Popen", *changes}


def test_apply_can_be_killed_at_any_point(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    points = 0
    for points in every_point(lambda: apply(exporter), "os.mkdir", "open", "os.rename"):
        if points % 2:
            assert apply(exporter), points
            assert CLIENT == exporter.engine_of(UNIT), points
        assert undo(exporter), points
        assert before == (exporter.files(), exporter.states()), points
    assert points > 10


@pytest.mark.parametrize("first", [Choice.REWRITE, Choice.STOP])
def test_restore_can_be_killed_at_any_point(exporter: Machine, first: Choice) -> None:
    before = exporter.files(), exporter.states()
    apply(exporter, first)
    points = 0
    for points in every_point(lambda: undo(exporter), "os.remove"):
        assert undo(exporter), points
        assert before == (exporter.files(), exporter.states()), points
        apply(exporter, first)
    assert points > 5


@pytest.mark.parametrize("goes_on", [True, False])
def test_stopping_can_be_killed_at_any_point(exporter: Machine, goes_on: bool) -> None:
    # It is left there; a run that has to make it has more points than the next.
    (exporter.root / STATE / "stopped").mkdir(parents=True)
    before = exporter.files(), exporter.states()
    points = 0
    for points in every_point(lambda: apply(exporter, Choice.STOP), "os.rename", "os.remove"):
        if goes_on:
            assert apply(exporter, Choice.STOP), points
            assert "inactive" == exporter.run_of(UNIT)["active"], points
        assert undo(exporter), points
        assert before == (exporter.files(), exporter.states()), points
    assert points > 5


def test_putting_back_what_did_not_come_back_can_be_killed_at_any_point(refuser: Machine) -> None:
    before = refuser.files(), refuser.states()
    points = 0
    for points in every_point(lambda: apply(refuser), "os.mkdir", "os.rename", "os.rmdir"):
        assert not apply(refuser), points
        assert before[1] == refuser.states(), points
        undo(refuser)
        assert before == (refuser.files(), refuser.states()), points
    assert points > 10


def test_a_second_run_waits_for_the_first(exporter: Machine) -> None:
    runs = [threading.Thread(target=apply, args=(exporter,)) for _ in range(2)]
    exporter.forget_asked()
    with alone(means(exporter)) as is_alone:
        assert is_alone
        with alone(means(exporter), waits=False) as other_is:
            assert not other_is, "both hold the lock"
        for run in runs:
            run.start()
            while exporter.said != ["waiting for another run to end"]:
                time.sleep(0.01)
        assert [] == exporter.asked()
    for run in runs:
        run.join()
    assert 1 == restarts(exporter)
