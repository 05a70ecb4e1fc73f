"""Virtual time and controlled threads: one runs at a time, the seed decides which.

Each controlled thread is a real one that holds the baton while it runs. It passes the baton on
only when it waits, so nothing else happens between two waits, and the whole run is a
function of the seed.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
import threading
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace

from tests.simulation.clocks import Clocks


class Ended(BaseException):
    """Raised in controlled threads when the run is over; no room catches it."""


class Task:
    """One controlled thread, or the one that started the run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.baton = threading.Semaphore(0)
        self.wakes_at = 0.0
        self.was_woken = False
        self.is_over = False


class Scheduler:
    """Decides who runs when. ``violation`` is the first exception in a thread or callback."""

    def __init__(self, clocks: Clocks, generator: random.Random) -> None:
        self.clocks = clocks
        self._random = generator
        self._callbacks: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self.current = Task("main")
        self._waiting: list[Task] = []
        self._threads: list[threading.Thread] = []
        self._is_over = False
        self.violation: BaseException | None = None

    # Threads

    def spawn(self, name: str, run: Callable[[], object]) -> Task:
        """Start ``run`` in a new thread, once its turn comes."""
        task = Task(name)
        task.wakes_at = self.clocks.monotonic()

        def body() -> None:
            task.baton.acquire()
            try:
                if not self._is_over:
                    run()
            except Ended:
                pass
            except BaseException as error:  # noqa: BLE001 - told by end()
                self.fail(error)
            task.is_over = True
            if not self._is_over:
                self._pass_on(task)

        thread = threading.Thread(target=body, name=f"simulated {name}", daemon=True)
        self._threads.append(thread)
        self._waiting.append(task)
        thread.start()
        return task

    @property
    def running(self) -> list[str]:
        """The names of the controlled threads that have not ended."""
        return [task.name for task in (*self._waiting, self.current) if not task.is_over]

    def end(self) -> None:
        """End all controlled threads, wherever they wait."""
        self._is_over = True
        for task in self._waiting:
            task.baton.release()
        for thread in self._threads:
            thread.join(30)
        if any(thread.is_alive() for thread in self._threads):
            raise RuntimeError("a controlled thread waits for something that is not simulated")

    def fail(self, error: BaseException) -> None:
        """Note a violated invariant, or an exception that ended a thread."""
        self.violation = self.violation or error

    # Waiting

    def sleep(self, seconds: float) -> None:
        """Let time pass for the current thread."""
        self.wait(seconds)

    def wait(self, seconds: float = math.inf) -> bool:
        """Wait for ``wake`` or a number of seconds; return whether it was woken."""
        if self._is_over:
            raise Ended
        task = self.current
        task.was_woken = False
        task.wakes_at = self.clocks.monotonic() + max(0.0, seconds)
        self._waiting.append(task)
        self._pass_on(task)
        if self._is_over or (self.violation and task.name == "main"):
            raise Ended
        return task.was_woken

    def wake(self, task: Task) -> None:
        """Make a waiting thread ready to run."""
        task.was_woken = True
        task.wakes_at = self.clocks.monotonic()

    def at(self, seconds: float, act: Callable[[], None]) -> None:
        """Call ``act`` after a number of seconds, in whichever thread lets time pass."""
        due = self.clocks.monotonic() + seconds
        heapq.heappush(self._callbacks, (due, next(self._numbers), act))

    def _pass_on(self, task: Task) -> None:
        """Find out who runs next, and wait until that is ``task`` again."""
        chosen = self._next()
        self.current = chosen
        if chosen is not task:
            chosen.baton.release()
            if not task.is_over:
                task.baton.acquire()

    def _next(self) -> Task:
        while True:
            if self.violation:
                return self._take(self._main())
            now = self.clocks.monotonic()
            ready = [task for task in self._waiting if task.wakes_at <= now]
            if self._callbacks and self._callbacks[0][0] <= now:
                self._call_back()
            elif ready:
                chosen = ready[0] if len(ready) == 1 else self._random.choice(ready)
                return self._take(chosen)
            else:
                self._advance()

    def _main(self) -> Task:
        return next(task for task in self._waiting if task.name == "main")

    def _take(self, task: Task) -> Task:
        self._waiting.remove(task)
        return task

    def _call_back(self) -> None:
        _, _, act = heapq.heappop(self._callbacks)
        try:
            act()
        except BaseException as error:  # noqa: BLE001 - told by end()
            self.fail(error)

    def _advance(self) -> None:
        times = [task.wakes_at for task in self._waiting]
        if self._callbacks:
            times.append(self._callbacks[0][0])
        earliest = min(times)
        if math.isinf(earliest):
            raise RuntimeError("everybody waits for ever")
        self.clocks.advance_to(earliest)


class _Event:
    """``threading.Event`` under a scheduler."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._is_set = False
        self._waiters: list[Task] = []

    def is_set(self) -> bool:
        return self._is_set

    def set(self) -> None:
        self._is_set = True
        for task in self._waiters:
            self._scheduler.wake(task)
        self._waiters.clear()

    def clear(self) -> None:
        self._is_set = False

    def wait(self, timeout: float | None = None) -> bool:
        if self._is_set:
            return True
        task = self._scheduler.current
        self._waiters.append(task)
        self._scheduler.wait(math.inf if timeout is None else timeout)
        if task in self._waiters:
            self._waiters.remove(task)
        return self._is_set


class _Thread:
    """``threading.Thread`` under a scheduler."""

    def __init__(
        self,
        scheduler: Scheduler,
        target: Callable[[], object],
        name: str = "",
        daemon: bool | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._target, self._name, self.daemon = target, name, daemon
        self._over = _Event(scheduler)

    def start(self) -> None:
        self._task = self._scheduler.spawn(self._name, self._run)

    def _run(self) -> None:
        self._target()
        self._over.set()

    def join(self, timeout: float | None = None) -> None:
        self._over.wait(timeout)

    def is_alive(self) -> bool:
        return not self._over.is_set()


def threading_of(scheduler: Scheduler) -> SimpleNamespace:
    """Return what the rooms use of ``threading``, controlled; no lock is held over a wait."""
    return SimpleNamespace(
        Event=partial(_Event, scheduler),
        Thread=partial(_Thread, scheduler),
        Lock=threading.Lock,
    )
