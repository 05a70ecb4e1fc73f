"""A GPU is lost and comes back as it did on real engines, step by step."""

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
)

from dcgm_simulator.codes import EntityGroup, StatusError, is_sentinel, sentinel
from dcgm_simulator.engine_log import NO_IDENTITY
from dcgm_simulator.faults import Override
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import SECOND
from dcgm_simulator.versions import VERSIONS

LOST, OTHER = 3, 2
HEALTHY = "healthy, 6 s after watching"
STEPS = (
    HEALTHY,
    "XID 31 on GPU 2, 3 s later",
    "XID 79 on GPU 3 and NVML says it is lost, 3 s later",
    "still lost, 12 s later",
    "still lost, watched anew",
    "GPU 3 answers again, 4 s later",
    "10 s later",
    "reading the temperature of GPU 2 fails with unknown error, 3 s later",
    "all that NVML does without a device fails, 3 s later",
)
TEMPERATURE = 150
# What these say differs with the card and its driver, not with the engine.
OF_THE_MACHINE = frozenset({391, 526})


class Played(NamedTuple):
    """What the simulated engine answered at a step."""

    devices: list[int]
    supported: list[int]
    statuses: dict[str, int]
    identities: dict[int, dict[str, bool]]
    """Which names of GPU 2 and 3 are reported."""
    lines_about_identity: int
    has_links: bool
    values: Kinds


@functools.cache
def recording_of(version: str) -> dict[str, Any]:
    return load_recording(f"dcgm-{version}-h100x8-faults")


def steps_of(version: str) -> dict[str, dict[str, Any]]:
    return {step["what"]: step for step in recording_of(version)["steps"]}


def of_both(kinds: Kinds) -> Kinds:
    """Keep the GPU that is lost and one that is not."""
    gpus = {(EntityGroup.GPU, LOST), (EntityGroup.GPU, OTHER)}
    return {key: kind for key, kind in kinds.items() if key[:2] in gpus}


def told(identity: dict[str, Any]) -> dict[str, bool]:
    return {name: not is_sentinel(text) for name, text in identity.items()}


def look(host: Host, step: dict[str, Any]) -> Played:
    before = host.log.lines[NO_IDENTITY]
    identities = {
        gpu: told({name: own[name] for name in step[f"identity of GPU {gpu}"]})
        for gpu in (LOST, OTHER)
        if (own := host.discovery.attributes(gpu)["identifiers"])
    }
    links = dict(host.discovery.nvlink_status()["gpus"])
    return Played(
        host.discovery.devices(),
        host.discovery.supported_devices(),
        {str(gpu): host.discovery.gpu_status(gpu) for gpu in host.discovery.devices()},
        identities,
        host.log.lines[NO_IDENTITY] - before,
        any(links[LOST]),
        simulated_kinds(host, of_both(recorded_kinds(step))),
    )


@functools.cache
def played(version: str) -> dict[str, Played]:
    """Play the recording of a release."""
    steps, clock = [steps_of(version)[what] for what in STEPS], Clock()
    host = Host("h100x8", version, clock=clock)

    def bring_about(step: dict[str, Any]) -> None:
        what, moment = step["what"], clock.now - 3 * SECOND
        if what.startswith("XID 31"):
            (stamp,) = (v[5] for v in step["values"] if v[1:3] == [OTHER, 230])
            time = clock.now - (step["time_us"] - stamp)
            host.xids.report(Entity(EntityGroup.GPU, OTHER), 31, time)
        elif what.startswith("XID 79"):
            host.faults.lose(LOST, moment - SECOND // 2)
        elif what.startswith("GPU 3 answers"):
            host.faults.restore(LOST, moment)
        elif what.startswith("reading the temperature"):
            blank = Override(moment, value=sentinel("i"))
            host.faults.override(Entity(EntityGroup.GPU, OTHER), TEMPERATURE, blank)
        elif what.startswith("all that NVML"):
            host.faults.release(Entity(EntityGroup.GPU, OTHER), TEMPERATURE, moment)
            host.faults.fail_library(moment)

    return dict(zip(STEPS, play(host, clock, steps, bring_about, look), strict=True))


@pytest.mark.parametrize("what", STEPS)
@pytest.mark.parametrize("version", VERSIONS)
def test_a_step_has_the_recorded_lists_identities_statuses_and_kinds_of_values(
    version: str, what: str
) -> None:
    step, found = steps_of(version)[what], played(version)[what]
    assert (step["all_devices"], step["supported_devices"]) == (found.devices, found.supported)
    if version != "3.3.9":
        assert step["gpu_status"] == found.statuses
    for gpu in (LOST, OTHER):
        assert told(step[f"identity of GPU {gpu}"]) == found.identities[gpu]
    of_discovery = step["engine_log"]["of discovery"]
    assert of_discovery.get(f"ERROR  {NO_IDENTITY}", 0) == found.lines_about_identity
    assert any(step["nvlink_status"][str(LOST)]) == found.has_links
    expected = {
        key: kind
        for key, kind in of_both(recorded_kinds(step)).items()
        if key[2] not in OF_THE_MACHINE
    }
    assert len(expected) > 90
    assert differences(found.values, expected) == {}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_lost_gpu_may_be_grouped_only_where_it_was_recorded(version: str) -> None:
    clock = Clock()
    host = Host("h100x8", version, clock=clock)
    host.connect(1, version)
    host.faults.lose(LOST, clock.now)
    clock.now += 2 * SECOND
    group = host.registry.create_group(1, 1, "g")
    refused = {}
    for gpu in host.discovery.devices():
        try:
            host.registry.add_entity(group, Entity(EntityGroup.GPU, gpu))
        except StatusError as error:
            refused[f"1:{gpu}"] = error.status
    recorded = {
        entity: error["code"]
        for entity, error in recording_of(version)["a new watch while GPU 3 is lost"][0][
            "refused"
        ].items()
    }
    assert refused == recorded
