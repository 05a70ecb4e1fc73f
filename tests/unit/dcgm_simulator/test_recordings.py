"""What real engines answered, the simulated one answers: status, type and kind of value."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from tests.builders import DATA

from dcgm_simulator.codes import is_sentinel
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import SECOND, Watch

RECORDINGS = {
    "dcgm-3.3.9-h100x8": "h100x8",
    "dcgm-3.3.9-h100x8-mig": "h100x8-mig",
    "dcgm-4.2.3-h100x8": "h100x8",
    "dcgm-4.2.3-h100x8-mig": "h100x8-mig",
    "dcgm-4.2.3-a100x2": "a100-no-prof",
    "dcgm-4.5.3-h100x8": "h100x8",
    "dcgm-4.5.3-h100x8-mig": "h100x8-mig",
}
FRAMEBUFFER_OF_INSTANCE = {251, 252, 254}


class Clock:
    """A time that only the test moves."""

    now = 1_700_000_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture(params=RECORDINGS)
def recording(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each recording, with the scenario that should repeat it."""
    with gzip.open(DATA / "recordings" / f"{request.param}.json.gz", "rt") as stream:
        content: dict[str, Any] = json.load(stream)
    return content | {"scenario": RECORDINGS[request.param]}


def kind_of(value: Any) -> str:
    """Return the sentinel a value is, or that it is none."""
    return str(value) if is_sentinel(value) else "value"


def test_every_recorded_answer_is_repeated_in_kind(recording: dict[str, Any]) -> None:
    clock = Clock()
    host = Host(recording["scenario"], recording["dcgm_version"], clock=clock)
    fields = host.cache.fields()
    last = {(v[0], v[1], v[2]): v for cycle in recording["cycles"] for v in cycle["values"]}
    for group, entity, field in last:
        host.cache.watch(1, Entity(group, entity), fields[field], Watch(SECOND, 0.0, 1), clock.now)
    clock.now += 5 * SECOND

    different = []
    for (group, entity, field), (_, _, _, kind, status, stamp, value) in last.items():
        record = host.cache.latest(Entity(group, entity), fields[field], clock.now, live=False)
        own = (record.type, record.status, kind_of(record.value), record.timestamp == 0)
        if own != (kind, status, kind_of(value), stamp == 0):
            different.append((group, entity, field, own, (kind, status, value)))
    assert different == []


def test_identities_and_limits_are_the_recorded_ones(recording: dict[str, Any]) -> None:
    host = Host(recording["scenario"], recording["dcgm_version"])
    for gpu, recorded in recording["attributes"].items():
        own = host.machine.attributes(int(gpu))
        assert own["identifiers"].pop("deviceName").endswith(" (simulated)")
        real = recorded["identifiers"]
        assert {key: real[key] for key in own["identifiers"]} == own["identifiers"] or set(
            real
        ) - set(own["identifiers"]) == {"deviceName"}


def test_mig_hierarchy_is_the_recorded_one(recording: dict[str, Any]) -> None:
    from dcgm_simulator.topology import hierarchy

    host = Host(recording["scenario"], recording["dcgm_version"])
    own = [
        {
            "entity": {"entityGroupId": entity[0], "entityId": entity[1]},
            "parent": {"entityGroupId": parent[0], "entityId": parent[1]},
            "info": dict(zip(recording["gpu_instance_hierarchy"][0]["info"], info)),
        }
        for entity, parent, info in hierarchy(host.machine)
    ]
    assert own == recording["gpu_instance_hierarchy"]


def test_nvlink_states_are_the_recorded_ones(recording: dict[str, Any]) -> None:
    host = Host(recording["scenario"], recording["dcgm_version"])
    for gpu in recording["nvlink_status"]["gpus"]:
        assert host.machine.link_states(gpu["entityId"]) == gpu["linkState"]
