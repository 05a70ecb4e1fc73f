"""Reading values by callbacks: a part of the simulated dcgm_agent."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Callable
from typing import Any

import dcgm_structs
from simulated_calls import ask, raising
from simulated_library import LIBRARY, number
from simulated_samples import fill_v1

from dcgm_simulator.codes import EntityGroup, StatusError
from dcgm_simulator.wire import COUNT, RECORD_SIZE, Function

_VALUES = ctypes.POINTER(dcgm_structs.c_dcgmFieldValue_v1)
dcgmFieldValueEnumeration_f = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_uint32, _VALUES, ctypes.c_int32, ctypes.c_void_p
)
dcgmFieldValueEntityEnumeration_f = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_uint32, ctypes.c_uint32, _VALUES, ctypes.c_int32, ctypes.c_void_p
)
_OF_GPUS = (EntityGroup.NONE, EntityGroup.GPU)
"""The entities that a callback which gets no entity group is called for."""

_Callback = Callable[[int, int, Any, int, int], int]


@raising
def dcgmGetValuesSince_v2(
    dcgm_handle: Any,
    groupId: Any,
    fieldGroupId: Any,
    sinceTimestamp: Any,
    enumCB: Any,
    userData: Any,
) -> Any:
    """Call back with each sample since a time, both ends included; return the next time."""
    asked = struct.pack("<QQq", number(groupId), number(fieldGroupId), sinceTimestamp)
    answer = LIBRARY.call_packed(number(dcgm_handle), Function.VALUES_SINCE, asked)
    (following,) = struct.unpack_from("<q", answer)
    went_on = _call_back(memoryview(answer)[8:], enumCB, userData)
    # A caller that asks to stop gets the time back that it gave.
    return following if went_on else sinceTimestamp


@raising
def dcgmGetValuesSince(
    dcgm_handle: Any,
    groupId: Any,
    fieldGroupId: Any,
    sinceTimestamp: Any,
    enumCB: Any,
    userData: Any,
) -> Any:
    """Do as dcgmGetValuesSince_v2 for a group of GPUs only."""
    _, entities = ask(dcgm_handle, Function.GROUP_GET_INFO, number(groupId))
    if any(group not in _OF_GPUS for group, _ in entities):
        raise StatusError(dcgm_structs.DCGM_ST_NOT_SUPPORTED)
    return dcgmGetValuesSince_v2(
        dcgm_handle, groupId, fieldGroupId, sinceTimestamp, _without_group(enumCB), userData
    )


@raising
def dcgmGetLatestValues_v2(
    dcgm_handle: Any, groupId: Any, fieldGroupId: Any, enumCB: Any, userData: Any
) -> Any:
    """Call back with the newest value of each field of each entity of a group."""
    _, entities = ask(dcgm_handle, Function.GROUP_GET_INFO, number(groupId))
    _, fields = ask(dcgm_handle, Function.FIELD_GROUP_GET_INFO, number(fieldGroupId))
    pairs = [(group, entity) for group, entity in entities]
    body = LIBRARY.latest(number(dcgm_handle), Function.LATEST_VALUES, pairs, fields, 0)
    _call_back(body, enumCB, userData)
    return 0


@raising
def dcgmGetLatestValues(
    dcgm_handle: Any, groupId: Any, fieldGroupId: Any, enumCB: Any, userData: Any
) -> Any:
    """Do as dcgmGetLatestValues_v2, but leave out what is no GPU's."""
    callback = _without_group(enumCB)
    return dcgmGetLatestValues_v2(dcgm_handle, groupId, fieldGroupId, callback, userData)


def _without_group(callback: Any) -> _Callback:
    """Return a callback that calls one which knows GPUs only."""

    def call(group: int, entity: int, values: Any, count: int, user_data: int) -> int:
        return callback(entity, values, count, user_data) if group in _OF_GPUS else 0

    return call


def _call_back(body: memoryview, callback: Any, user_data: Any) -> bool:
    """Call back with each record of a body; return whether no call asked to stop."""
    (count,) = COUNT.unpack_from(body)
    values = (dcgm_structs.c_dcgmFieldValue_v1 * count)()
    fill_v1(values, body)
    for index in range(count):
        entity = struct.unpack_from("<II", body, COUNT.size + index * RECORD_SIZE + 4)
        # The callback gets an object's address and casts it to py_object.
        if callback(*entity, ctypes.pointer(values[index]), 1, id(user_data)):
            return False
    return True
