"""Blank values of DCGM and how to tell them, as in NVIDIA's dcgmvalue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulated_library import BEHAVIOUR as _BEHAVIOUR
from simulated_library import constants as _constants

_CONSTANTS = _constants("dcgmvalue")
globals().update(_CONSTANTS)

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


def DCGM_INT32_IS_BLANK(val: Any) -> Any:
    """Return whether a 32-bit integer stands for no value."""
    return bool(val >= _CONSTANTS["DCGM_INT32_BLANK"])


def DCGM_INT64_IS_BLANK(val: Any) -> Any:
    """Return whether a 64-bit integer stands for no value."""
    return bool(val >= _CONSTANTS["DCGM_INT64_BLANK"])


def DCGM_FP64_IS_BLANK(val: Any) -> Any:
    """Return whether a double stands for no value."""
    return bool(val >= _CONSTANTS["DCGM_FP64_BLANK"])


def DCGM_STR_IS_BLANK(val: Any) -> Any:
    """Return whether a string stands for no value."""
    return val.startswith("<<<") and ">>>" in val


if _BEHAVIOUR.major >= 4:

    def DCGM_INT8_IS_BLANK(val: Any) -> Any:
        """Return whether an 8-bit integer stands for no value."""
        return bool(val >= _CONSTANTS["DCGM_INT8_BLANK"])
