"""What real engines answered, the simulated one answers: status, type and kind of value."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.dcgm_simulator.replay import Clock, load_recording

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
    "dcgm-4.6.0-h100x8": "h100x8",
    "dcgm-4.6.0-h100x8-mig": "h100x8-mig",
    "dcgm-4.6.0-a100x2": "a100-no-prof",
}


# On DCGM's production path, which the simulator plays, these are as the recut recordings have them:
# GPUs that were injected inside DCGM have no profiling on compute instances, and on 3.3.9 no
# NvLinks once they are cut.
OF_INJECTED_GPUS = {(5, field) for field in (*range(1001, 1005), *range(1006, 1009))}
OF_INJECTED_GPUS_ON_3 = {
    (kind, field) for kind in (1, 4, 5) for field in (391, 393, 394, 395, 409, 419, 429, 439)
}


# A number by DCGM's table of fields, and a text where a driver that has no vGPUs is asked for it.
VGPU_LICENSE_STATUS = 526


@pytest.fixture(params=RECORDINGS)
def recording(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each recording, with the scenario that should repeat it."""
    return load_recording(request.param) | {"scenario": RECORDINGS[request.param]}


def kind_of(value: Any) -> str:
    """Return the sentinel a value is, or that it is none; "" where none was recorded."""
    if value is None:
        return ""
    return str(value) if is_sentinel(value) else "value"


def left_out_of(recording: dict[str, Any]) -> set[tuple[int, int]]:
    """Return kinds of entities and fields that are not as they are in the recording."""
    if recording["dcgm_version"] == "4.6.0":
        return {(kind, VGPU_LICENSE_STATUS) for kind in (1, 4, 5)}
    if recording["scenario"] != "h100x8-mig":
        return set()
    on_3 = OF_INJECTED_GPUS_ON_3 if recording["dcgm_version"] == "3.3.9" else set()
    return OF_INJECTED_GPUS | on_3


def test_every_recorded_answer_is_repeated_in_kind(recording: dict[str, Any]) -> None:
    clock = Clock()
    host = Host(recording["scenario"], recording["dcgm_version"], clock=clock)
    fields = host.cache.fields()
    last = {(v[0], v[1], v[2]): v for cycle in recording["cycles"] for v in cycle["values"]}
    for group, entity, field in last:
        host.cache.watch(1, Entity(group, entity), fields[field], Watch(SECOND, 0.0, 1), clock.now)
    clock.now += 5 * SECOND

    different = []
    left_out = left_out_of(recording)
    for (group, entity, field), (_, _, _, kind, status, stamp, value) in last.items():
        is_blob = value is None and status == 0
        if is_blob or (group, field) in left_out:
            continue
        record = host.cache.latest(Entity(group, entity), fields[field], clock.now, live=False)
        seen = "" if value is None else kind_of(record.value)
        own = (record.type, record.status, seen, record.timestamp == 0)
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
    expected = recording["gpu_instance_hierarchy"]
    if recording["dcgm_version"] == "4.6.0":
        # That driver numbered its instances in another order.
        for row in (*own, *expected):
            del row["info"]["nvmlInstanceId"]
    assert own == expected


def test_nvlink_states_are_the_recorded_ones(recording: dict[str, Any]) -> None:
    host = Host(recording["scenario"], recording["dcgm_version"])
    links = recording["nvlink_status"]
    for gpu in links["gpus"][: links["numGpus"]]:
        assert host.machine.link_states(gpu["entityId"]) == gpu["linkState"]
