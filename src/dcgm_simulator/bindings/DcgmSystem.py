"""What concerns an engine as a whole, as in NVIDIA's DcgmSystem."""

from __future__ import annotations

import ctypes
from typing import Any

import dcgm_agent
import dcgm_fields
import dcgm_structs
from DcgmGroup import DcgmGroup
from simulated_exceptions import Absent, lacks


@lacks("GetGpuTopology", "SelectGpusByTopology")
class DcgmSystemDiscovery:
    """The entities that an engine knows."""

    def __init__(self, dcgmHandle: Any) -> None:
        self._dcgmHandle = dcgmHandle

    def GetAllGpuIds(self) -> Any:
        """Return the ids of all GPUs."""
        return dcgm_agent.dcgmGetAllDevices(self._dcgmHandle.handle)

    def GetAllSupportedGpuIds(self) -> Any:
        """Return the ids of all GPUs that DCGM supports."""
        return dcgm_agent.dcgmGetAllSupportedDevices(self._dcgmHandle.handle)

    def GetGpuAttributes(self, gpuId: Any) -> Any:
        """Return identity, limits and memory of a GPU."""
        return dcgm_agent.dcgmGetDeviceAttributes(self._dcgmHandle.handle, gpuId)

    def GetGpuStatus(self, gpuId: Any) -> Any:
        """Return whether a GPU works; since 4.0."""
        return dcgm_agent.dcgmGetGpuStatus(self._dcgmHandle.handle, gpuId)

    def GetEntityGroupEntities(self, entityGroupId: Any, onlySupported: Any) -> Any:
        """Return the ids of all entities of a kind."""
        flags = dcgm_structs.DCGM_GEGE_FLAG_ONLY_SUPPORTED if onlySupported else 0
        return dcgm_agent.dcgmGetEntityGroupEntities(self._dcgmHandle.handle, entityGroupId, flags)

    def GetNvLinkLinkStatus(self) -> Any:
        """Return the state of all NvLinks."""
        return dcgm_agent.dcgmGetNvLinkLinkStatus(self._dcgmHandle.handle)


class DcgmSystemFields:
    """What DCGM knows of its fields."""

    def GetFieldById(self, fieldId: Any) -> Any:
        """Return the metadata of a field, or None."""
        return dcgm_fields.DcgmFieldGetById(fieldId)

    def GetFieldByTag(self, tag: Any) -> Any:
        """Return the metadata of the field with a tag, or None."""
        return dcgm_fields.DcgmFieldGetByTag(tag)


@lacks("Denylist")
class DcgmSystemModules:
    """The modules of an engine; which are loaded cannot be changed."""

    def __init__(self, dcgmHandle: Any) -> None:
        self._dcgmHandle = dcgmHandle

    def GetStatuses(self) -> Any:
        """Return which modules are loaded."""
        return dcgm_agent.dcgmModuleGetStatuses(self._dcgmHandle.handle)


@lacks("PauseTelemetryForDiag", "ResumeTelemetryForDiag")
class DcgmSystem:
    """An engine: its entities, its fields, its groups."""

    def __init__(self, dcgmHandle: Any) -> None:
        self._dcgmHandle = dcgmHandle
        self.discovery = DcgmSystemDiscovery(dcgmHandle)
        self.fields = DcgmSystemFields()
        self.modules = DcgmSystemModules(dcgmHandle)
        self.introspect = Absent("DcgmSystem.introspect")
        self.profiling = Absent("DcgmSystem.profiling")

    def UpdateAllFields(self, waitForUpdate: Any) -> None:
        """Sample the fields that are due."""
        dcgm_agent.dcgmUpdateAllFields(self._dcgmHandle.handle, waitForUpdate)

    def GetDefaultGroup(self) -> DcgmGroup:
        """Return the group of all GPUs."""
        return DcgmGroup(self._dcgmHandle, groupId=dcgm_structs.DCGM_GROUP_ALL_GPUS)

    def GetEmptyGroup(self, groupName: Any) -> DcgmGroup:
        """Return a new group of no entities."""
        return DcgmGroup(self._dcgmHandle, groupName=groupName)

    def GetGroupWithGpuIds(self, groupName: Any, gpuIds: Any) -> DcgmGroup:
        """Return a new group of GPUs."""
        group = self.GetEmptyGroup(groupName)
        for gpuId in gpuIds:
            group.AddGpu(gpuId)
        return group

    def GetGroupWithEntities(self, groupName: Any, entities: Any) -> DcgmGroup:
        """Return a new group of entities."""
        group = self.GetEmptyGroup(groupName)
        for entity in entities:
            group.AddEntity(entity.entityGroupId, entity.entityId)
        return group

    def GetAllGroupIds(self) -> Any:
        """Return the ids of all groups of the engine."""
        return dcgm_agent.dcgmGroupGetAllIds(self._dcgmHandle.handle)

    def GetAllFieldGroups(self) -> Any:
        """Return id, name and fields of all field groups of the engine."""
        return dcgm_agent.dcgmFieldGroupGetAll(self._dcgmHandle.handle)

    def GetFieldGroupIdByName(self, name: Any) -> Any:
        """Return the id of the field group with a name, or None."""
        found = self.GetAllFieldGroups()
        for group in found.fieldGroups[: found.numFieldGroups]:
            if group.fieldGroupName == name:
                return ctypes.c_void_p(group.fieldGroupId)
        return None
