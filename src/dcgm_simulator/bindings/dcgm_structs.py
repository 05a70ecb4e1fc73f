"""Constants, errors and structures of DCGM, as in NVIDIA's dcgm_structs."""

from __future__ import annotations

import ctypes
import string
from typing import TYPE_CHECKING, Any

from simulated_c_functions import C_FUNCTIONS as _FUNCTIONS
from simulated_library import BEHAVIOUR as _BEHAVIOUR
from simulated_library import LIBRARY as _LIBRARY
from simulated_library import STRUCTURES as _STRUCTURES
from simulated_library import constants as _constants

_CONSTANTS = _constants("dcgm_structs")
if _BEHAVIOUR.index < 2:
    # A stray comma in the bindings before 4.5 makes a tuple of this one, so that a
    # driver timeout raises the bare DCGMError there.
    _CONSTANTS["DCGM_ST_NVML_DRIVER_TIMEOUT"] = (-57,)
globals().update(_CONSTANTS)
globals().update(_STRUCTURES)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


_MESSAGES = {
    -1: "Bad parameter passed to function",
    -3: "Generic unspecified error",
    -5: "Setting not configured",
    -6: "Feature not supported",
    -10: "Object is in an undefined state",
    -11: "Timeout",
    -12: "API version mismatch",
    -13: "Unknown field",
    -14: "No data is available",
    -16: "Field is not being updated",
    -17: "Not permissioned",
    -18: "GPU is unreachable",
    -20: "Unable to find function",
    -21: "The connection to the host engine is not valid any longer",
    -22: "This GPU is not supported by DCGM",
    -24: "Max limit reached for the object",
    -26: "Duplicate key passed to function",
    -31: "An input argument is not large enough",
    -33: "This request is serviced by a module of DCGM that is not currently loaded",
    -36: "Profiling is not supported for this group of GPUs or GPU",
    -56: "NVML couldn't be loaded on this system",
}
"""What programs may have learned to look for; other codes are only numbered."""


_CLASSES: dict[Any, type[DCGMError]] = {}
"""Subclasses of DCGMError by status."""


class DCGMError(Exception):
    """A call failed; `value` is the status. Creating one picks the fitting subclass."""

    value: Any
    info: Any

    def __new__(typ, value: Any) -> Any:
        """Return an error of the subclass for a status."""
        if typ is DCGMError:
            typ = _CLASSES.get(value, typ)
        made = Exception.__new__(typ)
        made.info = None
        made.value = value
        return made

    def __str__(self) -> Any:
        """Return the text of the status, and the additional information."""
        text = _MESSAGES.get(self.value, f"DCGM Error with code {self.value}")
        return text if self.info is None else f"{text.removesuffix('.')}: '{self.info}'"

    def __eq__(self, other: Any) -> Any:
        """Compare statuses; with what is no DCGMError, raise AttributeError as the real one."""
        return self.value == other.value

    def __hash__(self) -> Any:
        """Return the hash of the status."""
        return hash(self.value)

    def SetAdditionalInfo(self, msg: Any) -> Any:
        """Add text to what `str` gives."""
        self.info = msg


def dcgmExceptionClass(error_code: Any) -> Any:
    """Return the subclass of DCGMError for a status, or None."""
    return _CLASSES.get(error_code)


def _define_errors() -> None:
    """Define DCGMError_NoData for DCGM_ST_NO_DATA, and so on."""
    prefix = "DCGM_ST_"
    for name, status in _CONSTANTS.items():
        if name.startswith(prefix):
            words = string.capwords(name.removeprefix(prefix), "_").replace("_", "")
            class_name = f"DCGMError_{words}"
            made = type(
                class_name, (DCGMError,), {"__new__": _maker(status), "__module__": __name__}
            )
            globals()[class_name] = made
            _CLASSES[status] = made


def _maker(status: int) -> Any:
    return lambda typ, *_: DCGMError.__new__(typ, status)


_define_errors()


def make_dcgm_version(struct: Any, ver: Any) -> Any:
    """Return the version number of a structure: its size and a count."""
    return ctypes.sizeof(struct) | (ver << 24)


def _dcgmInit(libDcgmPath: Any = None) -> Any:
    """Do what loads libdcgm in the real bindings; there is nothing to load."""


def _dcgmShutdown() -> Any:
    """Close all connections."""
    _LIBRARY.shut_down()


def _dcgmCheckReturn(ret: Any) -> Any:
    """Raise the DCGMError for a status other than 0.

    Raises DCGMError.
    """
    if ret != 0:
        raise DCGMError(ret)
    return ret


def _dcgmGetFunctionPointer(name: Any) -> Any:
    """Return a function of libdcgm that takes C arguments and returns a status.

    Raises DCGMError_FunctionNotFound for all that are not simulated.
    """
    if name not in _FUNCTIONS:
        raise DCGMError(_CONSTANTS["DCGM_ST_FUNCTION_NOT_FOUND"])
    return _FUNCTIONS[name]
