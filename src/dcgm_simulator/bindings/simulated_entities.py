"""Which entities there are and how they relate: a part of the simulated dcgm_agent."""

from __future__ import annotations

from typing import Any

import dcgm_structs
from simulated_calls import ask, check_version, raising
from simulated_library import BEHAVIOUR

from dcgm_simulator.wire import Function


@raising
def dcgmGetAllDevices(dcgm_handle: Any) -> Any:
    """Return the ids of all GPUs."""
    return ask(dcgm_handle, Function.GET_ALL_DEVICES)


@raising
def dcgmGetAllSupportedDevices(dcgm_handle: Any) -> Any:
    """Return the ids of all GPUs DCGM supports."""
    return ask(dcgm_handle, Function.GET_ALL_SUPPORTED_DEVICES)


@raising
def dcgmGetEntityGroupEntities(dcgm_handle: Any, entityGroup: Any, flags: Any) -> Any:
    """Return the ids of all entities of a kind."""
    return ask(dcgm_handle, Function.GET_ENTITY_GROUP_ENTITIES, [entityGroup, flags])


@raising
def dcgmGetDeviceAttributes(
    dcgm_handle: Any, gpuId: Any, version: Any = dcgm_structs.dcgmDeviceAttributes_version3
) -> Any:
    """Return identity, limits and memory of a GPU."""
    check_version(version, dcgm_structs.dcgmDeviceAttributes_version3)
    answer = ask(dcgm_handle, Function.GET_DEVICE_ATTRIBUTES, gpuId)
    made = dcgm_structs.c_dcgmDeviceAttributes_v3()
    made.version = version
    for part, values in answer.items():
        for name, value in values.items():
            setattr(getattr(made, part), name, value)
    return made


@raising
def dcgmGetGpuInstanceHierarchy(dcgm_handle: Any) -> Any:
    """Return all MIG instances with their parents."""
    rows = ask(dcgm_handle, Function.GET_GPU_INSTANCE_HIERARCHY)
    made = dcgm_structs.c_dcgmMigHierarchy_v2()
    made.version = dcgm_structs.c_dcgmMigHierarchy_version2
    made.count = len(rows)
    for entry, (entity, parent, info) in zip(made.entityList, rows, strict=False):
        entry.entity.entityGroupId, entry.entity.entityId = entity
        entry.parent.entityGroupId, entry.parent.entityId = parent
        for (name, _), value in zip(entry.info._fields_, info, strict=False):
            setattr(entry.info, name, value)
    return made


@raising
def dcgmGetNvLinkLinkStatus(dcgm_handle: Any) -> Any:
    """Return the state of each NvLink of all GPUs and NvSwitches."""
    answer = ask(dcgm_handle, Function.GET_NVLINK_LINK_STATUS)
    number = {3: 3, 4: 5 if BEHAVIOUR.is_46 else 4}[BEHAVIOUR.major]
    made = getattr(dcgm_structs, f"c_dcgmNvLinkStatus_v{number}")()
    made.version = getattr(dcgm_structs, f"dcgmNvLinkStatus_version{number}")
    made.numGpus, made.numNvSwitches = len(answer["gpus"]), len(answer["switches"])
    _fill_rows(made.gpus, "linkState", answer["gpus"])
    _fill_rows(made.nvSwitches, "linkState", answer["switches"])
    return made


def _fill_rows(array: Any, name: str, rows: Any) -> None:
    """Fill entity id and a list of numbers into each structure of an array."""
    for entry, (entity, values) in zip(array, rows, strict=False):
        entry.entityId = entity
        target = getattr(entry, name)
        # A newer engine knows of more links than older bindings have room for.
        fitting = values[: len(target)]
        target[: len(fitting)] = fitting


if BEHAVIOUR.index >= 2:

    @raising
    def dcgmGetNvLinkP2PStatus(
        dcgm_handle: Any, inOutStatus: Any, version: Any = dcgm_structs.dcgmNvLinkP2PStatus_version1
    ) -> Any:
        """Fill in which GPUs reach which others by NvLink."""
        inOutStatus.version = version
        rows = ask(dcgm_handle, Function.GET_NVLINK_P2P_STATUS)
        inOutStatus.numGpus = len(rows)
        _fill_rows(inOutStatus.gpus, "linkStatus", rows)


def _cpu_hierarchy(handle: Any, function: Function, number: int) -> Any:
    rows = ask(handle, function)
    made = getattr(dcgm_structs, f"c_dcgmCpuHierarchy_v{number}")()
    made.version = getattr(dcgm_structs, f"dcgmCpuHierarchy_version{number}")
    made.numCpus = len(rows)
    for entry, (cpu, first, last, serial) in zip(made.cpus, rows, strict=False):
        entry.cpuId = cpu
        for core in range(first, last + 1):
            entry.ownedCores.bitmask[core // 64] |= 1 << core % 64
        if number > 1:
            entry.serial = serial
    return made


@raising
def dcgmGetCpuHierarchy(dcgm_handle: Any) -> Any:
    """Return which CPU owns which cores."""
    return _cpu_hierarchy(dcgm_handle, Function.GET_CPU_HIERARCHY, 1)


if BEHAVIOUR.major >= 4:

    @raising
    def dcgmGetGpuStatus(dcgm_handle: Any, gpuId: Any) -> Any:
        """Return the DcgmEntityStatus_t of a GPU."""
        return ask(dcgm_handle, Function.GET_GPU_STATUS, gpuId)

    @raising
    def dcgmGetCpuHierarchy_v2(dcgm_handle: Any) -> Any:
        """Return which CPU owns which cores, with serial numbers."""
        return _cpu_hierarchy(dcgm_handle, Function.GET_CPU_HIERARCHY_V2, 2)


@raising
def dcgmModuleGetStatuses(dcgmHandle: Any) -> Any:
    """Return which modules of the engine are loaded."""
    rows = ask(dcgmHandle, Function.MODULE_GET_STATUSES)
    made = dcgm_structs.c_dcgmModuleGetStatuses_v1()
    made.version = dcgm_structs.dcgmModuleGetStatuses_version1
    made.numStatuses = len(rows)
    for entry, (module, status) in zip(made.statuses, rows, strict=False):
        entry.id, entry.status = module, status
    return made


@raising
def dcgmProfGetSupportedMetricGroups(dcgmHandle: Any, gpuId: Any) -> Any:
    """Return which profiling fields a GPU has."""
    groups = ask(dcgmHandle, Function.PROF_GET_SUPPORTED_METRIC_GROUPS, gpuId)
    made = dcgm_structs.c_dcgmProfGetMetricGroups_v3()
    made.version = dcgm_structs.dcgmProfGetMetricGroups_version3
    made.gpuId, made.numMetricGroups = gpuId, len(groups)
    for entry, group in zip(made.metricGroups, groups, strict=False):
        entry.majorId, entry.minorId = group["majorId"], group["minorId"]
        entry.numFieldIds = len(group["fieldIds"])
        entry.fieldIds[: entry.numFieldIds] = group["fieldIds"]
    return made
