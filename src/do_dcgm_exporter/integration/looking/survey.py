"""Look at everything at once, and wait for nothing longer than a person would."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking import commands, machine
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.containers import RUNTIMES, Container, find_containers
from do_dcgm_exporter.integration.looking.engine_probe import Condition, EngineAnswer, ask_engine
from do_dcgm_exporter.integration.looking.machine import Answer, Package
from do_dcgm_exporter.integration.looking.processes import Processes, scan, unit_of
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.sockets import listens, ports_of
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView
from do_dcgm_exporter.integration.looking.units import SeenUnit, SeenUnits, look_at_units
from do_dcgm_exporter.serve.port import Holder, find_holder

# All of "check" has five seconds: one look comes before all others, which depend on it.
_LONGEST_FIRST_LOOK = 0.8
_LONGEST_LOOK = 3.4

_NOBODY = EngineAnswer(Condition.FAILED, "it was not asked")


@dataclass(frozen=True, slots=True)
class PortUse:
    """Who listens on a port; ``unit`` is empty where that cannot be seen."""

    is_taken: bool
    holder: Holder | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was seen. What could not be looked at is in ``unseen``, one sentence each.

    ``engine`` is the one that our own service asks, ``local_engine`` the one that exporters of
    this machine can use; mostly they are the same. ``engine_port`` is the local one's.
    ``other_engines`` are units of engines on other ports, by process.
    """

    settings: IntegrationSettings
    configuration_error: str = ""
    driver: str = ""
    packages: tuple[Package, ...] = ()
    has_engine_program: bool = False
    engine: EngineAnswer = _NOBODY
    local_engine: EngineAnswer = _NOBODY
    engine_unit: UnitView | None = None
    engine_port: PortUse = field(default_factory=lambda: PortUse(False))
    own_port: PortUse = field(default_factory=lambda: PortUse(False))
    processes: Processes = field(default_factory=Processes)
    knows_embedded: bool = False
    units: tuple[SeenUnit, ...] = ()
    containers: tuple[Container, ...] = ()
    other_engines: Mapping[int, str] = field(default_factory=dict)
    service: UnitView | None = None
    health: Answer | None = None
    endpoint: Answer | None = None
    unseen: tuple[str, ...] = ()


class Looks:
    """Several looks at once, each on a thread of its own."""

    def __init__(self) -> None:
        self._results: dict[str, Any] = {}
        self._failures: dict[str, str] = {}
        self._threads: dict[str, threading.Thread] = {}

    def start(self, name: str, look: Callable[[], Any]) -> None:
        """Begin a look; ``name`` says what at."""

        def run() -> None:
            try:
                self._results[name] = look()
            except ExporterError as error:
                self._failures[name] = str(error)

        self._threads[name] = threading.Thread(target=run, name=name, daemon=True)
        self._threads[name].start()

    def wait(self, seconds: float) -> None:
        """Wait for all of them, but no longer."""
        end = time.monotonic() + seconds
        for thread in self._threads.values():
            thread.join(max(0.0, end - time.monotonic()))
        commands.end_all()

    def result(self, name: str, otherwise: Any = None) -> Any:
        """Return what a look has found."""
        return self._results.get(name, otherwise)

    def unseen(self) -> tuple[str, ...]:
        """Return what could not be looked at."""
        late = (name for name in self._threads if name not in {*self._results, *self._failures})
        return (
            *(f"{name}: {reason}" for name, reason in self._failures.items()),
            *(f"{name}: no answer in time" for name in late),
        )


def look_at_own_service(host: Host, systemd: Systemd) -> tuple[UnitView | None, tuple[str, ...]]:
    """Return the view of our own service, or why there is none."""
    if not host.runs_systemd:
        return None, ()
    try:
        return systemd.view(OWN_SERVICE, _LONGEST_FIRST_LOOK), ()
    except ExporterError as error:
        return None, (f"own service, so its drop-ins are not known: {error}",)


def survey(
    host: Host,
    systemd: Systemd,
    settings: IntegrationSettings,
    configuration_error: str,
    service: UnitView | None,
    unseen: tuple[str, ...],
    known: Iterable[str] = (),
) -> Findings:
    """Look at everything but our own ``service``; takes some three and a half seconds at the most.

    ``known`` are units that have been changed, which are looked at whatever they are now.
    """
    looks = Looks()
    address = settings.local_engine
    looks.start("engine", lambda: ask_engine(settings.engine, settings.bindings))
    if address != settings.engine:
        looks.start("local engine", lambda: ask_engine(address, settings.bindings))
    looks.start("packages", machine.dcgm_packages)
    looks.start("health", lambda: machine.health(settings.address))
    if settings.forward_url:
        looks.start("endpoint", lambda: machine.endpoint(settings.forward_url))
    processes = scan(host, address.port, with_engines=True)
    main_pids = (service.main_pid,) if service and service.main_pid else ()
    looks.start("engine's port", lambda: _port_use(host, address.port, processes.serving_pids))
    looks.start("own port", lambda: _port_use(host, settings.address.port, main_pids))
    if host.runs_systemd:
        looks.start(
            "services",
            lambda: look_at_units(host, systemd, Programs(host), processes, known),
        )
        looks.start("engine's unit", lambda: systemd.view(ENGINE_SERVICE))
    for runtime in RUNTIMES:
        looks.start(runtime, partial(find_containers, host, runtime, systemd, processes))
    looks.wait(_LONGEST_LOOK)

    engine = looks.result("engine", _NOBODY)
    local = looks.result("local engine", _NOBODY)
    seen = looks.result("services", SeenUnits(()))
    return Findings(
        settings=settings,
        configuration_error=configuration_error,
        driver=machine.driver_version(host),
        packages=looks.result("packages", ()),
        has_engine_program=host.path("/usr/bin/nv-hostengine").exists(),
        engine=engine,
        local_engine=engine if address == settings.engine else local,
        engine_unit=looks.result("engine's unit"),
        engine_port=looks.result("engine's port", PortUse(False)),
        own_port=looks.result("own port", PortUse(False)),
        processes=processes,
        knows_embedded=listens(host.proc, address.port),
        units=seen.units,
        containers=tuple(one for runtime in RUNTIMES for one in looks.result(runtime, ())),
        other_engines=_other_engines(host, processes),
        service=service,
        health=looks.result("health"),
        endpoint=looks.result("endpoint"),
        unseen=(*unseen, *looks.unseen(), *seen.unseen, *_hidden(host, processes)),
    )


def _other_engines(host: Host, processes: Processes) -> dict[int, str]:
    """Return the units of engines that are not on our engine's port, by process."""
    if processes.unseen:
        return {}  # whose ports are whose cannot be seen
    others = sorted(set(processes.engine_pids) - set(processes.serving_pids))
    return {pid: unit_of(host.proc, str(pid)) for pid in others}


def _port_use(host: Host, port: int, likely: Iterable[int]) -> PortUse:
    """Say who listens on a port; the ``likely`` are asked before all others."""
    proc = host.proc
    if not listens(proc, port):
        return PortUse(False)
    for pid in likely:
        if port in ports_of(proc, str(pid)):
            command = host.text(f"/proc/{pid}/comm").strip()
            return PortUse(True, Holder(command, pid), unit_of(proc, str(pid)))
    holder = find_holder(port, proc)
    return PortUse(True, holder, unit_of(proc, str(holder.pid)) if holder else "")


def _hidden(host: Host, processes: Processes) -> list[str]:
    hidden = []
    # With hidepid= others' processes are not even listed: proc(5).
    if processes.unseen or not host.path("/proc/1").exists():
        hidden.append("processes of other users: run it as root")
    if not host.runs_systemd:
        hidden.append("services: systemd does not run here")
    return hidden
