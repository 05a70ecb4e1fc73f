"""Ask an engine for its release and GPUs, and wait for one that is just starting."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.host import ENGINE_SERVICE
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import CommandFailed, CommandTimedOut, run
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.systemd import UnitView

PROBE_SECONDS = 3.2
# NVIDIA's unit has no Type=, so it is active long before the port is open.
_LONGEST_START = 30.0
_PROGRAM = (
    "import sys; sys.dont_write_bytecode = True; sys.path.insert(0, sys.argv.pop(1));"
    "from do_dcgm_exporter.dcgm.probe import main; main(sys.argv[1:])"
)


def ask_engine(
    address: EngineAddress, bindings: Path | None, timeout: float = PROBE_SECONDS
) -> EngineAnswer:
    """Ask the engine at ``address`` in a child process that lives at most ``timeout`` seconds."""
    package = str(Path(__file__).resolve().parents[3])
    command = (sys.executable, "-I", "-c", _PROGRAM, package)
    try:
        answer = run(*command, json.dumps(asdict(address)), str(bindings or ""), timeout=timeout)
    except CommandTimedOut:
        return EngineAnswer(Condition.HUNG, f"it does not answer within {timeout:g} s")
    except CommandFailed as error:
        return EngineAnswer(Condition.FAILED, error.reason)
    return EngineAnswer.from_json(answer.splitlines()[-1])


def ask_starting_engine(
    settings: IntegrationSettings,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> EngineAnswer:
    """Ask the engine, repeatedly while its unit runs and its port is closed."""
    end = clock() + _LONGEST_START
    while True:
        answer = ask_engine(settings.local_engine, settings.bindings)
        with suppress(CommandFailed):
            is_absent = answer.condition is Condition.ABSENT
            if is_absent and clock() < end and systemd.view(ENGINE_SERVICE).will_run:
                sleep(0.5)
                continue
        return answer


def is_expected(view: UnitView | None, choice: str) -> bool:
    """Return whether an absent engine will start without anybody's help.

    ``view`` is that of the engine's unit, None if it could not be looked at. ``choice`` is the
    value of ``engine``: unless it is "none", our service pulls the unit in.
    """
    if view is None or view.will_run:
        return True
    if not view.is_there or view.active_state == "failed":
        return False
    return choice != "none" or view.file_state.startswith("enabled")
