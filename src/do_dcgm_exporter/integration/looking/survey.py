"""Look at everything in parallel, for no longer than a person would wait, or wants to."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.errors import ConfigurationError, ExporterError
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, Host
from do_dcgm_exporter.integration.looking import commands, systemd, web
from do_dcgm_exporter.integration.looking.configuration import (
    IntegrationSettings,
    own_service,
    read_as_service,
)
from do_dcgm_exporter.integration.looking.containers import RUNTIMES, Container, find_containers
from do_dcgm_exporter.integration.looking.engine_probe import ask_engine
from do_dcgm_exporter.integration.looking.processes import Processes, scan
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.looking.units import SeenUnit, look_at_units
from do_dcgm_exporter.integration.looking.web import Answer
from do_dcgm_exporter.process_owners import owner_of
from do_dcgm_exporter.sockets import Holder, find_holder, listens

# Seconds that a person waits without being told, and on request.
PATIENCE, LONG_PATIENCE = 5.0, 60.0
# Shares of it. The first look comes before all others, which need it; the rest is for starting,
# for looking at processes and for the report. Servers that hang are named, not left unseen.
_FIRST_LOOK, _LOOKS, _ANSWERS = 0.16, 0.68, 0.64

_NOBODY = EngineAnswer(Condition.FAILED, "it was not asked")
_PACKAGES = re.compile(r"datacenter-gpu-manager|dcgm-simulator|libdcgm$|nv-hostengine$")


@dataclass(frozen=True, slots=True)
class PortUse:
    """Who listens on a port; ``unit`` is empty if that cannot be seen."""

    is_taken: bool
    holder: Holder | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Findings:
    """Everything that was seen. ``unseen`` says what could not be looked at, a sentence each.

    ``engine`` is the one our own service uses, ``local_engine`` the one that exporters on this
    machine can use; usually they are the same. ``engine_port`` is the local one's.
    ``other_engines`` has, for each process of an engine on another port, its unit.
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
    units: tuple[SeenUnit, ...] = ()
    containers: tuple[Container, ...] = ()
    other_engines: Mapping[int, str] = field(default_factory=dict)
    service: UnitView | None = None
    health: Answer | None = None
    unseen: tuple[str, ...] = ()


def survey(
    host: Host, environ: Mapping[str, str], known: Iterable[str] = (), patience: float = PATIENCE
) -> Findings:
    """Look at everything, in less than ``patience`` seconds.

    ``known`` are units that we have changed; they are looked at in any case.
    """
    service, unseen = own_service(host, _FIRST_LOOK * patience)
    try:
        settings, wrong = read_as_service(host, service, environ), ""
    except ConfigurationError as error:
        settings, wrong = IntegrationSettings(), str(error)
    address = settings.local_engine
    processes = scan(host, address.port)
    looks = _looks(host, settings, processes, known, patience)
    seen, failures = _take(looks, _LOOKS * patience)
    units, odd_units = seen.pop("services", ((), ()))
    containers = [one for runtime in RUNTIMES for one in seen.pop(runtime, ())]
    if address == settings.engine and "engine" in seen:
        seen["local_engine"] = seen["engine"]
    return Findings(
        settings=settings,
        configuration_error=wrong,
        driver=host.text("/sys/module/nvidia/version").strip(),
        has_engine_program=host.path("/usr/bin/nv-hostengine").exists(),
        processes=processes,
        units=units,
        containers=tuple(containers),
        other_engines=dict(_other_engines(host, processes, address.port)),
        service=service,
        unseen=(*filter(None, [unseen]), *failures, *odd_units, *_hidden(host, processes)),
        **seen,
    )


def _looks(
    host: Host,
    settings: IntegrationSettings,
    processes: Processes,
    known: Iterable[str],
    patience: float,
) -> dict[str, Callable[[], Any]]:
    """Return the looks to take, named as in Findings or as people call them."""
    address, for_answer = settings.local_engine, _ANSWERS * patience
    looks: dict[str, Callable[[], Any]] = {
        "engine": partial(ask_engine, settings.engine, settings.bindings, for_answer),
        "packages": _dcgm_packages,
        "health": partial(web.ask_exporter, settings.address),
        "engine_port": partial(_port_use, host, address.port),
        "own_port": partial(_port_use, host, settings.address.port),
    }
    for runtime in RUNTIMES:
        looks[runtime] = partial(find_containers, host, runtime, processes)
    if address != settings.engine:
        looks["local_engine"] = partial(ask_engine, address, settings.bindings, for_answer)
    if host.runs_systemd:
        looks["engine_unit"] = partial(systemd.view, ENGINE_SERVICE)
        looks["services"] = partial(look_at_units, host, Programs(host), processes, known)
    return looks


def _take(
    looks: Mapping[str, Callable[[], Any]], seconds: float
) -> tuple[dict[str, Any], list[str]]:
    """Return what was seen, and a sentence for each thing that could not be looked at."""
    seen: dict[str, Any] = {}
    failures = dict.fromkeys(looks, "no answer in time; --wait waits longer")

    def look(name: str) -> None:
        try:
            seen[name] = looks[name]()
        except ExporterError as error:
            failures[name] = str(error)

    # Daemon threads, so that the process can end without them.
    threads = [threading.Thread(target=look, args=(name,), daemon=True) for name in looks]
    for thread in threads:
        thread.start()
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    commands.end_all()
    in_time = seen.copy()
    missing = [name for name in looks if name not in in_time]
    return in_time, [f"{name.replace('_', ' ')}: {failures[name]}" for name in missing]


def _dcgm_packages() -> dict[str, str]:
    """Return the versions of the installed packages of DCGM, by name. Raises CommandFailed."""
    form = "${db:Status-Abbrev}\t${Package}\t${Version}\n"
    # Without a pattern, since one that matches nothing is an error.
    listed = commands.run("dpkg-query", "--show", "-f", form)
    fields = (line.split("\t") for line in listed.splitlines() if line.startswith("ii"))
    return {name: version for _, name, version in fields if _PACKAGES.match(name)}


def _other_engines(host: Host, processes: Processes, port: int) -> Iterator[tuple[int, str]]:
    """Yield the process and unit of each engine that is not on our engine's port."""
    for pid, ports in sorted(processes.engines.items()):
        # Without seeing processes, one cannot see whose ports are whose.
        if port not in ports and not processes.unseen:
            yield pid, owner_of(host.proc, str(pid)).unit


def _port_use(host: Host, port: int) -> PortUse:
    holder = find_holder(port, host.proc)
    unit = owner_of(host.proc, str(holder.pid)).unit if holder else ""
    return PortUse(listens(host.proc, port), holder, unit)


def _hidden(host: Host, processes: Processes) -> Iterator[str]:
    # With hidepid=, processes of others are not even listed: proc(5).
    if processes.unseen or not host.path("/proc/1").exists():
        yield "processes of other users: run it as root"
    if not host.runs_systemd:
        yield "services: systemd does not run here"
