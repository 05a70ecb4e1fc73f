"""Groups of entities and fields: their limits, names and ends."""

from __future__ import annotations

from typing import Any

import pytest

BADPARAM, MAX_LIMIT, DUPLICATE = -1, -24, -26


@pytest.fixture
def field_ids(target: Any) -> list[int]:
    """More ids of fields than one group takes."""
    known = [field for field in range(1, 700) if target.bindings.fields.DcgmFieldGetById(field)]
    return known[:130]


def test_group_tells_its_entities(target: Any, handle: Any) -> None:
    entities = target.gpus(handle)[:2]
    info = target.agent.dcgmGroupGetInfo(handle, target.group(handle, entities, "named"))
    assert info.groupName == "named"
    pairs = [(e.entityGroupId, e.entityId) for e in info.entityList[: info.count]]
    assert pairs == entities


def test_entity_twice_is_a_bad_parameter(target: Any, handle: Any) -> None:
    group = target.group(handle, [(1, 0)])
    with target.failing(BADPARAM):
        target.agent.dcgmGroupAddEntity(handle, group, 1, 0)


def test_entity_that_does_not_exist_is_a_bad_parameter(target: Any, handle: Any) -> None:
    with target.failing(BADPARAM):
        target.group(handle, [(1, 31)])


@pytest.mark.scenario("grace")
def test_group_of_3_holds_64_entities(target: Any, handle: Any) -> None:
    cores = [(8, core) for core in range(65)]
    if target.version >= (4,):
        target.group(handle, cores)
        return
    with target.failing(MAX_LIMIT):
        target.group(handle, cores)


def test_field_group_holds_127_fields(target: Any, handle: Any, field_ids: list[int]) -> None:
    target.agent.dcgmFieldGroupCreate(handle, field_ids[:127], "contract-127")
    with target.failing(BADPARAM):
        target.agent.dcgmFieldGroupCreate(handle, field_ids[:128], "contract-128")


def test_one_unknown_field_spoils_a_field_group(target: Any, handle: Any) -> None:
    with target.failing(BADPARAM):
        target.agent.dcgmFieldGroupCreate(handle, [150, 4999], "contract-unknown")


def test_name_of_a_field_group_is_unique_on_the_engine(target: Any, handle: Any) -> None:
    target.agent.dcgmFieldGroupCreate(handle, [150], "contract-unique")
    other = target.connect()
    with target.failing(DUPLICATE):
        target.agent.dcgmFieldGroupCreate(other, [150], "contract-unique")


def test_names_of_groups_need_not_be_unique(target: Any, handle: Any) -> None:
    target.group(handle, [], "contract-same")
    target.group(handle, [], "contract-same")


def test_field_groups_of_all_clients_share_one_limit(target: Any, handle: Any) -> None:
    created = []
    with target.failing(MAX_LIMIT):
        for number in range(65):
            name = f"contract-many-{number}"
            created.append(target.agent.dcgmFieldGroupCreate(handle, [150], name))
    with target.failing(MAX_LIMIT):
        target.agent.dcgmFieldGroupCreate(target.connect(), [150], "contract-other")
    target.agent.dcgmFieldGroupDestroy(handle, created[0])
    target.agent.dcgmFieldGroupCreate(handle, [150], "contract-again")


def test_groups_end_with_their_connection(target: Any) -> None:
    first = target.connect()
    target.agent.dcgmFieldGroupCreate(first, [150], "contract-leaving")
    target.agent.dcgmDisconnect(first)
    target.agent.dcgmFieldGroupCreate(target.connect(), [150], "contract-leaving")


def test_simulator_counts_what_clients_leave_behind(target: Any, faults: Any) -> None:
    handle = target.connect()
    target.watch(handle, [(1, 0)], [150, 155])
    status = faults.control("status")
    assert [len(status[key]) for key in ("connections", "groups", "field_groups")] == [1, 1, 1]
    assert {watch["field"] for watch in status["watches"]} == {150, 155}
    target.agent.dcgmDisconnect(handle)
    handle = target.connect()
    target.agent.dcgmGetAllDevices(handle)
    status = faults.control("status")
    assert [len(status[key]) for key in ("groups", "field_groups", "watches")] == [0, 0, 0]
