"""A group of fields, as in NVIDIA's DcgmFieldGroup."""

from __future__ import annotations

from typing import Any

import dcgm_agent
import dcgm_structs


class DcgmFieldGroup:
    """A group of fields: an existing one by id, a new one by name and fields."""

    def __init__(
        self, dcgmHandle: Any, name: Any = "", fieldIds: Any = None, fieldGroupId: Any = None
    ) -> None:
        self._dcgmHandle = dcgmHandle
        self.name = name
        self.fieldIds = fieldIds or []
        self.fieldGroupId = fieldGroupId
        # What __del__ destroys only if it was created.
        self.wasCreated = False
        if fieldGroupId is None:
            self.fieldGroupId = dcgm_agent.dcgmFieldGroupCreate(
                dcgmHandle.handle, self.fieldIds, name
            )
            self.wasCreated = True
        else:
            found = dcgm_agent.dcgmFieldGroupGetInfo(dcgmHandle.handle, fieldGroupId)
            self.name, self.fieldIds = found.fieldGroupName, found.fieldIds

    def __del__(self) -> None:
        """Destroy the group if this object created it."""
        self.Delete()

    def Delete(self) -> None:
        """Destroy the group if this object created it; it may be gone with the connection."""
        if not self.wasCreated or self.fieldGroupId is None:
            return
        handle, group = self._dcgmHandle.handle, self.fieldGroupId
        self._dcgmHandle = self.fieldGroupId = None
        try:
            dcgm_agent.dcgmFieldGroupDestroy(handle, group)
        except dcgm_structs.DCGMError as error:
            gone = dcgm_structs.DCGM_ST_NO_DATA, dcgm_structs.DCGM_ST_CONNECTION_NOT_VALID
            if error.value not in gone:
                raise
