"""Watching fields and reading their values: a part of the simulated dcgm_agent."""

from __future__ import annotations

import ctypes
import struct
from typing import Any

import dcgm_structs
from simulated_calls import ask, raising
from simulated_library import LIBRARY, number

from dcgm_simulator.wire import COUNT, RECORD_SIZE, Function, split_texts

_V1 = struct.Struct("<IHhi4xq8s")
"""The first 32 bytes of dcgmFieldValue_v1."""
_V1_SIZE = ctypes.sizeof(dcgm_structs.c_dcgmFieldValue_v1)
_V1_VALUE = 24


@raising
def dcgmWatchFields(
    dcgm_handle: Any,
    groupId: Any,
    fieldGroupId: Any,
    updateFreq: Any,
    maxKeepAge: Any,
    maxKeepSamples: Any,
) -> Any:
    """Watch fields, every `updateFreq` µs."""
    asked = [number(groupId), number(fieldGroupId), updateFreq, maxKeepAge, maxKeepSamples]
    ask(dcgm_handle, Function.WATCH_FIELDS, asked)
    return 0


@raising
def dcgmUnwatchFields(dcgm_handle: Any, groupId: Any, fieldGroupId: Any) -> Any:
    """End watches; what was sampled stays readable."""
    ask(dcgm_handle, Function.UNWATCH_FIELDS, [number(groupId), number(fieldGroupId)])
    return 0


@raising
def dcgmUpdateAllFields(dcgm_handle: Any, waitForUpdate: Any) -> Any:
    """Sample the fields that are due."""
    ask(dcgm_handle, Function.UPDATE_ALL_FIELDS, waitForUpdate)
    return 0


def dcgmEntitiesGetLatestValues(dcgmHandle: Any, entities: Any, fieldIds: Any, flags: Any) -> Any:
    """Return the newest value of each field of each entity, entity by entity."""
    values = (dcgm_structs.c_dcgmFieldValue_v2 * (len(entities) * len(fieldIds)))()
    status = dcgm_structs._dcgmGetFunctionPointer("dcgmEntitiesGetLatestValues")(
        dcgmHandle,
        (dcgm_structs.c_dcgmGroupEntityPair_t * len(entities))(*entities),
        len(entities),
        (ctypes.c_uint16 * len(fieldIds))(*fieldIds),
        len(fieldIds),
        flags,
        values,
    )
    dcgm_structs._dcgmCheckReturn(status)
    return values


@raising
def dcgmEntityGetLatestValues(
    dcgmHandle: Any, entityGroup: Any, entityId: Any, fieldIds: Any
) -> Any:
    """Return the newest value of each field of one entity."""
    body = LIBRARY.latest(
        number(dcgmHandle),
        Function.LATEST_VALUES_OF_ENTITY,
        [(entityGroup, entityId)],
        list(fieldIds),
        0,
    )
    values = (dcgm_structs.c_dcgmFieldValue_v1 * len(fieldIds))()
    fill_v1(values, body)
    return values


def fill_v1(values: Any, body: memoryview) -> None:
    """Fill dcgmFieldValue_v1 structures from the records in a body."""
    target = memoryview(values).cast("B")
    (count,) = COUNT.unpack_from(body)
    version = dcgm_structs.dcgmFieldValue_version1
    for index in range(count):
        record = body[COUNT.size + index * RECORD_SIZE :]
        field, kind, status = struct.unpack_from("<Hhi", record, 12)
        (stamp,) = struct.unpack_from("<q", record, 24)
        place = index * _V1_SIZE
        _V1.pack_into(target, place, version, field, kind, status, stamp, bytes(record[32:40]))
    for index, text in split_texts(body, count):
        start = index * _V1_SIZE + _V1_VALUE
        target[start : start + len(text)] = text


@raising
def dcgmGetFieldSummary(
    dcgmHandle: Any,
    fieldId: Any,
    entityGroupType: Any,
    entityId: Any,
    summaryMask: Any,
    startTime: Any,
    endTime: Any,
) -> Any:
    """Return what the samples of a field between two times come to, in the order of the bits."""
    made = dcgm_structs.c_dcgmFieldSummaryRequest_v1()
    made.version = dcgm_structs.dcgmFieldSummaryRequest_version1
    made.fieldId, made.entityGroupType, made.entityId = fieldId, entityGroupType, entityId
    made.summaryTypeMask, made.startTime, made.endTime = summaryMask, startTime, endTime
    asked = [entityGroupType, entityId, fieldId, summaryMask, startTime, endTime]
    made.response.fieldType, values = ask(dcgmHandle, Function.GET_FIELD_SUMMARY, asked)
    made.response.summaryCount = len(values)
    for place, value in zip(made.response.values, values, strict=False):
        setattr(place, "dbl" if isinstance(value, float) else "i64", value)
    return made
