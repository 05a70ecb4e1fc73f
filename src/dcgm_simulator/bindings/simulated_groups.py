"""Groups of entities and of fields: a part of the simulated dcgm_agent."""

from __future__ import annotations

import ctypes
from typing import Any

import dcgm_structs
from simulated_calls import ask, check_version, raising, text
from simulated_library import BEHAVIOUR, number

from dcgm_simulator.codes import EntityGroup
from dcgm_simulator.wire import Function


@raising
def dcgmGroupCreate(dcgm_handle: Any, type: Any, groupName: Any) -> Any:
    """Create a group of entities and return its id."""
    return ctypes.c_void_p(ask(dcgm_handle, Function.GROUP_CREATE, [type, text(groupName)]))


@raising
def dcgmGroupDestroy(dcgm_handle: Any, group_id: Any) -> Any:
    """Destroy a group; its watches go on."""
    ask(dcgm_handle, Function.GROUP_DESTROY, number(group_id))
    return 0


def dcgmGroupAddDevice(dcgm_handle: Any, group_id: Any, gpu_id: Any) -> Any:
    """Add a GPU to a group."""
    return dcgmGroupAddEntity(dcgm_handle, group_id, EntityGroup.GPU, gpu_id)


@raising
def dcgmGroupAddEntity(dcgm_handle: Any, group_id: Any, entityGroupId: Any, entityId: Any) -> Any:
    """Add an entity to a group."""
    ask(dcgm_handle, Function.GROUP_ADD_ENTITY, [number(group_id), entityGroupId, entityId])
    return 0


def dcgmGroupRemoveDevice(dcgm_handle: Any, group_id: Any, gpu_id: Any) -> Any:
    """Remove a GPU from a group."""
    return dcgmGroupRemoveEntity(dcgm_handle, group_id, EntityGroup.GPU, gpu_id)


@raising
def dcgmGroupRemoveEntity(
    dcgm_handle: Any, group_id: Any, entityGroupId: Any, entityId: Any
) -> Any:
    """Remove an entity from a group."""
    ask(dcgm_handle, Function.GROUP_REMOVE_ENTITY, [number(group_id), entityGroupId, entityId])
    return 0


_GROUP_INFO_NUMBER = 2 if BEHAVIOUR.major == 3 else 3
_GROUP_INFO_VERSION = getattr(dcgm_structs, f"c_dcgmGroupInfo_version{_GROUP_INFO_NUMBER}")


@raising
def dcgmGroupGetInfo(dcgm_handle: Any, group_id: Any, version: Any = _GROUP_INFO_VERSION) -> Any:
    """Return name and entities of a group."""
    check_version(version, _GROUP_INFO_VERSION)
    name, entities = ask(dcgm_handle, Function.GROUP_GET_INFO, number(group_id))
    made = getattr(dcgm_structs, f"c_dcgmGroupInfo_v{_GROUP_INFO_NUMBER}")()
    made.version, made.groupName, made.count = version, name, len(entities)
    for entry, (group, entity) in zip(made.entityList, entities, strict=False):
        entry.entityGroupId, entry.entityId = group, entity
    return made


@raising
def dcgmGroupGetAllIds(dcgmHandle: Any) -> Any:
    """Return the ids of all groups of the engine."""
    return ask(dcgmHandle, Function.GROUP_GET_ALL_IDS)


@raising
def dcgmFieldGroupCreate(dcgm_handle: Any, fieldIds: Any, fieldGroupName: Any) -> Any:
    """Create a group of fields and return its id."""
    asked = [text(fieldGroupName), list(fieldIds)]
    return ctypes.c_void_p(ask(dcgm_handle, Function.FIELD_GROUP_CREATE, asked))


@raising
def dcgmFieldGroupDestroy(dcgm_handle: Any, fieldGroupId: Any) -> Any:
    """Destroy a field group; its watches go on."""
    ask(dcgm_handle, Function.FIELD_GROUP_DESTROY, number(fieldGroupId))
    return 0


@raising
def dcgmFieldGroupGetInfo(dcgm_handle: Any, fieldGroupId: Any) -> Any:
    """Return name and fields of a field group."""
    name, fields = ask(dcgm_handle, Function.FIELD_GROUP_GET_INFO, number(fieldGroupId))
    made = dcgm_structs.c_dcgmFieldGroupInfo_v1()
    _fill_field_group(made, number(fieldGroupId), name, fields)
    return made


@raising
def dcgmFieldGroupGetAll(dcgm_handle: Any) -> Any:
    """Return id, name and fields of all field groups of the engine."""
    rows = ask(dcgm_handle, Function.FIELD_GROUP_GET_ALL)
    made = dcgm_structs.c_dcgmAllFieldGroup_v1()
    made.version, made.numFieldGroups = dcgm_structs.dcgmAllFieldGroup_version1, len(rows)
    for entry, row in zip(made.fieldGroups, rows, strict=False):
        _fill_field_group(entry, *row)
    return made


def _fill_field_group(entry: Any, group_id: int, name: str, fields: list[int]) -> None:
    entry.version = dcgm_structs.dcgmFieldGroupInfo_version1
    entry.fieldGroupId, entry.fieldGroupName = group_id, name
    entry.numFieldIds = len(fields)
    entry.fieldIds[: len(fields)] = fields
