"""Values of fields as Python has them, as in NVIDIA's dcgm_field_helpers."""

from __future__ import annotations

import json
from typing import Any

import dcgm_agent
import dcgm_fields
import dcgm_structs
import dcgmvalue
from simulated_exceptions import NotSimulated


class DcgmFieldValue:
    """One value of a field; `isBlank` if there is none."""

    def __init__(self, rawValue: Any) -> None:
        self.ts = rawValue.ts
        self.fieldId = rawValue.fieldId
        self.fieldType = chr(rawValue.fieldType)
        self.value: Any = None
        self.isBlank = rawValue.status != dcgm_structs.DCGM_ST_OK
        if not self.isBlank:
            self.value, self.isBlank = self._converted(rawValue.value)

    def _converted(self, value: Any) -> tuple[Any, bool]:
        """Return a value and whether it stands for none."""
        if self.fieldType == dcgm_fields.DCGM_FT_DOUBLE:
            return value.dbl, dcgmvalue.DCGM_FP64_IS_BLANK(value.dbl)
        if self.fieldType in (dcgm_fields.DCGM_FT_INT64, dcgm_fields.DCGM_FT_TIMESTAMP):
            return value.i64, dcgmvalue.DCGM_INT64_IS_BLANK(value.i64)
        if self.fieldType == dcgm_fields.DCGM_FT_STRING:
            return value.str, dcgmvalue.DCGM_STR_IS_BLANK(value.str)
        raise NotSimulated(f"values of field {self.fieldId} are binary, which is not simulated")


class DcgmFieldValueTimeSeries:
    """The values of one field of one entity, oldest first."""

    def __init__(self) -> None:
        self.values: list[DcgmFieldValue] = []

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.values)

    def __getitem__(self, key: Any) -> Any:
        """Return one or a slice of them."""
        return self.values[key]

    def InsertValue(self, value: DcgmFieldValue) -> None:
        """Add a value at its place in time, after those of the same time."""
        place = len(self.values)
        while place and self.values[place - 1].ts > value.ts:
            place -= 1
        self.values.insert(place, value)


class FieldValueEncoder(json.JSONEncoder):
    """Writes a time series, without its blank values, as a list of objects."""

    def default(self, o: Any) -> Any:
        """Return what JSON can represent."""
        if not isinstance(o, DcgmFieldValueTimeSeries):
            return super().default(o)
        return [
            {"Timestamp": value.ts, "FieldId": value.fieldId, "Value": value.value}
            for value in o.values
            if not value.isBlank
        ]


class _Collection:
    """Values of a group of entities, in the dictionaries `values`."""

    _latest: Any
    _since: Any
    """The functions of dcgm_agent that read; they call back with a key of `values` first."""

    def __init__(self, handle: Any, groupId: Any) -> None:
        self.values: dict[Any, Any] = {}
        self._handle = handle
        self._groupId = groupId
        self._numValuesSeen = 0
        self._nextSinceTimestamp = 0

    def _take(self, *arguments: Any) -> int:
        *keys, values, count, _user_data = arguments
        fields = self.values
        for key in keys:
            fields = fields.setdefault(key, {})
        for raw in values[:count]:
            value = DcgmFieldValue(raw)
            fields.setdefault(value.fieldId, DcgmFieldValueTimeSeries()).InsertValue(value)
        self._numValuesSeen += count
        return 0

    def GetLatestValues(self, fieldGroup: Any) -> None:
        """Add the newest value of each field."""
        self._latest(self._handle, self._groupId, fieldGroup.fieldGroupId, self._take, None)

    def GetAllSinceLastCall(self, fieldGroup: Any) -> int:
        """Add the values since the last call and return how many they are."""
        before = self._numValuesSeen
        asked = self._handle, self._groupId, fieldGroup.fieldGroupId, self._nextSinceTimestamp
        self._nextSinceTimestamp = self._since(*asked, self._take, None)
        return self._numValuesSeen - before

    def EmptyValues(self) -> None:
        """Forget the values."""
        self.values = {}
        self._numValuesSeen = 0


class DcgmFieldValueCollection(_Collection):
    """Values of GPUs: `values[gpu][field]` is a time series."""

    _latest = staticmethod(dcgm_agent.dcgmGetLatestValues)
    _since = staticmethod(dcgm_agent.dcgmGetValuesSince)


class DcgmFieldValueEntityCollection(_Collection):
    """Values of any entities: `values[kind][entity][field]` is a time series."""

    _latest = staticmethod(dcgm_agent.dcgmGetLatestValues_v2)
    _since = staticmethod(dcgm_agent.dcgmGetValuesSince_v2)


class _Watcher(_Collection):
    """A collection that watches its field group itself."""

    def __init__(
        self,
        handle: Any,
        groupId: Any,
        fieldGroup: Any,
        operationMode: Any,
        updateFreq: Any,
        maxKeepAge: Any,
        maxKeepSamples: Any,
        startTimestamp: Any,
    ) -> None:
        super().__init__(handle, groupId)
        self._fieldGroup = fieldGroup
        self._operationMode = operationMode
        self._nextSinceTimestamp = max(startTimestamp, 0)
        watched = handle, groupId, fieldGroup.fieldGroupId
        dcgm_agent.dcgmWatchFields(*watched, updateFreq, maxKeepAge, maxKeepSamples)
        dcgm_agent.dcgmUpdateAllFields(handle, 1)
        self.GetAllSinceLastCall()

    def GetAllSinceLastCall(self, fieldGroup: Any = None) -> int:
        """Add the values since the last call and return how many they are."""
        if self._operationMode == dcgm_structs.DCGM_OPERATION_MODE_MANUAL:
            dcgm_agent.dcgmUpdateAllFields(self._handle, 1)
        return super().GetAllSinceLastCall(fieldGroup or self._fieldGroup)


class DcgmFieldGroupWatcher(_Watcher, DcgmFieldValueCollection):
    """A DcgmFieldValueCollection that watches its fields itself."""


class DcgmFieldGroupEntityWatcher(_Watcher, DcgmFieldValueEntityCollection):
    """A DcgmFieldValueEntityCollection that watches its fields itself."""
