"""A connection to an engine, as in NVIDIA's DcgmHandle."""

from __future__ import annotations

from typing import Any

import dcgm_agent
import dcgm_structs
from DcgmSystem import DcgmSystem
from simulated_exceptions import NotSimulated


class DcgmHandle:
    """A connection that this object opens, or one that it is given and leaves open."""

    def __init__(
        self,
        handle: Any = None,
        ipAddress: Any = None,
        opMode: Any = dcgm_structs.DCGM_OPERATION_MODE_AUTO,
        persistAfterDisconnect: Any = False,
        unixSocketPath: Any = None,
        timeoutMs: Any = 0,
    ) -> None:
        self._handleCreated = False
        self._ipAddress = ipAddress
        self.handle = handle
        if handle is not None:
            return
        if ipAddress is not None and unixSocketPath is not None:
            raise dcgm_structs.DCGMError(dcgm_structs.DCGM_ST_BADPARAM)
        if ipAddress is None and unixSocketPath is None:
            raise NotSimulated(
                "DcgmHandle without an address starts an engine in its own process, which is not"
                " simulated: give ipAddress or unixSocketPath"
            )
        parameters = dcgm_structs.c_dcgmConnectV2Params_v2()
        parameters.persistAfterDisconnect = int(bool(persistAfterDisconnect))
        parameters.timeoutMs = timeoutMs
        parameters.addressIsUnixSocket = int(ipAddress is None)
        dcgm_agent.dcgmInit()
        self.handle = dcgm_agent.dcgmConnect_v2(ipAddress or unixSocketPath, parameters)
        self.isEmbedded = False
        self._handleCreated = True

    def __del__(self) -> None:
        """Close the connection."""
        self.Shutdown()

    def GetSystem(self) -> DcgmSystem:
        """Return what concerns the engine as a whole."""
        return DcgmSystem(self)

    def Shutdown(self) -> None:
        """Close the connection if this object opened it."""
        if self._handleCreated:
            self._handleCreated = False
            dcgm_agent.dcgmDisconnect(self.handle)
            self.handle = None

    @staticmethod
    def Unload() -> None:
        """Close the connections of the whole process."""
        dcgm_agent.dcgmShutdown()

    def GetIpAddress(self) -> Any:
        """Return the address that was given, or None."""
        return self._ipAddress
