"""Play the steps of a recording on a simulated engine, and compare what both answer."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tests.builders import DATA

from dcgm_simulator.codes import is_sentinel
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import SECOND, Watch

_Look = TypeVar("_Look")
Kinds = dict[tuple[int, int, int], str]
"""The kind of each answer, by kind of entity, entity and field."""


class Clock:
    """A clock that only the test moves."""

    now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


def load_recording(name: str) -> dict[str, Any]:
    """Return a recording of tests/data."""
    with gzip.open(DATA / "recordings" / f"{name}.json.gz", "rt") as stream:
        content: dict[str, Any] = json.load(stream)
    return content


def watch_all(host: Host, keys: Iterable[tuple[int, int, int]], now: int) -> None:
    """Watch fields of entities every second, as was done for the recordings."""
    fields = host.cache.fields()
    for group, entity, field in keys:
        watch = Watch(SECOND, 0.0, 1)
        host.cache.watch(1, Entity(group, entity), fields[field], watch, now)


def recorded_kinds(step: dict[str, Any]) -> Kinds:
    """Return what the real engine answered at a step."""
    return {
        (group, entity, field): _kind_of(status, timestamp, value, step["time_us"])
        for group, entity, field, _, status, timestamp, value in step["values"] + step["prof"]
    }


def simulated_kinds(host: Host, keys: Iterable[tuple[int, int, int]]) -> Kinds:
    """Return what the simulated engine answers."""
    fields, now, found = host.cache.fields(), host.clock(), {}
    for group, entity, field in keys:
        record = host.cache.latest(Entity(group, entity), fields[field], now, live=False)
        kind = _kind_of(record.status, record.timestamp, record.value, now)
        found[group, entity, field] = kind
    return found


def play(
    host: Host,
    clock: Clock,
    steps: Iterable[dict[str, Any]],
    bring_about: Callable[[dict[str, Any]], None],
    look: Callable[[Host, dict[str, Any]], _Look],
) -> list[_Look]:
    """Watch what the first step has, bring about each step at its time, and look."""
    steps = list(steps)
    watch_all(host, recorded_kinds(steps[0]), clock.now)
    clock.now += 6 * SECOND
    found, time = [], steps[0]["time_us"]
    for step in steps:
        clock.now += step["time_us"] - time
        time = step["time_us"]
        bring_about(step)
        host.cache.events.settle(clock.now)
        found.append(look(host, step))
    return found


def _kind_of(status: int, timestamp: int, value: Any, now: int) -> str:
    """Return the status of an answer, or whether its value and timestamp are new."""
    if status:
        return f"status {int(status)}"
    is_old = now - timestamp > 2.5 * SECOND
    return f"{'an old' if is_old else 'a new'} {'blank' if is_sentinel(value) else 'value'}"


def differences(found: Kinds, expected: Kinds) -> dict[tuple[int, int, int], tuple[str, str]]:
    """Return what differs from the recording: found and expected."""
    return {key: (found[key], kind) for key, kind in expected.items() if found[key] != kind}
