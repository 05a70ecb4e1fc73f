"""Name the errors of DCGM's health checks, and tell how bad they are and what they are about.

libdcgm has a severity and a category for each code (``dcgm_errors.c``); the bindings tell them by
number, and what they call a code. 3.1 and 3.2 have no categories.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

# dcgmErrorSeverity_enum and dcgmErrorCategory_enum (dcgm_errors.h); the bindings lack some.
_SEVERITIES = ("NONE", "MONITOR", "ISOLATE", "UNKNOWN", "TRIAGE", "CONFIG", "RESET")
_CATEGORIES = (
    *("NONE", "PERF_THRESHOLD", "PERF_VIOLATION"),
    *("SOFTWARE_CONFIG", "SOFTWARE_LIBRARY", "SOFTWARE_XID", "SOFTWARE_CUDA"),
    *("SOFTWARE_EUD", "SOFTWARE_OTHER", "HARDWARE_THERMAL", "HARDWARE_MEMORY"),
    *("HARDWARE_NVLINK", "HARDWARE_NVSWITCH", "HARDWARE_PCIE", "HARDWARE_POWER"),
    *("HARDWARE_OTHER", "INTERNAL_OTHER", "SOFTWARE_CPU_SDC"),
)
_UNKNOWN = "UNKNOWN"


@dataclass(frozen=True, slots=True)
class HealthError:
    """An error of a health check, all in DCGM's words without their prefixes."""

    name: str
    severity: str = _UNKNOWN
    category: str = _UNKNOWN


NO_ERROR = HealthError("DCGM_FR_OK", "NONE", "NONE")


def health_errors(module: Any) -> Mapping[int, HealthError]:
    """Return the errors that the bindings' module ``dcgm_errors`` knows, by code."""
    codes = {
        number: name
        for name, number in vars(module).items()
        # DCGM_FR_EC_… are categories, numbered on their own; the sentinel is no error.
        if re.match("DCGM_FR_(?!EC_|ERROR_SENTINEL)", name) and isinstance(number, int)
    }
    errors = {
        code: HealthError(name, _severity(module, code), _category(module, code))
        for code, name in codes.items()
    }
    return {**errors, 0: NO_ERROR}


def _severity(module: Any, code: int) -> str:
    # Before 3.3 there was no NONE, and all others had one less.
    shift = 0 if hasattr(module, "DCGM_ERROR_NONE") else 1
    return _word(_SEVERITIES, module.dcgmErrorGetPriorityByCode(code) + shift)


def _category(module: Any, code: int) -> str:
    ask = getattr(module, "dcgmErrorGetCategoryByCode", None)
    return _word(_CATEGORIES, ask(code)) if ask else _UNKNOWN


def _word(words: tuple[str, ...], number: int) -> str:
    return words[number] if 0 <= number < len(words) else _UNKNOWN
