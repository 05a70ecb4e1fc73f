"""The dictionaries that a DcgmReader returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class ReaderDictionaries:
    """The methods of DcgmReader that return values, by field id or by the field's tag."""

    m_dcgmGroup: Any
    m_fieldGroup: Any
    m_fieldIdToInfo: dict[int, Any]
    fvs: Any
    egfvs: Any
    _connected: Callable[[Callable[[], Any]], Any]

    def _key(self, field: int, by_id: bool) -> Any:
        return field if by_id else self.m_fieldIdToInfo[field].tag

    def _newest(self, fields: Any, by_id: bool) -> dict[Any, Any]:
        newest = {self._key(field, by_id): series[-1] for field, series in fields.items()}
        return {key: value.value for key, value in newest.items() if not value.isBlank}

    def _all(self, fields: Any, by_id: bool) -> dict[Any, list[Any]]:
        found = {
            self._key(field, by_id): [value for value in series if not value.isBlank]
            for field, series in fields.items()
        }
        return {key: values for key, values in found.items() if values}

    def GetLatestGpuValuesAsDict(self, mapById: Any) -> Any:
        """Return the newest value of each field by GPU; nothing without an engine."""

        def read() -> dict[Any, Any]:
            found = self.m_dcgmGroup.samples.GetLatest(self.m_fieldGroup).values
            return {gpu: self._newest(fields, mapById) for gpu, fields in found.items()}

        return self._connected(read) or {}

    def GetLatestEntityValuesAsDict(self, mapById: Any) -> Any:
        """Return the newest value of each field by kind of entity and entity."""

        def read() -> dict[Any, Any]:
            found = self.m_dcgmGroup.samples.GetLatest_v2(self.m_fieldGroup).values
            return {
                kind: {entity: self._newest(fields, mapById) for entity, fields in those.items()}
                for kind, those in found.items()
            }

        return self._connected(read) or {}

    def GetAllGpuValuesAsDictSinceLastCall(self, mapById: Any) -> Any:
        """Return lists of DcgmFieldValue by GPU; the first call returns nothing."""

        def read() -> dict[Any, Any]:
            first, samples = self.fvs is None, self.m_dcgmGroup.samples
            self.fvs = samples.GetAllSinceLastCall(self.fvs, self.m_fieldGroup)
            found = {} if first else self.fvs.values
            self.fvs.EmptyValues()
            return {gpu: self._all(fields, mapById) for gpu, fields in found.items()}

        return self._connected(read) or {}

    def GetAllEntityValuesAsDictSinceLastCall(self, mapById: Any) -> Any:
        """Return lists by kind of entity and entity, each of the newest value only.

        So do NVIDIA's, and the value may be blank: what fills the list stands after the loop.
        """

        def read() -> dict[Any, Any]:
            first, samples = self.egfvs is None, self.m_dcgmGroup.samples
            self.egfvs = samples.GetAllSinceLastCall_v2(self.egfvs, self.m_fieldGroup)
            found = {} if first else self.egfvs.values
            self.egfvs.EmptyValues()
            return {
                kind: {entity: self._last(fields, mapById) for entity, fields in those.items()}
                for kind, those in found.items()
            }

        return self._connected(read) or {}

    def _last(self, fields: Any, by_id: bool) -> dict[Any, list[Any]]:
        return {self._key(field, by_id): [series[-1]] for field, series in fields.items()}

    def GetLatestGpuValuesAsFieldIdDict(self) -> Any:
        """Return the newest values by GPU and field id."""
        return self.GetLatestGpuValuesAsDict(True)

    def GetLatestGpuValuesAsFieldNameDict(self) -> Any:
        """Return the newest values by GPU and tag."""
        return self.GetLatestGpuValuesAsDict(False)

    def GetAllGpuValuesAsFieldIdDictSinceLastCall(self) -> Any:
        """Return new values by GPU and field id."""
        return self.GetAllGpuValuesAsDictSinceLastCall(True)

    def GetAllGpuValuesAsFieldNameDictSinceLastCall(self) -> Any:
        """Return new values by GPU and tag."""
        return self.GetAllGpuValuesAsDictSinceLastCall(False)

    def GetLatestEntityValuesAsFieldIdDict(self) -> Any:
        """Return the newest values by entity and field id."""
        return self.GetLatestEntityValuesAsDict(True)

    def GetLatestEntityValuesAsFieldNameDict(self) -> Any:
        """Return the newest values by entity and tag."""
        return self.GetLatestEntityValuesAsDict(False)

    def GetAllEntityValuesAsFieldIdDictSinceLastCall(self) -> Any:
        """Return new values by entity and field id."""
        return self.GetAllEntityValuesAsDictSinceLastCall(True)

    def GetAllEntityValuesAsFieldNameDictSinceLastCall(self) -> Any:
        """Return new values by entity and tag."""
        return self.GetAllEntityValuesAsDictSinceLastCall(False)
