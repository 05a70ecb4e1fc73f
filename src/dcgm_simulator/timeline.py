"""A file of control commands and when to carry them out: ``at 60s lose-gpu 3``."""

from __future__ import annotations

import re
import shlex
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgm_simulator.commands import Engine, WrongCommand, carry_out, parse
from dcgm_simulator.control import ControlError
from dcgm_simulator.series import SECOND

TIME = re.compile(r"(\d+(?:\.\d+)?)(s|m|h)", re.ASCII)
UNITS = {"s": 1, "m": 60, "h": 3600}


class BadTimeline(Exception):
    """Raised for a wrong line; the text is one sentence with file and line."""


@dataclass(frozen=True)
class Event:
    """A command and the time, in µs since the start, to carry it out at."""

    time: int
    place: str
    command: str
    arguments: dict[str, Any]


def read_timeline(path: Path) -> list[Event]:
    """Read a file, in the order of time; empty lines and comments (#) are skipped.

    Raises BadTimeline.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        message = f"{path}: {error.strerror}"
        raise BadTimeline(message) from None
    except UnicodeDecodeError:
        message = f"{path} is not UTF-8 text"
        raise BadTimeline(message) from None
    return sorted(_events(path, lines), key=lambda event: event.time)


def _events(path: Path, lines: list[str]) -> Iterator[Event]:
    for number, line in enumerate(lines, 1):
        try:
            words = shlex.split(line, comments=True)
            if words:
                yield _event(f"{path}, line {number}", words)
        except (ValueError, WrongCommand) as error:
            message = f"{path}, line {number}: {error}"
            raise BadTimeline(message) from None


def _event(place: str, words: list[str]) -> Event:
    match words:
        case ["at", time, _, *_] if found := TIME.fullmatch(time):
            amount, unit = found.groups()
            command, arguments = parse(words[2:])
            return Event(round(float(amount) * UNITS[unit] * SECOND), place, command, arguments)
    message = f"{shlex.join(words)!r} is not 'at TIME COMMAND', such as 'at 60s lose-gpu 3'"
    raise ValueError(message)


class Timeline:
    """The events yet to come, by the clock of the engine, which tests can set ahead."""

    def __init__(self, events: list[Event], start: int, complain: Callable[[str], object]) -> None:
        self._events = deque(events)
        self._start = start
        self._complain = complain

    def seconds_left(self, now: int) -> float | None:
        """Return how long it is until the next event, None after the last."""
        if not self._events:
            return None
        return max(0.0, (self._start + self._events[0].time - now) / SECOND)

    def carry_out(self, engine: Engine) -> None:
        """Carry out what is due; say in a sentence what cannot be."""
        while self._events and self.seconds_left(engine.host.clock()) == 0:
            event = self._events.popleft()
            try:
                carry_out(engine, event.command, event.arguments)
            except ControlError as error:
                self._complain(f"{event.place}: {error}")
