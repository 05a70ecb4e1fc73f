"""Look at everything at once, and wait for nothing longer than a person would."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from typing import Any

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.errors import ConfigurationError, ExporterError
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking import commands, machine, web
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings, read_as_service
from do_dcgm_exporter.integration.looking.containers import RUNTIMES, Container, find_containers
from do_dcgm_exporter.integration.looking.engine_probe import ask_engine
from do_dcgm_exporter.integration.looking.processes import Processes, scan, unit_of
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.sockets import listens
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView
from do_dcgm_exporter.integration.looking.units import SeenUnit, look_at_units
from do_dcgm_exporter.integration.looking.web import Answer
from do_dcgm_exporter.serve.port import Holder, find_holder

# All of "check" has five seconds: one look comes before all others, which depend on it.
_LONGEST_FIRST_LOOK = 0.8
_LONGEST_LOOK = 3.4

_NOBODY = EngineAnswer(Condition.FAILED, "it was not asked")
_OWN_SERVICE = "own service, so its drop-ins are not known"


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
    packages: Mapping[str, str] = field(default_factory=dict)
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
    unseen: tuple[str, ...] = ()


def survey(
    host: Host, systemd: Systemd, environ: Mapping[str, str], known: Iterable[str] = ()
) -> Findings:
    """Look at everything; takes some four seconds at the most.

    ``known`` are units that have been changed, which are looked at whatever they are now.
    """
    first = _Looks()
    if host.runs_systemd:
        first.start(_OWN_SERVICE, systemd.view, OWN_SERVICE)
    unseen = first.wait(_LONGEST_FIRST_LOOK)
    service: UnitView | None = first.seen(_OWN_SERVICE)
    settings, wrong = _configuration(host, service, environ)
    address = settings.local_engine
    processes = scan(host, address.port)
    looks = _start(host, systemd, settings, processes, known)
    unseen += looks.wait(_LONGEST_LOOK)
    engine = looks.seen("engine", _NOBODY)
    units, odd_units = looks.seen("services", ((), ()))
    return Findings(
        settings=settings,
        configuration_error=wrong,
        driver=machine.driver_version(host),
        packages=looks.seen("packages", {}),
        has_engine_program=host.path("/usr/bin/nv-hostengine").exists(),
        engine=engine,
        local_engine=engine if address == settings.engine else looks.seen("local engine", _NOBODY),
        engine_unit=looks.seen("engine's unit"),
        engine_port=looks.seen("engine's port", PortUse(False)),
        own_port=looks.seen("own port", PortUse(False)),
        processes=processes,
        knows_embedded=listens(host.proc, address.port),
        units=units,
        containers=tuple(one for runtime in RUNTIMES for one in looks.seen(runtime, ())),
        other_engines=_other_engines(host, processes, address.port),
        service=service,
        health=looks.seen("health"),
        unseen=(*unseen, *odd_units, *_hidden(host, processes)),
    )


def _configuration(
    host: Host, service: UnitView | None, environ: Mapping[str, str]
) -> tuple[IntegrationSettings, str]:
    try:
        return read_as_service(host, service, environ), ""
    except ConfigurationError as error:
        return IntegrationSettings(), str(error)


def _start(
    host: Host,
    systemd: Systemd,
    settings: IntegrationSettings,
    processes: Processes,
    known: Iterable[str],
) -> _Looks:
    looks, address = _Looks(), settings.local_engine
    looks.start("engine", ask_engine, settings.engine, settings.bindings)
    if address != settings.engine:
        looks.start("local engine", ask_engine, address, settings.bindings)
    looks.start("packages", machine.dcgm_packages)
    looks.start("health", web.health, settings.address)
    looks.start("engine's port", _port_use, host, address.port)
    looks.start("own port", _port_use, host, settings.address.port)
    if host.runs_systemd:
        looks.start("engine's unit", systemd.view, ENGINE_SERVICE)
        looks.start("services", look_at_units, host, systemd, Programs(host), processes, known)
    for runtime in RUNTIMES:
        looks.start(runtime, find_containers, host, runtime, processes)
    return looks


class _Looks:
    """Several looks at once, each on a thread of its own, which nobody has to wait for."""

    def __init__(self) -> None:
        self._looks: dict[str, Future[Any]] = {}

    def start(self, name: str, look: Callable[..., Any], *arguments: Any) -> None:
        """Begin a look; ``name`` says what at."""
        seen: Future[Any] = Future()

        def run() -> None:
            try:
                seen.set_result(look(*arguments))
            except ExporterError as error:
                seen.set_exception(error)

        self._looks[name] = seen
        threading.Thread(target=run, name=name, daemon=True).start()

    def wait(self, seconds: float) -> tuple[str, ...]:
        """Wait for all of them, but no longer, and say what could not be looked at."""
        done, late = wait(self._looks.values(), seconds)
        commands.end_all()
        failed = {name: look.exception() for name, look in self._looks.items() if look in done}
        return (
            *(f"{name}: {error}" for name, error in failed.items() if error),
            *(f"{name}: no answer in time" for name, look in self._looks.items() if look in late),
        )

    def seen(self, name: str, otherwise: Any = None) -> Any:
        """Return what a look has found."""
        look = self._looks.get(name)
        return otherwise if look is None or not look.done() or look.exception() else look.result()


def _other_engines(host: Host, processes: Processes, port: int) -> dict[int, str]:
    """Return the units of engines that are not on our engine's port, by process."""
    if processes.unseen:
        return {}  # whose ports are whose cannot be seen
    others = sorted(pid for pid, ports in processes.engines.items() if port not in ports)
    return {pid: unit_of(host.proc, str(pid)) for pid in others}


def _port_use(host: Host, port: int) -> PortUse:
    """Say who listens on a port."""
    if not listens(host.proc, port):
        return PortUse(False)
    holder = find_holder(port, host.proc)
    return PortUse(True, holder, unit_of(host.proc, str(holder.pid)) if holder else "")


def _hidden(host: Host, processes: Processes) -> Iterator[str]:
    # With hidepid= others' processes are not even listed: proc(5).
    if processes.unseen or not host.path("/proc/1").exists():
        yield "processes of other users: run it as root"
    if not host.runs_systemd:
        yield "services: systemd does not run here"
