"""DCGM's error codes as ours: which ones end a connection, and in what words."""

from __future__ import annotations

import pytest

from do_dcgm_exporter.dcgm.errors import (
    CallRefused,
    EngineError,
    EngineUnavailable,
    GpuIsLost,
    NvmlNotLoaded,
    ReturnCode,
    VersionSkew,
    engine_error,
)
from do_dcgm_exporter.errors import ConfigurationError, ExporterError


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        (
            ReturnCode.CONNECTION_NOT_VALID,
            EngineUnavailable,
            "the connection to the engine is gone",
        ),
        (ReturnCode.TIMEOUT, EngineUnavailable, "the engine did not answer in time"),
        (ReturnCode.UNINITIALIZED, EngineUnavailable, "not initialised"),
        (ReturnCode.NVML_DRIVER_TIMEOUT, EngineUnavailable, "the driver did not answer"),
        (ReturnCode.MAX_LIMIT, EngineUnavailable, "no room for more groups"),
        (ReturnCode.VERSION_MISMATCH, VersionSkew, "does not understand dcgmSomething"),
        (ReturnCode.FUNCTION_NOT_FOUND, VersionSkew, "does not understand dcgmSomething"),
        (ReturnCode.NVML_NOT_LOADED, NvmlNotLoaded, "the engine runs without NVML"),
        (ReturnCode.BAD_PARAMETER, CallRefused, "the engine refused dcgmSomething (Bad parameter)"),
        (ReturnCode.GENERIC_ERROR, CallRefused, "the engine refused dcgmSomething"),
        (ReturnCode.GPU_IS_LOST, GpuIsLost, "the engine refused dcgmSomething"),
        (ReturnCode.MODULE_NOT_LOADED, CallRefused, "the engine refused dcgmSomething"),
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
