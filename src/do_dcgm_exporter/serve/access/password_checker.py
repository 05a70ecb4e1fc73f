"""Check passwords on a thread of their own, so that serving never waits for bcrypt.

The queue is bounded, as a whole and per address, and each wrong password is followed by a
pause: no flood of them takes more than half a core.
"""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from do_dcgm_exporter.serve.access.passwords import Credentials, Passwords

_LONGEST_QUEUE = 16
_QUEUE_PER_ADDRESS = 2


@dataclass(frozen=True, slots=True)
class _Check:
    """A password to check, and who waits for the verdict."""

    passwords: Passwords
    credentials: Credentials
    digest: bytes
    address: str
    verdict: asyncio.Future[bool]


class PasswordChecker:
    """Checks passwords one by one; its methods are for the event loop alone."""

    def __init__(
        self,
        *,
        longest_queue: int = _LONGEST_QUEUE,
        queue_per_address: int = _QUEUE_PER_ADDRESS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] | None = None,
    ) -> None:
        self._longest_queue = longest_queue
        self._queue_per_address = queue_per_address
        self._clock = clock
        self._stopped = threading.Event()
        self._sleep = sleep or self._stopped.wait
        self._loop = asyncio.get_running_loop()
        self._queue: queue.SimpleQueue[_Check | None] = queue.SimpleQueue()
        self._waiting: dict[bytes, asyncio.Future[bool]] = {}
        self._by_address: Counter[str] = Counter()
        self._thread = threading.Thread(target=self._run, name="passwords", daemon=True)
        self._thread.start()

    def check(
        self, passwords: Passwords, credentials: Credentials, digest: bytes, address: str
    ) -> asyncio.Future[bool] | None:
        """Return the verdict to come, or None if too many are waiting already.

        The same credentials, sent again meanwhile, share the verdict.
        """
        if digest in self._waiting:
            return self._waiting[digest]
        if (
            len(self._waiting) >= self._longest_queue
            or self._by_address[address] >= self._queue_per_address
        ):
            return None
        verdict: asyncio.Future[bool] = self._loop.create_future()
        self._waiting[digest] = verdict
        self._by_address[address] += 1
        self._queue.put(_Check(passwords, credentials, digest, address, verdict))
        return verdict

    def stop(self) -> None:
        """Have the thread end when its queue is empty; return at once."""
        self._stopped.set()
        self._queue.put(None)

    def wait(self, seconds: float) -> None:
        """Wait that long for the thread to end.

        A process that exits during a check aborts: Python unwinds threads that return to it,
        which bcrypt's Rust does not allow.
        """
        self._thread.join(seconds)

    def _run(self) -> None:
        # Once the loop has ended, no one is waiting for a verdict.
        while (check := self._queue.get()) and not self._loop.is_closed():
            started = self._clock()
            try:
                is_right = check.passwords.verify(check.credentials)
            except Exception as error:  # noqa: BLE001 - passed on to the caller
                self._tell(check, error)
                continue
            self._tell(check, is_right)
            if not is_right:
                self._sleep(self._clock() - started)

    def _tell(self, check: _Check, outcome: bool | Exception) -> None:
        try:
            self._loop.call_soon_threadsafe(self._settle, check, outcome)
        except RuntimeError:
            pass  # the loop has ended, and all callers with it

    def _settle(self, check: _Check, outcome: bool | Exception) -> None:
        del self._waiting[check.digest]
        self._by_address[check.address] -= 1
        if not self._by_address[check.address]:
            del self._by_address[check.address]
        if outcome is True:
            check.passwords.remember(check.credentials, check.digest)
        if isinstance(outcome, Exception):
            check.verdict.set_exception(outcome)
        else:
            check.verdict.set_result(outcome)
