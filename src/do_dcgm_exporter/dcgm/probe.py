"""Ask an engine once who it is, as a program of its own: a hung engine blocks its caller."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from do_dcgm_exporter.dcgm.bindings import BindingsError, load_bindings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer, Profiling
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import (
    CallRefused,
    EngineError,
    EngineUnavailable,
    NvmlNotLoaded,
    ReturnCode,
    VersionSkew,
)

_CONNECT_SECONDS = 1.0
_UUID = 54  # DCGM_FI_DEV_UUID


def main(arguments: Sequence[str]) -> None:
    """Print the answer as JSON; ``arguments`` are the address as JSON and the bindings."""
    where, bindings = arguments
    address = EngineAddress(**json.loads(where))
    print(json.dumps(asdict(_ask(address, Path(bindings) if bindings else None))))


def _ask(address: EngineAddress, directory: Path | None) -> EngineAnswer:
    try:
        bindings = load_bindings(directory)
    except BindingsError as error:
        return EngineAnswer(Condition.NO_CLIENT, str(error))
    simulated = bindings.simulated
    try:
        engine = HostEngine.connect(bindings, address, _CONNECT_SECONDS, CallCount())
    except EngineError as error:
        client, release = error.versions.client, error.versions.engine
        return EngineAnswer(_condition(error), str(error), client, release, simulated=simulated)
    try:
        gpus = engine.gpu_ids()
        condition, reason = _reading(engine, gpus)
        client, release = engine.versions.client, engine.versions.engine
        profiling = _profiling(engine, gpus)
        return EngineAnswer(condition, reason, client, release, len(gpus), profiling, simulated)
    finally:
        engine.disconnect()


def _condition(error: EngineError) -> Condition:
    if isinstance(error, VersionSkew):
        return Condition.DOES_NOT_FIT
    return Condition.NO_DRIVER if isinstance(error, NvmlNotLoaded) else Condition.ABSENT


def _reading(engine: HostEngine, gpus: Sequence[int]) -> tuple[Condition, str]:
    """Read a value: a client of 4.6 cannot do that with an older engine, though it can connect."""
    try:
        for gpu in gpus[:1]:
            engine.latest([Entity(EntityKind.GPU, gpu)], [_UUID])
    except EngineUnavailable as error:
        return _condition(error), str(error)
    except CallRefused:
        pass  # it has answered, which is all that is asked here
    return Condition.ANSWERS, ""


def _profiling(engine: HostEngine, gpus: Sequence[int]) -> Profiling:
    if not gpus:
        return Profiling.UNKNOWN
    try:
        return Profiling.WORKS if engine.profiling_field_ids(gpus[0]) else Profiling.UNSUPPORTED
    except EngineError as error:
        if error.code == ReturnCode.MODULE_NOT_LOADED:
            return Profiling.NOT_LOADED
        return (
            Profiling.UNSUPPORTED if error.code == ReturnCode.NOT_SUPPORTED else Profiling.UNKNOWN
        )
