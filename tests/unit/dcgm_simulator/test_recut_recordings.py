"""MIG GPUs have an XID, are cut anew and made whole as on real engines, step by step."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import pytest
from tests.unit.dcgm_simulator.replay import (
    Clock,
    Kinds,
    differences,
    load_recording,
    play,
    recorded_kinds,
    simulated_kinds,
    watch_all,
)

from dcgm_simulator.codes import EntityGroup, StatusError
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import SECOND
from dcgm_simulator.topology import hierarchy
from dcgm_simulator.versions import VERSIONS

XID, VGPU_LICENSE_STATUS = 230, 526
CUT, XID_STEP, OFF = 0, 1, 5
NEW_CUT, WATCHED = 2, 4
STEPS = range(6)
KINDS = ("GPU", "SWITCH", "GPU_I", "GPU_CI", "VGPU", "LINK")
"""Without those of CPUs, which the recorded machine does not have."""


class Played(NamedTuple):
    """What the simulated engine answered at a step."""

    entities: dict[str, Any]
    nodes: list[tuple[Any, Any, int]]
    links_up: list[bool]
    values: Kinds


def entities_of(host: Host) -> dict[str, Any]:
    """Return every kind's entities, or the status of the error, with both flags."""
    found: dict[str, Any] = {}
    for name in KINDS:
        for flags in (0, 1):
            try:
                found[f"{name} flags {flags}"] = host.discovery.entities(EntityGroup[name], flags)
            except StatusError as error:
                found[f"{name} flags {flags}"] = int(error.status)
    return found


def look(host: Host, step: dict[str, Any]) -> Played:
    # A client that looks at the hierarchy no longer asks for what is gone.
    there = [key for key in recorded_kinds(step) if host.machine.has(Entity(*key[:2]))]
    return Played(
        entities_of(host),
        [(entity, parent, info[-1]) for entity, parent, info in hierarchy(host.machine)],
        [any(states) for _, states in host.discovery.nvlink_status()["gpus"]],
        simulated_kinds(host, there),
    )


@functools.cache
def steps_of(version: str) -> list[dict[str, Any]]:
    steps: list[dict[str, Any]] = load_recording(f"dcgm-{version}-h100x8-recut")["steps"]
    return steps


@functools.cache
def played(version: str) -> list[Played]:
    """Play the recording of a release."""
    steps, clock = steps_of(version), Clock()
    host = Host("h100x8-mig", version, clock=clock)

    def bring_about(step: dict[str, Any]) -> None:
        number = steps.index(step)
        if number == XID_STEP:
            host.xids.report(Entity(EntityGroup.GPU, 0), 31, clock.now - 3 * SECOND)
        elif number in (NEW_CUT, OFF):
            host.machine.cut(0, ("3g.40gb", "3g.40gb") if number == NEW_CUT else ())
            host.hardware.forget()
            host.cache.forget_missing()
        elif number == WATCHED:
            watch_all(host, recorded_kinds(step), clock.now - 4 * SECOND)

    return play(host, clock, steps, bring_about, look)


@pytest.mark.parametrize("number", STEPS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_step_has_the_recorded_entities_parents_links_and_kinds_of_values(
    version: str, number: int
) -> None:
    step, found = steps_of(version)[number], played(version)[number]
    listed = {
        name: answer if isinstance(answer, list) else answer["code"]
        for name, answer in step["entities"].items()
        if name in found.entities
    }
    assert listed == found.entities
    nodes = [(n["entity"], n["parent"], n["nvmlProfileSlices"]) for n in step["hierarchy"]]
    assert nodes == found.nodes
    assert [any(states) for states in step["nvlink_status"].values()] == found.links_up
    expected = {
        key: kind
        for key, kind in recorded_kinds(step).items()
        if key in found.values and key[2] != VGPU_LICENSE_STATUS
    }
    assert differences(found.values, expected) == {}
