"""The calls to the engine, as in NVIDIA's dcgm_agent, with the same signatures.

Names that NVIDIA's module does not have begin with an underscore here.
"""

from __future__ import annotations

import ctypes
from typing import Any

import dcgm_structs
from simulated_callbacks import (
    dcgmFieldValueEntityEnumeration_f,
    dcgmFieldValueEnumeration_f,
    dcgmGetLatestValues,
    dcgmGetLatestValues_v2,
    dcgmGetValuesSince,
    dcgmGetValuesSince_v2,
)
from simulated_calls import ask as _ask
from simulated_calls import check_version as _check_version
from simulated_calls import raising as _raising
from simulated_calls import text as _text
from simulated_entities import (
    dcgmGetAllDevices,
    dcgmGetAllSupportedDevices,
    dcgmGetCpuHierarchy,
    dcgmGetDeviceAttributes,
    dcgmGetEntityGroupEntities,
    dcgmGetGpuInstanceHierarchy,
    dcgmGetNvLinkLinkStatus,
    dcgmModuleGetStatuses,
    dcgmProfGetSupportedMetricGroups,
)
from simulated_groups import (
    dcgmFieldGroupCreate,
    dcgmFieldGroupDestroy,
    dcgmFieldGroupGetAll,
    dcgmFieldGroupGetInfo,
    dcgmGroupAddDevice,
    dcgmGroupAddEntity,
    dcgmGroupCreate,
    dcgmGroupDestroy,
    dcgmGroupGetAllIds,
    dcgmGroupGetInfo,
    dcgmGroupRemoveDevice,
    dcgmGroupRemoveEntity,
)
from simulated_library import BEHAVIOUR as _BEHAVIOUR
from simulated_library import LIBRARY as _LIBRARY
from simulated_library import number as _number
from simulated_samples import (
    dcgmEntitiesGetLatestValues,
    dcgmEntityGetLatestValues,
    dcgmGetFieldSummary,
    dcgmUnwatchFields,
    dcgmUpdateAllFields,
    dcgmWatchFields,
)

from dcgm_simulator.codes import StatusError as _StatusError
from dcgm_simulator.wire import Function as _Function

__all__ = [
    "dcgmConnect",
    "dcgmConnect_v2",
    "dcgmDisconnect",
    "dcgmEntitiesGetLatestValues",
    "dcgmEntityGetLatestValues",
    "dcgmFieldGroupCreate",
    "dcgmFieldGroupDestroy",
    "dcgmFieldGroupGetAll",
    "dcgmFieldGroupGetInfo",
    "dcgmFieldValueEntityEnumeration_f",
    "dcgmFieldValueEnumeration_f",
    "dcgmGetAllDevices",
    "dcgmGetAllSupportedDevices",
    "dcgmGetCpuHierarchy",
    "dcgmGetDeviceAttributes",
    "dcgmGetEntityGroupEntities",
    "dcgmGetFieldSummary",
    "dcgmGetGpuInstanceHierarchy",
    "dcgmGetLatestValues",
    "dcgmGetLatestValues_v2",
    "dcgmGetNvLinkLinkStatus",
    "dcgmGetValuesSince",
    "dcgmGetValuesSince_v2",
    "dcgmGroupAddDevice",
    "dcgmGroupAddEntity",
    "dcgmGroupCreate",
    "dcgmGroupDestroy",
    "dcgmGroupGetAllIds",
    "dcgmGroupGetInfo",
    "dcgmGroupRemoveDevice",
    "dcgmGroupRemoveEntity",
    "dcgmHealthCheck",
    "dcgmHealthGet",
    "dcgmHealthSet",
    "dcgmHealthSet_v2",
    "dcgmInit",
    "dcgmModuleGetStatuses",
    "dcgmProfGetSupportedMetricGroups",
    "dcgmShutdown",
    "dcgmUnwatchFields",
    "dcgmUpdateAllFields",
    "dcgmVersionInfo",
    "dcgmWatchFields",
]
if _BEHAVIOUR.major >= 4:
    from simulated_entities import dcgmGetCpuHierarchy_v2, dcgmGetGpuStatus

    __all__ += ["dcgmGetCpuHierarchy_v2", "dcgmGetGpuStatus"]
if _BEHAVIOUR.index >= 2:
    from simulated_entities import dcgmGetNvLinkP2PStatus

    __all__ += ["dcgmConnect_v3", "dcgmGetNvLinkP2PStatus"]


# --- connections -------------------------------------------------------------------------


@_raising
def dcgmInit() -> Any:
    """Get the library ready."""
    _LIBRARY.initialize()
    return 0


@_raising
def dcgmShutdown() -> Any:
    """Close the connections of all handles."""
    _LIBRARY.shut_down()
    return 0


@_raising
def dcgmConnect(ip_address: Any) -> Any:
    """Connect with default parameters."""
    return ctypes.c_void_p(_LIBRARY.connect(_text(ip_address), is_unix_socket=False, timeout_ms=0))


@_raising
def dcgmConnect_v2(
    ip_address: Any, connectParams: Any, version: Any = dcgm_structs.c_dcgmConnectV2Params_version
) -> Any:
    """Connect to HOST:PORT or, with addressIsUnixSocket, to a socket's path."""
    connectParams.version = version
    handle = _LIBRARY.connect(
        _text(ip_address),
        is_unix_socket=bool(connectParams.addressIsUnixSocket),
        timeout_ms=connectParams.timeoutMs,
    )
    return ctypes.c_void_p(handle)


@_raising
def dcgmDisconnect(dcgm_handle: Any) -> Any:
    """Close a connection; harmless on a dead one, and twice."""
    _LIBRARY.disconnect(_number(dcgm_handle))
    return 0


if _BEHAVIOUR.index >= 2:

    @_raising
    def dcgmConnect_v3(
        connection_string: Any,
        connectParams: Any,
        version: Any = dcgm_structs.c_dcgmConnectV3Params_version,
    ) -> Any:
        """Connect to tcp://HOST:PORT or unix://PATH; vsock://CID:PORT is not simulated."""
        connectParams.version = version
        scheme, found, address = _text(connection_string).partition("://")
        if scheme == "vsock":
            raise _StatusError(dcgm_structs.DCGM_ST_CONNECTION_NOT_VALID)
        if not found or scheme not in ("tcp", "unix"):
            raise _StatusError(dcgm_structs.DCGM_ST_BADPARAM)
        handle = _LIBRARY.connect(
            address, is_unix_socket=scheme == "unix", timeout_ms=connectParams.timeoutMs
        )
        return ctypes.c_void_p(handle)


@_raising
def dcgmVersionInfo() -> Any:
    """Return the version of the bindings, not of the engine."""
    made = dcgm_structs.c_dcgmVersionInfo_v2()
    made.version = dcgm_structs.dcgmVersionInfo_version2
    ask = dcgm_structs._dcgmGetFunctionPointer("dcgmVersionInfo")
    dcgm_structs._dcgmCheckReturn(ask(ctypes.byref(made)))
    return made


# --- health ------------------------------------------------------------------------------


@_raising
def dcgmHealthSet(dcgm_handle: Any, groupId: Any, systems: Any) -> Any:
    """Watch the health of a group's entities."""
    _ask(dcgm_handle, _Function.HEALTH_SET, [_number(groupId), systems])
    return 0


def dcgmHealthSet_v2(
    dcgm_handle: Any, groupId: Any, systems: Any, updateInterval: Any, maxKeepAge: Any
) -> Any:
    """Watch the health of a group's entities; the interval makes no difference here."""
    return dcgmHealthSet(dcgm_handle, groupId, systems)


@_raising
def dcgmHealthGet(dcgm_handle: Any, groupId: Any) -> Any:
    """Return which systems of a group are watched."""
    return _ask(dcgm_handle, _Function.HEALTH_GET, _number(groupId))


_HEALTH_NUMBER = 4 if _BEHAVIOUR.major == 3 else 5
_HEALTH_VERSION = getattr(dcgm_structs, f"dcgmHealthResponse_version{_HEALTH_NUMBER}")


@_raising
def dcgmHealthCheck(dcgm_handle: Any, groupId: Any, version: Any = _HEALTH_VERSION) -> Any:
    """Return the overall health and what is wrong."""
    _check_version(version, _HEALTH_VERSION)
    overall, incidents = _ask(dcgm_handle, _Function.HEALTH_CHECK, _number(groupId))
    made = getattr(dcgm_structs, f"c_dcgmHealthResponse_v{_HEALTH_NUMBER}")()
    made.version, made.overallHealth, made.incidentCount = version, overall, len(incidents)
    for entry, incident in zip(made.incidents, incidents, strict=False):
        entry.system, entry.health = incident["system"], incident["health"]
        entry.error.code, entry.error.msg = incident["code"], incident["message"]
        entry.entityInfo.entityGroupId, entry.entityInfo.entityId = incident["entity"]
    return made
