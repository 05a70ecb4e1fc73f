"""Translate DCGM's errors into ours: what failed, and what it means for the connection."""

from __future__ import annotations

from enum import IntEnum

from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.errors import ExporterError


class ReturnCode(IntEnum):
    """The ``dcgmReturn_t`` codes this program acts on (dcgm_structs.h)."""

    OK = 0
    BAD_PARAMETER = -1
    GENERIC_ERROR = -3
    NOT_SUPPORTED = -6
    UNINITIALIZED = -10
    TIMEOUT = -11
    VERSION_MISMATCH = -12
    UNKNOWN_FIELD = -13
    NO_DATA = -14
    STALE_DATA = -15
    NOT_WATCHED = -16
    NO_PERMISSION = -17
    GPU_IS_LOST = -18
    FUNCTION_NOT_FOUND = -20
    CONNECTION_NOT_VALID = -21
    MAX_LIMIT = -24
    REQUIRES_ROOT = -29
    INSUFFICIENT_SIZE = -31
    MODULE_NOT_LOADED = -33
    NVML_NOT_LOADED = -56
    NVML_DRIVER_TIMEOUT = -57


class EngineError(ExporterError):
    """Raised when an engine call fails. ``code`` is DCGM's, 0 if DCGM gave none.

    ``versions`` are those of both sides, if the failed connection got to learn them.
    """

    def __init__(self, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.code = code
        self.versions = Versions()


class EngineUnavailable(EngineError):
    """Raised when the connection is no longer usable and only a new one can help."""


class VersionSkew(EngineUnavailable):
    """Raised when the releases of client library and engine do not match."""


class NvmlNotLoaded(EngineUnavailable):
    """Raised when the engine runs without NVML, that is without a working driver."""


class CallRefused(EngineError):
    """Raised when the engine refuses one call but the connection stays good."""


class GpuIsLost(CallRefused):
    """Raised when the engine refuses a call for a GPU that the driver has lost."""


# Codes after which only a new connection can help, and what they mean.
_FATAL = {
    ReturnCode.CONNECTION_NOT_VALID: "the connection to the engine is gone",
    ReturnCode.TIMEOUT: "the engine did not answer in time",
    ReturnCode.UNINITIALIZED: "the DCGM library is not initialised",
    ReturnCode.NVML_DRIVER_TIMEOUT: "the driver did not answer the engine in time",
    ReturnCode.MAX_LIMIT: "the engine has no room for more groups, because a client leaks them:"
    " restart nvidia-dcgm",
}


_SKEW = (ReturnCode.VERSION_MISMATCH, ReturnCode.FUNCTION_NOT_FOUND)


def engine_error(code: int, words: str, call: str) -> EngineError:
    """Return our error for DCGM's ``code``, returned by ``call``."""
    if code in _FATAL:
        return EngineUnavailable(f"{_FATAL[ReturnCode(code)]} ({call})", code)
    if code in _SKEW:
        return VersionSkew(f"the engine does not understand {call} ({words})", code)
    if code == ReturnCode.NVML_NOT_LOADED:
        return NvmlNotLoaded(
            "the engine runs without NVML: install or load the NVIDIA driver,"
            " then restart nvidia-dcgm",
            code,
        )
    refusal = GpuIsLost if code == ReturnCode.GPU_IS_LOST else CallRefused
    return refusal(f"the engine refused {call} ({words})", code)
