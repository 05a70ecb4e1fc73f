"""The thread that checks passwords: what waits, how much may, and what a flood costs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from do_dcgm_exporter.serve.access.password_checker import PasswordChecker
from do_dcgm_exporter.serve.access.passwords import Credentials

PATIENCE = 120


class Passwords:
    """Only "right" is right, and nothing is known before ``open``."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.open = threading.Event()
        self.verified: list[bytes] = []
        self.remembered: list[bytes] = []

    def verify(self, credentials: Credentials) -> bool:
        self.begun.set()
        assert self.open.wait(PATIENCE)
        self.verified.append(credentials.password)
        if credentials.password == b"broken":
            raise LookupError
        return credentials.password == b"right"

    def remember(self, _: Credentials, digest: bytes) -> None:
        self.remembered.append(digest)


class Desk:
    """A checker and those who ask it."""

    def __init__(self, **options: Any) -> None:
        self.passwords = Passwords()
        self.slept: list[float] = []
        options = {"sleep": self.slept.append} | options
        self.checker = PasswordChecker(**options)

    def ask(self, password: bytes, address: str = "a") -> asyncio.Future[bool] | None:
        credentials = Credentials(b"user", password)
        return self.checker.check(self.passwords, credentials, password, address)


def run(scene: Callable[[], Any]) -> None:
    """Play a scene on an event loop."""
    asyncio.run(asyncio.wait_for(scene(), PATIENCE))


def test_verdicts_come_in_order_and_what_is_right_is_remembered():
    async def scene():
        desk = Desk(queue_per_address=9)
        verdicts = [desk.ask(password) for password in (b"wrong", b"right", b"other")]
        desk.passwords.open.set()

        assert [False, True, False] == await asyncio.gather(*verdicts)
        assert [b"wrong", b"right", b"other"] == desk.passwords.verified
        assert [b"right"] == desk.passwords.remembered
        desk.checker.stop()

    run(scene)


def test_the_same_credentials_are_checked_once_for_all_who_wait():
    async def scene():
        desk = Desk()
        verdicts = [desk.ask(b"right", address) for address in "abcdef"]
        desk.passwords.open.set()

        assert 6 * [True] == await asyncio.gather(*verdicts)
        assert [b"right"] == desk.passwords.verified
        desk.checker.stop()

    run(scene)


def test_no_address_may_have_more_than_its_share_waiting():
    async def scene():
        desk = Desk(queue_per_address=2)
        assert all((desk.ask(b"1"), desk.ask(b"2")))
        assert desk.ask(b"3") is None
        another = desk.ask(b"4", "b")
        assert another
        desk.passwords.open.set()

        assert not await another
        assert desk.ask(b"5")  # the first two are through
        desk.checker.stop()

    run(scene)


def test_all_together_may_not_have_more_waiting_than_can_wait():
    async def scene():
        desk = Desk(longest_queue=5)
        waiting = [desk.ask(b"%d" % number, str(number)) for number in range(5)]
        assert all(waiting)
        assert desk.ask(b"5", "5") is None
        desk.passwords.open.set()
        await asyncio.gather(*waiting)

        assert desk.ask(b"6", "6")
        desk.checker.stop()

    run(scene)


def test_a_wrong_password_is_followed_by_a_rest_as_long_as_it_took():
    async def scene():
        times = iter([0.0, 0.25, 1.0, 10.0])
        desk = Desk(clock=lambda: next(times))
        desk.passwords.open.set()
        await asyncio.gather(desk.ask(b"wrong"))
        await asyncio.gather(desk.ask(b"right"))

        assert [0.25] == desk.slept
        desk.checker.stop()

    run(scene)


def test_an_error_goes_to_whoever_asked_and_the_next_is_checked():
    async def scene():
        desk = Desk()
        desk.passwords.open.set()
        with pytest.raises(LookupError):
            await desk.ask(b"broken")

        assert await desk.ask(b"right")
        desk.checker.stop()

    run(scene)


def test_what_waits_when_it_is_stopped_is_still_checked_and_the_thread_ends():
    async def scene():
        desk = Desk()
        verdict = desk.ask(b"right")
        desk.checker.stop()
        desk.passwords.open.set()

        assert await verdict
        desk.checker._thread.join(PATIENCE)
        assert not desk.checker._thread.is_alive()

    run(scene)


def test_a_loop_that_has_ended_hurts_nobody():
    checkers = []

    async def scene():
        desk = Desk()
        desk.ask(b"right")
        checkers.append(desk)

    run(scene)
    checkers[0].passwords.open.set()
    checkers[0].checker.stop()
    checkers[0].checker._thread.join(PATIENCE)
    assert not checkers[0].checker._thread.is_alive()


def test_at_the_end_the_check_that_has_begun_is_waited_for_and_no_other_begins():
    asked: list[Desk] = []

    async def scene():
        desk = Desk(queue_per_address=9)
        asked.append(desk)
        for password in (b"wrong", b"other", b"third"):
            desk.ask(password)
        await asyncio.to_thread(desk.passwords.begun.wait, PATIENCE)

    run(scene)
    (desk,) = asked
    desk.checker.stop()
    opening = threading.Timer(0.2, desk.passwords.open.set)
    opening.start()
    desk.checker.wait(PATIENCE)

    assert [b"wrong"] == desk.passwords.verified
    opening.join()
