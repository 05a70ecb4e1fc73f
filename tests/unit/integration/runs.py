"""Runs of apply and restore on a machine in a directory."""

from __future__ import annotations

from typing import Any

from tests.unit.integration.conftest import ENGINE, ETC, UNIT, Machine

from do_dcgm_exporter.dcgm.engine_answer import EngineAnswer
from do_dcgm_exporter.integration.changing.applying import Applying
from do_dcgm_exporter.integration.changing.files import forget_refusals
from do_dcgm_exporter.integration.changing.running import Means, alone
from do_dcgm_exporter.integration.changing.undoing import restore
from do_dcgm_exporter.integration.deciding.records import Record, record_of
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings

DROP_IN = f"{ETC}/{UNIT}.d/zz-do-dcgm-exporter.conf"
STATE = "var/lib/do-dcgm-exporter"
CLIENT = "localhost:5555"
TOLD = f"DCGM_REMOTE_HOSTENGINE_INFO={CLIENT}"
# What systemctl is asked for that changes nothing.
READING = {"list-units", "show"}


def means(machine: Machine, **more: Any) -> Means:
    return Means(machine.host, machine.tell, proof_seconds=2.0, settle_seconds=0.0, **more)


def apply(
    machine: Machine,
    choice: Choice = Choice.REWRITE,
    *,
    engine: EngineAnswer = ENGINE,
    retry: bool = False,
    restart: bool = True,
    engine_unit: str = "nvidia",
) -> bool:
    machine.said.clear()
    used = means(machine)
    settings = IntegrationSettings(choice=choice, engine_unit=engine_unit)
    if retry:
        forget_refusals(machine.host)
    run = Applying(used, settings, lambda: engine)
    with alone(used):
        waiting = run.run() if restart else run.write_only()
    machine.said += [f"{unit} is pending" for unit in waiting or ()]
    return not used.failed


def undo(machine: Machine) -> bool:
    machine.said.clear()
    used = means(machine)
    with alone(used):
        restore(used)
    return not used.failed


def told(machine: Machine) -> str:
    return "\n".join(machine.said)


def restarts(machine: Machine) -> int:
    return len([words for words in machine.asked() if words[:2] == ["systemctl", "restart"]])


def record(machine: Machine, unit: str = UNIT) -> Record:
    """Return what the drop-in of a unit remembers."""
    return record_of(machine.read(f"{ETC}/{unit}.d/zz-do-dcgm-exporter.conf"))


def falls(machine: Machine) -> None:
    """Let the exporter, a client by now, end as it does when its engine goes."""
    machine.systemctl("stop", UNIT)
    machine.write("stand-in/refuses", UNIT)
    machine.systemctl("start", UNIT)
    assert machine.run_of(UNIT)["sub"] in ("failed", "auto-restart")
