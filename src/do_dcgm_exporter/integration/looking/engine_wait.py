"""Ask the engine, and wait for one that is just starting."""

from __future__ import annotations

import time
from collections.abc import Callable

from do_dcgm_exporter.integration.host import ENGINE_SERVICE
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.engine_probe import Condition, EngineAnswer, ask_engine
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView

# Its unit is active long before its port is: NVIDIA's has no Type=.
_LONGEST_START = 30.0


def ask_starting_engine(
    settings: IntegrationSettings,
    systemd: Systemd,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> EngineAnswer:
    """Ask the engine, again and again as long as its unit runs and its port is closed."""
    end = clock() + _LONGEST_START
    while True:
        answer = ask_engine(settings.local_engine, settings.bindings)
        if answer.condition is not Condition.ABSENT or clock() >= end or not _starts(systemd):
            return answer
        sleep(0.5)


def _starts(systemd: Systemd) -> bool:
    try:
        view = systemd.view(ENGINE_SERVICE)
    except CommandFailed:
        return False
    return view.is_running or view.sub_state == "auto-restart"


def is_expected(view: UnitView | None, choice: str) -> bool:
    """Whether an engine that is absent will come without anybody setting it up anew.

    ``view`` is that of the engine's unit, None where it could not be looked at, ``choice``
    the value of ``engine``: unless it is "none", our service pulls the unit in.
    """
    if view is None or view.is_running or view.sub_state == "auto-restart":
        return True
    if not view.is_there or view.active_state == "failed":
        return False
    return choice != "none" or view.file_state.startswith("enabled")
