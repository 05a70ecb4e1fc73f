"""A GPU is lost and comes back as it did on real engines, step by step."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from tests.builders import DATA

from dcgm_simulator.codes import EntityGroup, StatusError, is_sentinel
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import SECOND, Watch
from dcgm_simulator.versions import VERSIONS

LOST, OTHER = 3, 2
HEALTHY = "healthy, 6 s after watching"
STEPS = (
    "XID 31 on GPU 2, 3 s later",
    "XID 79 on GPU 3 and NVML says it is lost, 3 s later",
    "still lost, 12 s later",
    "still lost, watched anew",
    "GPU 3 answers again, 4 s later",
    "10 s later",
)
# What these say differs with the card and its driver, not with the engine.
OF_THE_MACHINE = frozenset({391, 526})


class Clock:
    """A time that only the test moves."""

    now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture(params=VERSIONS)
def recording(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The faults recorded of each release."""
    path = DATA / "recordings" / f"dcgm-{request.param}-h100x8-faults.json.gz"
    with gzip.open(path, "rt") as stream:
        content: dict[str, Any] = json.load(stream)
    return content


def kind_of(value: list[Any], now: int) -> str:
    """Return what an answer is: its status, or how its value and its timestamp are."""
    *_, status, timestamp, payload = value
    if status:
        return f"status {status}"
    is_old = now - timestamp > 2.5 * SECOND
    return f"{'an old' if is_old else 'a new'} {'blank' if is_sentinel(payload) else 'value'}"


def answers(host: Host, recorded: list[list[Any]], gpu: int, now: int) -> dict[int, str]:
    """Return what the simulated engine answers for the recorded fields of a GPU."""
    fields, found = host.cache.fields(), {}
    for group, entity, field, *_ in recorded:
        if (group, entity) == (EntityGroup.GPU, gpu) and field in fields:
            record = host.cache.latest(Entity(group, entity), fields[field], now, live=False)
            answer = [record.status, record.timestamp, record.value]
            found[field] = kind_of(answer, now)
    return found


def recorded_answers(step: dict[str, Any], gpu: int) -> dict[int, str]:
    """Return what the real engine answered at a step."""
    return {
        value[2]: kind_of(value, step["time_us"])
        for value in step["values"] + step["prof"]
        if (value[0], value[1]) == (EntityGroup.GPU, gpu)
    }


def watch_all(host: Host, recorded: list[list[Any]], now: int) -> None:
    fields = host.cache.fields()
    for group, entity, field, *_ in recorded:
        watch = Watch(SECOND, 0.0, 1)
        host.cache.watch(1, Entity(group, entity), fields[field], watch, now)


def test_every_step_is_repeated_in_lists_identities_statuses_and_kinds_of_values(
    recording: dict[str, Any],
) -> None:
    clock = Clock()
    host = Host("h100x8", recording["dcgm_version"], clock=clock)
    steps = {step["what"]: step for step in recording["steps"]}
    started = steps[HEALTHY]
    everything = started["values"] + started["prof"]
    watch_all(host, everything, clock.now)
    clock.now += 6 * SECOND
    before = {gpu: answers(host, everything, gpu, clock.now) for gpu in (LOST, OTHER)}
    # Fields that this card lacks and that of the simulator has are of no interest here.
    alike = {
        gpu: {f for f, kind in recorded_answers(started, gpu).items() if before[gpu][f] == kind}
        - OF_THE_MACHINE
        for gpu in (LOST, OTHER)
    }
    assert all(len(fields) > 45 for fields in alike.values())

    time = started["time_us"]
    for what in STEPS:
        step = steps[what]
        clock.now += step["time_us"] - time
        time = step["time_us"]
        moment = clock.now - 3 * SECOND
        if what.startswith("XID 31"):
            (stamp,) = (v[5] for v in step["values"] if v[1:3] == [OTHER, 230])
            reported = clock.now - (time - stamp)
            host.xids.report(Entity(EntityGroup.GPU, OTHER), 31, reported)
        elif what.startswith("XID 79"):
            host.faults.lose(LOST, moment - SECOND // 2)
        elif what.startswith("GPU 3 answers"):
            host.faults.restore(LOST, moment)
        host.cache.settle(clock.now)
        assert host.devices() == step["all_devices"], what
        assert host.supported_devices() == step["supported_devices"], what
        for gpu, status in step["gpu_status"].items():
            assert status in ("no such function", host.gpu_status(int(gpu))), what
        for gpu in (LOST, OTHER):
            own = host.attributes(gpu)["identifiers"]
            recorded = step[f"identity of GPU {gpu}"]
            same = {
                name: is_sentinel(text) == is_sentinel(own[name]) for name, text in recorded.items()
            }
            assert all(same.values()), (what, gpu, own)
            found, expected = answers(host, everything, gpu, clock.now), recorded_answers(step, gpu)
            different = {f: (found[f], expected[f]) for f in alike[gpu] if found[f] != expected[f]}
            assert not different, (what, gpu)
        own_links = {str(gpu): states for gpu, states in host.nvlink_status()["gpus"]}
        assert (sum(own_links[str(LOST)]) == 0) == (sum(step["nvlink_status"][str(LOST)]) == 0)


def test_a_lost_gpu_may_be_grouped_only_where_it_was_recorded(recording: dict[str, Any]) -> None:
    clock = Clock()
    host = Host("h100x8", recording["dcgm_version"], clock=clock)
    host.connect(1, recording["dcgm_version"])
    host.faults.lose(LOST, clock.now)
    clock.now += 2 * SECOND
    group = host.registry.create_group(1, 1, "g")
    refused = {}
    for gpu in host.devices():
        try:
            host.registry.add_entity(group, Entity(EntityGroup.GPU, gpu))
        except StatusError as error:
            refused[f"1:{gpu}"] = error.status
    recorded = {
        entity: error["code"]
        for entity, error in recording["a new watch while GPU 3 is lost"][0]["refused"].items()
    }
    assert refused == recorded
