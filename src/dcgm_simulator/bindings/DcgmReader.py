"""Reading some fields again and again, as with NVIDIA's DcgmReader."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import Any

import dcgm_fields
import dcgm_structs
from DcgmFieldGroup import DcgmFieldGroup
from DcgmHandle import DcgmHandle
from simulated_dictionaries import ReaderDictionaries

defaultFieldIds = [
    *(155, 150, 100, 203, 392, 390, 391, 310, 311, 312, 313, 250, 251, 252, 202, 240, 241, 230),
    *(409, 419, 429, 439, 101, 140, 156, 204, 449, 200, 201),
]
"""By number: 4.6 renamed half of them."""

_KINDS = {
    dcgm_fields.DCGM_FE_GPU: "GPU",
    dcgm_fields.DCGM_FE_VGPU: "VGPU",
    dcgm_fields.DCGM_FE_SWITCH: "NVSWITCH",
    dcgm_fields.DCGM_FE_GPU_I: "GPU INSTANCE",
    dcgm_fields.DCGM_FE_GPU_CI: "COMPUTE INSTANCE",
    dcgm_fields.DCGM_FE_LINK: "LINK",
}


def entity_group_id_to_string(entityGroupId: Any) -> str:
    """Return what a kind of entities is called."""
    return _KINDS.get(entityGroupId, "")


class DcgmReader(ReaderDictionaries):
    """Watches fields of all GPUs, or of some entities; connects when it is first used.

    Programs derive classes from this one, replace the Custom... methods and call Process, or
    call the methods that return dictionaries.
    """

    def __init__(
        self,
        hostname: Any = "localhost",
        fieldIds: Any = None,
        updateFrequency: Any = 10000000,
        maxKeepAge: Any = 3600.0,
        ignoreList: Any = None,
        fieldGroupName: Any = "dcgm_fieldgroupData",
        gpuIds: Any = None,
        entities: Any = None,
        fieldIntervalMap: Any = None,
    ) -> None:
        self.m_dcgmHostName = hostname
        self.m_updateFreq = updateFrequency
        self.m_fieldGroupName = fieldGroupName
        self.m_publishFields = (
            {updateFrequency: fieldIds or defaultFieldIds}
            if fieldIntervalMap is None
            else fieldIntervalMap
        )
        self.m_requestedGpuIds = gpuIds
        self.m_requestedEntities = entities
        self.m_dcgmIgnoreFields = ignoreList or []
        self.m_maxKeepAge = maxKeepAge
        self.m_gpuIdToBusId: dict[int, str] = {}
        self.m_gpuIdToUUId: dict[int, str] = {}
        self.m_fieldIdToInfo: dict[int, Any] = {}
        self.m_lock = threading.Lock()
        self.m_debug = False
        self.m_closeHandle = False
        self.m_dcgmHandle: Any = None
        self.m_dcgmSystem: Any = None
        self.m_dcgmGroup = self.m_fieldGroup = None
        self.m_fieldGroups: dict[Any, Any] = {}
        self.dfvc: Any = None
        self.dfvec: Any = None
        self.fvs = self.egfvs = None

    def __enter__(self) -> Any:
        """Return the reader."""
        return self

    def __exit__(self, *_: object) -> None:
        """Disconnect."""
        self.Shutdown()

    # --- connecting ----------------------------------------------------------------------

    def Init(self, libpath: Any = None) -> None:
        """Connect; say so in the log if no engine answers."""
        self._connected(lambda: None)

    def SetHandle(self, handle: Any) -> None:
        """Use a connection of the program's own."""
        self.m_dcgmHandle = DcgmHandle(handle)
        self.InitializeFromHandle()

    def Reconnect(self) -> None:
        """Connect and watch, unless that was done."""
        if self.m_dcgmHandle is None:
            self.m_dcgmHandle = DcgmHandle(None, self.m_dcgmHostName)
            self.m_closeHandle = True
            self.InitializeFromHandle()

    def InitializeFromHandle(self) -> None:
        """Learn what there is and watch the fields."""
        self.m_dcgmSystem = self.m_dcgmHandle.GetSystem()
        self.m_dcgmGroup = self._group()
        for gpu in self.m_dcgmGroup.GetGpuIds():
            identifiers = self.m_dcgmSystem.discovery.GetGpuAttributes(gpu).identifiers
            self.m_gpuIdToBusId[gpu] = identifiers.pciBusId
            self.m_gpuIdToUUId[gpu] = identifiers.uuid
        self.GetFieldMetadata()
        self.AddFieldWatches()

    def _group(self) -> Any:
        if not self.m_requestedGpuIds and not self.m_requestedEntities:
            return self.m_dcgmSystem.GetDefaultGroup()
        name = f"dcgmreader_{os.getpid()}"
        group = self.m_dcgmSystem.GetGroupWithGpuIds(name, self.m_requestedGpuIds or [])
        for entity in self.m_requestedEntities or []:
            group.AddEntity(entity.entityGroupId, entity.entityId)
        return group

    def GetFieldMetadata(self) -> None:
        """Make a field group for each interval and one for all fields.

        Raises DCGMError -26 if one of that name exists.
        """
        self.m_fieldGroups, self.m_fieldGroup = {}, None
        for number, (interval, fields) in enumerate(self.m_publishFields.items(), 1):
            for field in fields:
                self.m_fieldIdToInfo[field] = self._metadata(field)
            name = f"{self.m_fieldGroupName}_{number}"
            self.m_fieldGroups[interval] = DcgmFieldGroup(self.m_dcgmHandle, name, fields)
        if self.m_fieldIdToInfo:
            name, fields = self.m_fieldGroupName, list(self.m_fieldIdToInfo)
            self.m_fieldGroup = DcgmFieldGroup(self.m_dcgmHandle, name, fields)

    def _metadata(self, field: int) -> Any:
        found = self.m_dcgmSystem.fields.GetFieldById(field)
        if found is None:
            self.LogError(f"there is no field {field}")
            raise dcgm_structs.DCGMError(dcgm_structs.DCGM_ST_UNKNOWN_FIELD)
        return found

    def AddFieldWatches(self) -> None:
        """Watch the fields of each interval, and wait for their first values."""
        for interval, group in self.m_fieldGroups.items():
            self.m_dcgmGroup.samples.WatchFields(group, interval, self.m_maxKeepAge, 0)
        self.m_dcgmSystem.UpdateAllFields(1)

    def SetDisconnected(self) -> None:
        """Let go of the connection; field groups and collections hold on to it, as NVIDIA's do."""
        self.m_dcgmGroup = None
        self.m_dcgmSystem = None
        self.m_dcgmHandle = None

    def Shutdown(self) -> None:
        """Disconnect, unless the connection is the program's own."""
        with self.m_lock:
            if self.m_closeHandle:
                self.SetDisconnected()

    def _connected(self, read: Callable[[], Any]) -> Any:
        """Return what is read when connected; without an engine, log it and return None."""
        with self.m_lock:
            try:
                self.Reconnect()
                return read()
            except dcgm_structs.DCGMError as error:
                if error.value != dcgm_structs.DCGM_ST_CONNECTION_NOT_VALID:
                    raise
                self.LogError(f"no engine answers at {self.m_dcgmHostName}")
                self.SetDisconnected()
                return None

    # --- processing ----------------------------------------------------------------------

    def Process(self) -> None:
        """Hand the values since the last call to CustomDataHandler, or to its _v2."""
        self._connected(self._process_entities if self.m_requestedEntities else self._process_gpus)

    def _process_gpus(self) -> None:
        self.dfvc = self.m_dcgmGroup.samples.GetAllSinceLastCall(self.dfvc, self.m_fieldGroup)
        self.CustomDataHandler(self.dfvc.values)
        self.dfvc.EmptyValues()

    def _process_entities(self) -> None:
        samples = self.m_dcgmGroup.samples
        self.dfvec = samples.GetAllSinceLastCall_v2(self.dfvec, self.m_fieldGroup)
        self.CustomDataHandler_v2(self.dfvec.values)
        self.dfvec.EmptyValues()

    def CustomDataHandler(self, fvs: Any) -> None:
        """Hand the newest value of each field, by GPU, to CustomFieldHandler."""
        for gpu, fields in fvs.items():
            for field, value in self._published(fields):
                self.CustomFieldHandler(gpu, field, self.m_fieldIdToInfo[field].tag, value)

    def CustomDataHandler_v2(self, fvs: Any) -> None:
        """Hand the newest value of each field, by entity, to CustomFieldHandler_v2."""
        for kind, entities in fvs.items():
            for entity, fields in entities.items():
                for field, value in self._published(fields):
                    tag = self.m_fieldIdToInfo[field].tag
                    self.CustomFieldHandler_v2(kind, entity, field, tag, value)

    def _published(self, fields: Any) -> Any:
        newest = ((field, series[-1]) for field, series in fields.items())
        return (
            (field, value)
            for field, value in newest
            if field not in self.m_dcgmIgnoreFields and not value.isBlank
        )

    def CustomFieldHandler(self, gpuId: Any, fieldId: Any, fieldTag: Any, val: Any) -> None:
        """Print a value."""
        print(f"GPU {gpuId} field {fieldTag}={val.value}")

    def CustomFieldHandler_v2(
        self, entityGroupId: Any, entityId: Any, fieldId: Any, fieldTag: Any, val: Any
    ) -> None:
        """Print a value."""
        kind = entity_group_id_to_string(entityGroupId)
        print(f"{kind} {entityId} field {fieldTag}={val.value}")

    # --- logging -------------------------------------------------------------------------

    def AddDebugOutput(self) -> None:
        """Set m_debug, which means something to derived classes only."""
        self.m_debug = True

    def LogInfo(self, msg: Any) -> None:
        """Log what is worth knowing."""
        logging.getLogger().info(msg)

    def LogDebug(self, msg: Any) -> None:
        """Log a detail."""
        logging.getLogger().debug(msg)

    def LogError(self, msg: Any) -> None:
        """Log what went wrong."""
        logging.getLogger().error(msg)
