"""A group of entities and what can be done with it, as in NVIDIA's DcgmGroup."""

from __future__ import annotations

from typing import Any

import dcgm_agent
import dcgm_fields
import dcgm_structs
from dcgm_field_helpers import DcgmFieldValueCollection, DcgmFieldValueEntityCollection
from simulated_exceptions import Absent, DcgmException


class _Part:
    """A part of a group's interface."""

    def __init__(self, dcgmHandle: Any, groupId: Any, dcgmGroup: Any) -> None:
        self._dcgmHandle = dcgmHandle
        self._groupId = groupId
        self._dcgmGroup = dcgmGroup


class DcgmGroupSamples(_Part):
    """Watching fields and reading their values."""

    def WatchFields(
        self, fieldGroup: Any, updateFreq: Any, maxKeepAge: Any, maxKeepSamples: Any
    ) -> None:
        """Watch the fields of a field group, every `updateFreq` µs."""
        target = self._dcgmHandle.handle, self._groupId, fieldGroup.fieldGroupId
        dcgm_agent.dcgmWatchFields(*target, updateFreq, maxKeepAge, maxKeepSamples)

    def UnwatchFields(self, fieldGroup: Any) -> None:
        """End that watch."""
        dcgm_agent.dcgmUnwatchFields(
            self._dcgmHandle.handle, self._groupId, fieldGroup.fieldGroupId
        )

    def GetLatest(self, fieldGroup: Any) -> DcgmFieldValueCollection:
        """Return the newest value of each field, by GPU."""
        collection = DcgmFieldValueCollection(self._dcgmHandle.handle, self._groupId)
        collection.GetLatestValues(fieldGroup)
        return collection

    def GetLatest_v2(self, fieldGroup: Any) -> DcgmFieldValueEntityCollection:
        """Return the newest value of each field, by kind of entity and entity."""
        collection = DcgmFieldValueEntityCollection(self._dcgmHandle.handle, self._groupId)
        collection.GetLatestValues(fieldGroup)
        return collection

    def GetAllSinceLastCall(self, dfvc: Any, fieldGroup: Any) -> Any:
        """Add what is new to the result of the last call; given None, return the newest values."""
        return self.GetLatest(fieldGroup) if dfvc is None else _continued(dfvc, fieldGroup)

    def GetAllSinceLastCall_v2(self, dfvec: Any, fieldGroup: Any) -> Any:
        """Do as GetAllSinceLastCall, by kind of entity and entity."""
        return self.GetLatest_v2(fieldGroup) if dfvec is None else _continued(dfvec, fieldGroup)


def _continued(collection: Any, fieldGroup: Any) -> Any:
    collection.GetAllSinceLastCall(fieldGroup)
    # There is a value in any case, even if it was returned before.
    if not collection.values:
        collection.GetLatestValues(fieldGroup)
    return collection


class DcgmGroupHealth(_Part):
    """Health checks of a group's entities."""

    def Set(self, systems: Any, updateInterval: Any = None, maxKeepAge: Any = None) -> None:
        """Choose what is checked."""
        target = self._dcgmHandle.handle, self._groupId, systems
        if updateInterval is None or maxKeepAge is None:
            dcgm_agent.dcgmHealthSet(*target)
        else:
            dcgm_agent.dcgmHealthSet_v2(*target, updateInterval, maxKeepAge)

    def Get(self) -> Any:
        """Return what is checked."""
        return dcgm_agent.dcgmHealthGet(self._dcgmHandle.handle, self._groupId)

    def Check(self, version: Any = None) -> Any:
        """Return the overall health and what is wrong."""
        versions = () if version is None else (version,)
        return dcgm_agent.dcgmHealthCheck(self._dcgmHandle.handle, self._groupId, *versions)


class DcgmGroupProfiling(_Part):
    """Profiling fields of a group's GPUs."""

    def GetSupportedMetricGroups(self) -> Any:
        """Return which profiling fields the group's first GPU has."""
        gpus = self._dcgmGroup.GetGpuIds()
        if not gpus:
            raise dcgm_structs.DCGMError(dcgm_structs.DCGM_ST_GROUP_IS_EMPTY)
        return dcgm_agent.dcgmProfGetSupportedMetricGroups(self._dcgmHandle.handle, gpus[0])


class DcgmGroup:
    """A group of entities: an existing one by id, a new one by name."""

    samples: Any
    health: Any
    profiling: Any

    def __init__(
        self,
        dcgmHandle: Any,
        groupId: Any = None,
        groupName: Any = None,
        groupType: Any = dcgm_structs.DCGM_GROUP_EMPTY,
    ) -> None:
        if groupId is None and groupName is None:
            raise DcgmException("a group needs groupId or groupName")
        self._dcgmHandle = dcgmHandle
        if groupId is None:
            groupId = dcgm_agent.dcgmGroupCreate(dcgmHandle.handle, groupType, groupName)
        self._groupId = groupId
        self.samples = DcgmGroupSamples(dcgmHandle, groupId, self)
        self.health = DcgmGroupHealth(dcgmHandle, groupId, self)
        self.profiling = DcgmGroupProfiling(dcgmHandle, groupId, self)
        for name in ("action", "config", "discovery", "policy", "stats"):
            setattr(self, name, Absent(f"DcgmGroup.{name}"))

    def Delete(self) -> None:
        """Destroy the group, unless it is one of the engine's own."""
        self.samples = self.health = self.profiling = None
        if self._groupId is not None and not self._IsGroupIdStatic():
            dcgm_agent.dcgmGroupDestroy(self._dcgmHandle.handle, self._groupId)
        self._groupId = None

    def _IsGroupIdStatic(self) -> bool:
        return self._groupId in (
            dcgm_structs.DCGM_GROUP_ALL_GPUS,
            dcgm_structs.DCGM_GROUP_ALL_NVSWITCHES,
        )

    def _handle_to_change(self) -> Any:
        if self._IsGroupIdStatic():
            raise DcgmException("the engine's own groups cannot be changed")
        return self._dcgmHandle.handle

    def AddGpu(self, gpuId: Any) -> None:
        """Add a GPU."""
        dcgm_agent.dcgmGroupAddDevice(self._handle_to_change(), self._groupId, gpuId)

    def AddEntity(self, entityGroupId: Any, entityId: Any) -> None:
        """Add an entity."""
        handle = self._handle_to_change()
        dcgm_agent.dcgmGroupAddEntity(handle, self._groupId, entityGroupId, entityId)

    def RemoveGpu(self, gpuId: Any) -> None:
        """Remove a GPU."""
        dcgm_agent.dcgmGroupRemoveDevice(self._handle_to_change(), self._groupId, gpuId)

    def RemoveEntity(self, entityGroupId: Any, entityId: Any) -> None:
        """Remove an entity."""
        handle = self._handle_to_change()
        dcgm_agent.dcgmGroupRemoveEntity(handle, self._groupId, entityGroupId, entityId)

    def GetGpuIds(self) -> list[int]:
        """Return the ids of the group's GPUs."""
        gpu = dcgm_fields.DCGM_FE_GPU
        return [entity.entityId for entity in self.GetEntities() if entity.entityGroupId == gpu]

    def GetEntities(self) -> list[Any]:
        """Return the group's entities as pairs of group and id."""
        found = dcgm_agent.dcgmGroupGetInfo(self._dcgmHandle.handle, self._groupId)
        return list(found.entityList[: found.count])

    def GetId(self) -> Any:
        """Return the group's id."""
        return self._groupId
