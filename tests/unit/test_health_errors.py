"""What DCGM says about the errors of its health checks, release by release."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from dcgm_simulator import ALL_VERSIONS
from dcgm_simulator.testing import load_bindings
from do_dcgm_exporter.dcgm.health_errors import NO_ERROR, HealthError, health_errors

POWER, PENDING, FATAL = 12, 6, 15


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_errors_of_a_release_have_their_names_severities_and_categories(version: str) -> None:
    known = health_errors(load_bindings(version).errors)
    assert known[0] == NO_ERROR
    assert known[POWER] == HealthError("DCGM_FR_CLOCK_THROTTLE_POWER", "MONITOR", "HARDWARE_POWER")
    assert known[FATAL] == HealthError(
        "DCGM_FR_NVSWITCH_FATAL_ERROR", "ISOLATE", "HARDWARE_NVSWITCH"
    )
    # The bindings lack this severity before 4.3, libdcgm has it since 3.3.
    assert known[PENDING].severity == "RESET"
    assert sorted(known) == list(range(len(known)))
    assert len(known) > 110


def test_severities_of_3_1_count_from_monitor_and_there_are_no_categories() -> None:
    """As dcgm_errors.py and dcgm_errors.c of 3.1.8."""
    module = SimpleNamespace(
        DCGM_FR_OK=0,
        DCGM_FR_VOLATILE_DBE_DETECTED=4,
        DCGM_FR_VOLATILE_SBE_DETECTED=5,
        DCGM_FR_ERROR_SENTINEL=98,
        DCGM_ERROR_MONITOR=0,
        DCGM_ERROR_ISOLATE=1,
        DCGM_ERROR_UNKNOWN=2,
        dcgmErrorGetPriorityByCode={0: 0, 4: 1, 5: 0}.__getitem__,
    )
    assert health_errors(module) == {
        0: NO_ERROR,
        4: HealthError("DCGM_FR_VOLATILE_DBE_DETECTED", "ISOLATE", "UNKNOWN"),
        5: HealthError("DCGM_FR_VOLATILE_SBE_DETECTED", "MONITOR", "UNKNOWN"),
    }


def test_a_number_of_a_later_release_is_unknown_not_wrong() -> None:
    module = SimpleNamespace(
        DCGM_FR_NEW=200,
        DCGM_ERROR_NONE=0,
        dcgmErrorGetPriorityByCode=lambda _: 7,
        dcgmErrorGetCategoryByCode=lambda _: 99,
    )
    assert health_errors(module)[200] == HealthError("DCGM_FR_NEW", "UNKNOWN", "UNKNOWN")
