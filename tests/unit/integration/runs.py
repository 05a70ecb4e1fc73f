"""Runs of apply and restore on a machine in a directory."""

from __future__ import annotations

from collections.abc import Callable

from tests.unit.integration.conftest import ENGINE, ETC, UNIT, Machine

from do_dcgm_exporter.integration.changing import state
from do_dcgm_exporter.integration.changing.applying import Applying, Means, Wish, restore
from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings
from do_dcgm_exporter.integration.looking.engine_probe import EngineAnswer

DROP_IN = f"{ETC}/{UNIT}.d/zz-do-dcgm-exporter.conf"
CLIENT = "localhost:5555"


def means(machine: Machine, **more: object) -> Means:
    return Means(machine.host, machine.tell, shortest_wait=2.0, **more)


def apply(
    machine: Machine,
    choice: Choice = Choice.REWRITE,
    *,
    engine: EngineAnswer = ENGINE,
    retry: bool = False,
    recreate: bool = False,
    engine_unit: str = "nvidia",
    may_restart: Callable[[str], bool] = lambda _: True,
) -> bool:
    machine.said.clear()
    run = Applying(
        means(machine, may_restart=may_restart),
        IntegrationSettings(choice=choice, engine_unit=engine_unit),
        Wish(retry=retry, recreate_containers=recreate),
        ask=lambda: engine,
    )
    with state.locked(machine.host, 60.0):
        return run.run()


def plan(machine: Machine, *, recreate: bool = False) -> list[str]:
    wish = Wish(recreate_containers=recreate)
    return Applying(means(machine), IntegrationSettings(), wish, ask=lambda: ENGINE).plan()


def undo(machine: Machine) -> bool:
    machine.said.clear()
    with state.locked(machine.host, 60.0):
        return restore(means(machine))


def told(machine: Machine) -> str:
    return "\n".join(machine.said)


def restarts(machine: Machine) -> int:
    return len([words for words in machine.asked() if words[:2] == ["systemctl", "restart"]])
