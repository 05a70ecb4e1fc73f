"""Ask the engine who it is, in a child process: a hung engine blocks its caller for ever."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.integration.looking.commands import CommandFailed, CommandTimedOut, run

if TYPE_CHECKING:
    from do_dcgm_exporter.dcgm.connection import HostEngine
    from do_dcgm_exporter.dcgm.errors import EngineError

# So that "check" stays within its five seconds.
PROBE_SECONDS = 3.2
_CONNECT_SECONDS = 1.0
_UUID = 54  # DCGM_FI_DEV_UUID


class Condition(Enum):
    """What came of asking."""

    ANSWERS = "answers"
    NO_DRIVER = "answers without a driver"
    DOES_NOT_FIT = "does not fit"
    HUNG = "hung"
    ABSENT = "absent"
    NO_CLIENT = "no client library"
    FAILED = "failed"


class Profiling(Enum):
    """Whether the engine can profile the GPUs."""

    WORKS = "works"
    NOT_LOADED = "module not loaded"
    UNSUPPORTED = "not supported"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class EngineAnswer:
    """What is known of the engine; releases are empty where nobody told them."""

    condition: Condition
    reason: str = ""
    client: str = ""
    engine: str = ""
    gpus: int = 0
    profiling: Profiling = Profiling.UNKNOWN
    simulated: bool = False

    @property
    def answers(self) -> bool:
        """Whether an exporter can connect to it, if it speaks the same DCGM."""
        return self.condition in (Condition.ANSWERS, Condition.NO_DRIVER, Condition.DOES_NOT_FIT)

    @property
    def major(self) -> int:
        """The engine's major release, 0 when it is not known."""
        first = self.engine.partition(".")[0]
        return int(first) if first.isdigit() else 0


def ask_engine(
    address: EngineAddress, bindings: Path | None, timeout: float = PROBE_SECONDS
) -> EngineAnswer:
    """Ask the engine at ``address`` in a child process that lives no longer than ``timeout``."""
    package = Path(__file__).resolve().parents[3]
    program = (
        "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv.pop(1));"
        "from do_dcgm_exporter.integration.looking.engine_probe import main; main(sys.argv[1:])"
    )
    arguments = (address.host, str(address.port), address.socket_path, str(bindings or ""))
    try:
        answer = run(sys.executable, "-I", "-c", program, str(package), *arguments, timeout=timeout)
    except CommandTimedOut:
        return EngineAnswer(Condition.HUNG, f"it does not answer within {timeout:g} s")
    except CommandFailed as error:
        return EngineAnswer(Condition.FAILED, error.reason)
    data = json.loads(answer.splitlines()[-1])
    return EngineAnswer(
        **{
            **data,
            "condition": Condition(data["condition"]),
            "profiling": Profiling(data["profiling"]),
        }
    )


def main(arguments: Sequence[str]) -> None:
    """Be the child: connect, and print an answer as JSON."""
    host, port, socket_path, bindings = arguments
    address = EngineAddress(host, int(port), socket_path)
    answer = _ask(address, Path(bindings) if bindings else None)
    data = {**asdict(answer), "condition": answer.condition.value}
    print(json.dumps({**data, "profiling": answer.profiling.value}))


def _ask(address: EngineAddress, directory: Path | None) -> EngineAnswer:
    # All of this is the child's alone.
    from do_dcgm_exporter.dcgm.bindings import BindingsError, load_bindings
    from do_dcgm_exporter.dcgm.call_count import CallCount
    from do_dcgm_exporter.dcgm.connection import HostEngine
    from do_dcgm_exporter.dcgm.errors import EngineError

    try:
        bindings = load_bindings(directory)
    except BindingsError as error:
        return EngineAnswer(Condition.NO_CLIENT, str(error))
    simulated = bindings.simulated
    try:
        engine = HostEngine.connect(bindings, address, _CONNECT_SECONDS, CallCount())
    except EngineError as error:
        return EngineAnswer(
            _condition(error),
            str(error),
            error.versions.client,
            error.versions.engine,
            simulated=simulated,
        )
    try:
        return _look_closer(engine, simulated)
    finally:
        engine.disconnect()


def _condition(error: EngineError) -> Condition:
    from do_dcgm_exporter.dcgm.errors import NvmlNotLoaded, VersionSkew

    if isinstance(error, VersionSkew):
        return Condition.DOES_NOT_FIT
    return Condition.NO_DRIVER if isinstance(error, NvmlNotLoaded) else Condition.ABSENT


def _look_closer(engine: HostEngine, simulated: bool) -> EngineAnswer:
    from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
    from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable

    condition, reason, gpus = Condition.ANSWERS, "", engine.gpu_ids()
    if gpus:
        try:
            # A client of 4.6 cannot read from an older engine, though it can connect.
            engine.latest([Entity(EntityKind.GPU, gpus[0])], [_UUID])
        except EngineUnavailable as error:
            condition, reason = _condition(error), str(error)
        except CallRefused:
            pass  # it has answered, which is all that is asked here
    return EngineAnswer(
        condition,
        reason,
        engine.versions.client,
        engine.versions.engine,
        len(gpus),
        _profiling(engine, gpus),
        simulated,
    )


def _profiling(engine: HostEngine, gpus: Sequence[int]) -> Profiling:
    from do_dcgm_exporter.dcgm.errors import EngineError, ReturnCode

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
