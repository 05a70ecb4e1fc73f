"""DCGM's error codes as ours: which ones end a connection, and in what words."""

from __future__ import annotations

import pytest

from do_dcgm_exporter.dcgm.errors import (
    CallRefused,
    EngineError,
    EngineUnavailable,
    GpuIsLost,
    NvmlNotLoaded,
    Status,
    VersionSkew,
    engine_error,
)
from do_dcgm_exporter.errors import ConfigurationError, ExporterError


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (Status.CONNECTION_NOT_VALID, EngineUnavailable, "the connection to the engine is gone"),
        (Status.TIMEOUT, EngineUnavailable, "the engine did not answer in time"),
        (Status.UNINITIALIZED, EngineUnavailable, "not initialised"),
        (Status.NVML_DRIVER_TIMEOUT, EngineUnavailable, "the driver did not answer"),
        (Status.MAX_LIMIT, EngineUnavailable, "no room for more groups"),
        (Status.VERSION_MISMATCH, VersionSkew, "does not understand dcgmSomething"),
        (Status.FUNCTION_NOT_FOUND, VersionSkew, "does not understand dcgmSomething"),
        (Status.NVML_NOT_LOADED, NvmlNotLoaded, "the engine runs without NVML"),
        (Status.BAD_PARAMETER, CallRefused, "the engine refused dcgmSomething (Bad parameter)"),
        (Status.GENERIC_ERROR, CallRefused, "the engine refused dcgmSomething"),
        (Status.GPU_IS_LOST, GpuIsLost, "the engine refused dcgmSomething"),
        (Status.MODULE_NOT_LOADED, CallRefused, "the engine refused dcgmSomething"),
        (-999, CallRefused, "the engine refused dcgmSomething"),
    ],
)
def test_a_code_becomes_an_error_that_says_what_to_do(
    code: int, kind: type[EngineError], words: str
) -> None:
    error = engine_error(code, "Bad parameter", "dcgmSomething")
    assert kind is type(error)
    assert words in str(error)
    assert code == error.code


@pytest.mark.parametrize("kind", [EngineUnavailable, VersionSkew, NvmlNotLoaded])
def test_what_ends_a_connection_is_one_family(kind: type[EngineError]) -> None:
    assert issubclass(kind, EngineUnavailable)
    assert not issubclass(CallRefused, EngineUnavailable)


def test_a_wrong_configuration_has_its_own_exit_status() -> None:
    assert (1, 2) == (ExporterError.exit_status, ConfigurationError.exit_status)
