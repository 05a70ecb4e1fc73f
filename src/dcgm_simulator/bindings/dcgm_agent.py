"""The calls to the engine, as in NVIDIA's dcgm_agent, with the same signatures."""

from __future__ import annotations

import ctypes
import functools
import struct
from typing import Any

import dcgm_structs
from dcgm_simulator.codes import StatusError
from dcgm_simulator.wire import COUNT, RECORD_SIZE, Function, split_texts
from simulated_library import BEHAVIOUR, LIBRARY

_V1 = struct.Struct("<IHhi4xq8s")
"""The first 32 bytes of dcgmFieldValue_v1."""
_V2_SIZE = ctypes.sizeof(dcgm_structs.c_dcgmFieldValue_v2)
_V1_SIZE = ctypes.sizeof(dcgm_structs.c_dcgmFieldValue_v1)
_V2_VALUE = 32
_V1_VALUE = 24


def _raising(function: Any) -> Any:
    """Turn a failed call into the DCGMError NVIDIA's bindings raise."""

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except StatusError as error:
            status = int(error.status)
        return dcgm_structs._dcgmCheckReturn(status)

    return call


def _number(handle: Any) -> int:
    return getattr(handle, "value", handle) or 0


def _call(handle: Any, function: Function, asked: Any = None) -> Any:
    return LIBRARY.call(_number(handle), function, asked)


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else value


# --- connections -------------------------------------------------------------------------


@_raising
def dcgmInit():
    """Get the library ready."""
    LIBRARY.initialize()
    return 0


@_raising
def dcgmShutdown():
    """Close the connections of all handles."""
    LIBRARY.shut_down()
    return 0


@_raising
def dcgmConnect(ip_address):
    """Connect with default parameters."""
    return ctypes.c_void_p(LIBRARY.connect(_text(ip_address), is_unix_socket=False, timeout_ms=0))


@_raising
def dcgmConnect_v2(ip_address, connectParams, version=dcgm_structs.c_dcgmConnectV2Params_version):
    """Connect to HOST:PORT or, with addressIsUnixSocket, to a socket's path."""
    connectParams.version = version
    handle = LIBRARY.connect(
        _text(ip_address),
        is_unix_socket=bool(connectParams.addressIsUnixSocket),
        timeout_ms=connectParams.timeoutMs,
    )
    return ctypes.c_void_p(handle)


@_raising
def dcgmDisconnect(dcgm_handle):
    """Close a connection; harmless on a dead one, and twice."""
    LIBRARY.disconnect(_number(dcgm_handle))
    return 0


if BEHAVIOUR.index >= 2:

    @_raising
    def dcgmConnect_v3(
        connection_string, connectParams, version=dcgm_structs.c_dcgmConnectV3Params_version
    ):
        """Connect to tcp://HOST:PORT or unix://PATH."""
        connectParams.version = version
        scheme, found, address = _text(connection_string).partition("://")
        if not found or scheme not in ("tcp", "unix"):
            raise StatusError(dcgm_structs.DCGM_ST_BADPARAM)
        handle = LIBRARY.connect(
            address, is_unix_socket=scheme == "unix", timeout_ms=connectParams.timeoutMs
        )
        return ctypes.c_void_p(handle)


@_raising
def dcgmVersionInfo():
    """Return the version of the bindings, not of the engine."""
    made = dcgm_structs.c_dcgmVersionInfo_v2()
    made.version = dcgm_structs.dcgmVersionInfo_version2
    dcgm_structs._dcgmCheckReturn(dcgm_structs._version_info(made))
    return made


# --- entities ----------------------------------------------------------------------------


@_raising
def dcgmGetAllDevices(dcgm_handle):
    """Return the ids of all GPUs."""
    return _call(dcgm_handle, Function.GET_ALL_DEVICES)


@_raising
def dcgmGetAllSupportedDevices(dcgm_handle):
    """Return the ids of all GPUs DCGM supports."""
    return _call(dcgm_handle, Function.GET_ALL_SUPPORTED_DEVICES)


@_raising
def dcgmGetEntityGroupEntities(dcgm_handle, entityGroup, flags):
    """Return the ids of all entities of a kind."""
    return _call(dcgm_handle, Function.GET_ENTITY_GROUP_ENTITIES, [entityGroup, flags])


@_raising
def dcgmGetDeviceAttributes(
    dcgm_handle, gpuId, version=dcgm_structs.dcgmDeviceAttributes_version3
):
    """Return identity, limits and memory of a GPU."""
    if version != dcgm_structs.dcgmDeviceAttributes_version3:
        raise StatusError(dcgm_structs.DCGM_ST_VER_MISMATCH)
    answer = _call(dcgm_handle, Function.GET_DEVICE_ATTRIBUTES, gpuId)
    made = dcgm_structs.c_dcgmDeviceAttributes_v3()
    made.version = version
    for part, values in answer.items():
        for name, value in values.items():
            setattr(getattr(made, part), name, value)
    return made


@_raising
def dcgmGetGpuInstanceHierarchy(dcgm_handle):
    """Return all MIG instances with their parents."""
    rows = _call(dcgm_handle, Function.GET_GPU_INSTANCE_HIERARCHY)
    made = dcgm_structs.c_dcgmMigHierarchy_v2()
    made.version = dcgm_structs.c_dcgmMigHierarchy_version2
    made.count = len(rows)
    for entry, (entity, parent, info) in zip(made.entityList, rows):
        entry.entity.entityGroupId, entry.entity.entityId = entity
        entry.parent.entityGroupId, entry.parent.entityId = parent
        for (name, _), value in zip(entry.info._fields_, info):
            setattr(entry.info, name, value)
    return made


@_raising
def dcgmGetNvLinkLinkStatus(dcgm_handle):
    """Return the state of each NvLink of all GPUs and NvSwitches."""
    answer = _call(dcgm_handle, Function.GET_NVLINK_LINK_STATUS)
    number = {3: 3, 4: 5 if BEHAVIOUR.is_46 else 4}[BEHAVIOUR.major]
    made = getattr(dcgm_structs, f"c_dcgmNvLinkStatus_v{number}")()
    made.version = getattr(dcgm_structs, f"dcgmNvLinkStatus_version{number}")
    made.numGpus, made.numNvSwitches = len(answer["gpus"]), len(answer["switches"])
    _fill_rows(made.gpus, "linkState", answer["gpus"])
    _fill_rows(made.nvSwitches, "linkState", answer["switches"])
    return made


def _fill_rows(array: Any, name: str, rows: Any) -> None:
    """Fill entity id and a list of numbers into each structure of an array."""
    for entry, (entity, values) in zip(array, rows):
        entry.entityId = entity
        target = getattr(entry, name)
        target[: len(values)] = values


if BEHAVIOUR.index >= 2:

    @_raising
    def dcgmGetNvLinkP2PStatus(
        dcgm_handle, inOutStatus, version=dcgm_structs.dcgmNvLinkP2PStatus_version1
    ):
        """Fill in which GPUs reach which others by NvLink."""
        inOutStatus.version = version
        rows = _call(dcgm_handle, Function.GET_NVLINK_P2P_STATUS)
        inOutStatus.numGpus = len(rows)
        _fill_rows(inOutStatus.gpus, "linkStatus", rows)


def _cpu_hierarchy(handle: Any, function: Function, number: int) -> Any:
    rows = _call(handle, function)
    made = getattr(dcgm_structs, f"c_dcgmCpuHierarchy_v{number}")()
    made.version = getattr(dcgm_structs, f"dcgmCpuHierarchy_version{number}")
    made.numCpus = len(rows)
    for entry, (cpu, first, last, serial) in zip(made.cpus, rows):
        entry.cpuId = cpu
        for core in range(first, last + 1):
            entry.ownedCores.bitmask[core // 64] |= 1 << core % 64
        if number > 1:
            entry.serial = serial
    return made


@_raising
def dcgmGetCpuHierarchy(dcgm_handle):
    """Return which CPU owns which cores."""
    return _cpu_hierarchy(dcgm_handle, Function.GET_CPU_HIERARCHY, 1)


if BEHAVIOUR.major >= 4:

    @_raising
    def dcgmGetCpuHierarchy_v2(dcgm_handle):
        """Return which CPU owns which cores, with serial numbers."""
        return _cpu_hierarchy(dcgm_handle, Function.GET_CPU_HIERARCHY_V2, 2)


@_raising
def dcgmModuleGetStatuses(dcgmHandle):
    """Return which modules of the engine are loaded."""
    rows = _call(dcgmHandle, Function.MODULE_GET_STATUSES)
    made = dcgm_structs.c_dcgmModuleGetStatuses_v1()
    made.version = dcgm_structs.dcgmModuleGetStatuses_version1
    made.numStatuses = len(rows)
    for entry, (module, status) in zip(made.statuses, rows):
        entry.id, entry.status = module, status
    return made


@_raising
def dcgmProfGetSupportedMetricGroups(dcgmHandle, gpuId):
    """Return which profiling fields a GPU has."""
    groups = _call(dcgmHandle, Function.PROF_GET_SUPPORTED_METRIC_GROUPS, gpuId)
    made = dcgm_structs.c_dcgmProfGetMetricGroups_v3()
    made.version = dcgm_structs.dcgmProfGetMetricGroups_version3
    made.gpuId, made.numMetricGroups = gpuId, len(groups)
    for entry, group in zip(made.metricGroups, groups):
        entry.majorId, entry.minorId = group["majorId"], group["minorId"]
        entry.numFieldIds = len(group["fieldIds"])
        entry.fieldIds[: entry.numFieldIds] = group["fieldIds"]
    return made


# --- groups ------------------------------------------------------------------------------


@_raising
def dcgmGroupCreate(dcgm_handle, type, groupName):
    """Create a group of entities and return its id."""
    return ctypes.c_void_p(_call(dcgm_handle, Function.GROUP_CREATE, [type, _text(groupName)]))


@_raising
def dcgmGroupDestroy(dcgm_handle, group_id):
    """Destroy a group; its watches go on."""
    _call(dcgm_handle, Function.GROUP_DESTROY, _number(group_id))
    return 0


@_raising
def dcgmGroupAddDevice(dcgm_handle, group_id, gpu_id):
    """Add a GPU to a group."""
    _call(dcgm_handle, Function.GROUP_ADD_ENTITY, [_number(group_id), 1, gpu_id])
    return 0


@_raising
def dcgmGroupAddEntity(dcgm_handle, group_id, entityGroupId, entityId):
    """Add an entity to a group."""
    _call(dcgm_handle, Function.GROUP_ADD_ENTITY, [_number(group_id), entityGroupId, entityId])
    return 0


@_raising
def dcgmGroupRemoveEntity(dcgm_handle, group_id, entityGroupId, entityId):
    """Remove an entity from a group."""
    _call(dcgm_handle, Function.GROUP_REMOVE_ENTITY, [_number(group_id), entityGroupId, entityId])
    return 0


_GROUP_INFO_NUMBER = 2 if BEHAVIOUR.major == 3 else 3
_GROUP_INFO_VERSION = getattr(dcgm_structs, f"c_dcgmGroupInfo_version{_GROUP_INFO_NUMBER}")


@_raising
def dcgmGroupGetInfo(dcgm_handle, group_id, version=_GROUP_INFO_VERSION):
    """Return name and entities of a group."""
    if version != _GROUP_INFO_VERSION:
        raise StatusError(dcgm_structs.DCGM_ST_VER_MISMATCH)
    name, entities = _call(dcgm_handle, Function.GROUP_GET_INFO, _number(group_id))
    made = getattr(dcgm_structs, f"c_dcgmGroupInfo_v{_GROUP_INFO_NUMBER}")()
    made.version, made.groupName, made.count = version, name, len(entities)
    for entry, (group, entity) in zip(made.entityList, entities):
        entry.entityGroupId, entry.entityId = group, entity
    return made


@_raising
def dcgmGroupGetAllIds(dcgmHandle):
    """Return the ids of all groups of the engine."""
    return _call(dcgmHandle, Function.GROUP_GET_ALL_IDS)


@_raising
def dcgmFieldGroupCreate(dcgm_handle, fieldIds, fieldGroupName):
    """Create a group of fields and return its id."""
    asked = [_text(fieldGroupName), list(fieldIds)]
    return ctypes.c_void_p(_call(dcgm_handle, Function.FIELD_GROUP_CREATE, asked))


@_raising
def dcgmFieldGroupDestroy(dcgm_handle, fieldGroupId):
    """Destroy a field group; its watches go on."""
    _call(dcgm_handle, Function.FIELD_GROUP_DESTROY, _number(fieldGroupId))
    return 0


@_raising
def dcgmFieldGroupGetInfo(dcgm_handle, fieldGroupId):
    """Return name and fields of a field group."""
    name, fields = _call(dcgm_handle, Function.FIELD_GROUP_GET_INFO, _number(fieldGroupId))
    made = dcgm_structs.c_dcgmFieldGroupInfo_v1()
    made.version = dcgm_structs.dcgmFieldGroupInfo_version1
    made.fieldGroupId, made.fieldGroupName = _number(fieldGroupId), name
    made.numFieldIds = len(fields)
    made.fieldIds[: len(fields)] = fields
    return made


# --- watching and reading ----------------------------------------------------------------


@_raising
def dcgmWatchFields(dcgm_handle, groupId, fieldGroupId, updateFreq, maxKeepAge, maxKeepSamples):
    """Watch fields, every `updateFreq` µs."""
    asked = [_number(groupId), _number(fieldGroupId), updateFreq, maxKeepAge, maxKeepSamples]
    _call(dcgm_handle, Function.WATCH_FIELDS, asked)
    return 0


@_raising
def dcgmUnwatchFields(dcgm_handle, groupId, fieldGroupId):
    """End watches; what was sampled stays readable."""
    _call(dcgm_handle, Function.UNWATCH_FIELDS, [_number(groupId), _number(fieldGroupId)])
    return 0


@_raising
def dcgmUpdateAllFields(dcgm_handle, waitForUpdate):
    """Sample the fields that are due."""
    _call(dcgm_handle, Function.UPDATE_ALL_FIELDS, waitForUpdate)
    return 0


@_raising
def dcgmEntitiesGetLatestValues(dcgmHandle, entities, fieldIds, flags):
    """Return the newest value of each field of each entity, entity by entity."""
    pairs = [(entity.entityGroupId, entity.entityId) for entity in entities]
    body = LIBRARY.latest(
        _number(dcgmHandle), Function.LATEST_VALUES, pairs, list(fieldIds), flags
    )
    values = (dcgm_structs.c_dcgmFieldValue_v2 * (len(pairs) * len(fieldIds)))()
    target = memoryview(values).cast("B")
    (count,) = COUNT.unpack_from(body)
    place = 0
    for offset in range(COUNT.size, COUNT.size + count * RECORD_SIZE, RECORD_SIZE):
        target[place : place + RECORD_SIZE] = body[offset : offset + RECORD_SIZE]
        place += _V2_SIZE
    for index, text in split_texts(body, count):
        start = index * _V2_SIZE + _V2_VALUE
        target[start : start + len(text)] = text
    return values


@_raising
def dcgmEntityGetLatestValues(dcgmHandle, entityGroup, entityId, fieldIds):
    """Return the newest value of each field of one entity."""
    body = LIBRARY.latest(
        _number(dcgmHandle),
        Function.LATEST_VALUES_OF_ENTITY,
        [(entityGroup, entityId)],
        list(fieldIds),
        0,
    )
    values = (dcgm_structs.c_dcgmFieldValue_v1 * len(fieldIds))()
    _fill_v1(values, body)
    return values


def _fill_v1(values: Any, body: memoryview) -> None:
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


dcgmFieldValueEntityEnumeration_f = ctypes.CFUNCTYPE(
    ctypes.c_int32,
    ctypes.c_uint32,
    ctypes.c_uint32,
    ctypes.POINTER(dcgm_structs.c_dcgmFieldValue_v1),
    ctypes.c_int32,
    ctypes.c_void_p,
)


@_raising
def dcgmGetValuesSince_v2(dcgm_handle, groupId, fieldGroupId, sinceTimestamp, enumCB, userData):
    """Call back with each sample since a time, both ends included; return the next time."""
    asked = struct.pack("<QQq", _number(groupId), _number(fieldGroupId), sinceTimestamp)
    answer = LIBRARY.call_packed(_number(dcgm_handle), Function.VALUES_SINCE, asked)
    (following,) = struct.unpack_from("<q", answer)
    body = memoryview(answer)[8:]
    (count,) = COUNT.unpack_from(body)
    values = (dcgm_structs.c_dcgmFieldValue_v1 * count)()
    _fill_v1(values, body)
    for index in range(count):
        entity = struct.unpack_from("<II", body, COUNT.size + index * RECORD_SIZE + 4)
        one = ctypes.pointer(values[index])
        if enumCB(*entity, one, 1, None):
            # The caller asked to stop; the library then leaves the time as it was given.
            return sinceTimestamp
    return following


# --- health ------------------------------------------------------------------------------


@_raising
def dcgmHealthSet(dcgm_handle, groupId, systems):
    """Watch the health of a group's entities."""
    _call(dcgm_handle, Function.HEALTH_SET, [_number(groupId), systems])
    return 0


@_raising
def dcgmHealthSet_v2(dcgm_handle, groupId, systems, updateInterval, maxKeepAge):
    """Watch the health of a group's entities; the interval makes no difference here."""
    _call(dcgm_handle, Function.HEALTH_SET, [_number(groupId), systems])
    return 0


@_raising
def dcgmHealthGet(dcgm_handle, groupId):
    """Return which systems of a group are watched."""
    return _call(dcgm_handle, Function.HEALTH_GET, _number(groupId))


_HEALTH_NUMBER = 4 if BEHAVIOUR.major == 3 else 5
_HEALTH_VERSION = getattr(dcgm_structs, f"dcgmHealthResponse_version{_HEALTH_NUMBER}")


@_raising
def dcgmHealthCheck(dcgm_handle, groupId, version=_HEALTH_VERSION):
    """Return the overall health and what is wrong."""
    if version != _HEALTH_VERSION:
        raise StatusError(dcgm_structs.DCGM_ST_VER_MISMATCH)
    overall, incidents = _call(dcgm_handle, Function.HEALTH_CHECK, _number(groupId))
    made = getattr(dcgm_structs, f"c_dcgmHealthResponse_v{_HEALTH_NUMBER}")()
    made.version, made.overallHealth, made.incidentCount = version, overall, len(incidents)
    for entry, incident in zip(made.incidents, incidents):
        entry.system, entry.health = incident["system"], incident["health"]
        entry.error.code, entry.error.msg = incident["code"], incident["message"]
        entry.entityInfo.entityGroupId, entry.entityInfo.entityId = incident["entity"]
    return made
