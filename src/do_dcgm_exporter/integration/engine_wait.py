"""Ask the engine, and wait for one that is just starting."""

from __future__ import annotations

import time
from collections.abc import Callable

from do_dcgm_exporter.integration.commands import CommandFailed
from do_dcgm_exporter.integration.configuration import IntegrationSettings
from do_dcgm_exporter.integration.engine_probe import Condition, EngineAnswer, ask_engine
from do_dcgm_exporter.integration.host import ENGINE_SERVICE
from do_dcgm_exporter.integration.systemd import Systemd

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
        return systemd.view(ENGINE_SERVICE).is_running
    except CommandFailed:
        return False
