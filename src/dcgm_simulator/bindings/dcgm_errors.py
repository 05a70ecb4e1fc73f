"""Errors of health checks and diagnostics, as in NVIDIA's dcgm_errors, without their texts.

Severities and categories are those that libdcgm tells (dcgm_errors.c of each release).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simulated_library import BEHAVIOUR as _BEHAVIOUR
from simulated_library import constants as _constants

from dcgm_simulator.fields import load as _load
from dcgm_simulator.versions import history_at as _history_at

_CONSTANTS = _constants("dcgm_errors")
globals().update(_CONSTANTS)

_OUT_OF_RANGE = (3, 3)
"""What libdcgm tells of a code that it does not know: a severity, as the category too."""

if TYPE_CHECKING:

    def __getattr__(name: str) -> Any: ...


def dcgmErrorGetPriorityByCode(code: Any) -> Any:
    """Return the severity of an error."""
    return _severity_and_category(code)[0]


def dcgmErrorGetCategoryByCode(code: Any) -> Any:
    """Return the category of an error."""
    return _severity_and_category(code)[1]


def _severity_and_category(code: int) -> Any:
    rows = _load("errors.json").get(str(code), [])
    return _history_at(rows, _BEHAVIOUR.index) or _OUT_OF_RANGE
