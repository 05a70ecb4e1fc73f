"""What is wrong with this machine, each with the commands that can help."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator

from do_dcgm_exporter.dcgm.engine_answer import Condition, Profiling
from do_dcgm_exporter.integration.deciding.exporter_problems import (
    exporter_notes,
    exporter_problems,
)
from do_dcgm_exporter.integration.deciding.problem import (
    CHOOSE_AGAIN,
    Problem,
    start_engine,
)
from do_dcgm_exporter.integration.deciding.situation import Situation
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE
from do_dcgm_exporter.integration.looking.survey import Findings, PortUse

_SNAP_ENGINE = "snap.dcgm.nv-hostengine.service"
_PROFILING_PACKAGE = "datacenter-gpu-manager-4-proprietary"


def problems(now: Situation) -> tuple[Problem, ...]:
    """Return what is wrong, each once: the cause, not its consequences as well."""
    found = now.found
    engine, port = (*_of_driver(found), *_of_dcgm(found)), tuple(_of_port(found))
    return (
        *_of_configuration(found),
        *engine,
        *_of_profiling_module(found),
        *exporter_problems(now),
        *_of_other_engines(found),
        *port,
        *(() if port else _of_service(found, is_engine_known=bool(engine))),
        *_of_endpoint(found),
    )


def notes(now: Situation) -> tuple[str, ...]:
    """Return what is worth knowing and no problem."""
    return (*exporter_notes(now), *_other_engines(now.found))


def _of_configuration(found: Findings) -> Iterator[Problem]:
    if found.configuration_error:
        yield Problem(
            "configuration",
            f"the configuration is wrong: {found.configuration_error}",
            (f"systemctl cat {OWN_SERVICE}",)
            if found.configuration_error.startswith(OWN_SERVICE)
            else ("do-dcgm-exporter --check-config",),
        )


def _of_driver(found: Findings) -> Iterator[Problem]:
    # An engine that knows GPUs has a driver, be it in another place or simulated.
    is_local = found.settings.engine_is_local
    if is_local and not found.driver and not found.engine.gpus:
        yield Problem(
            "no-driver",
            "no NVIDIA driver is loaded: install it, or load it",
            ("modprobe nvidia", f"systemctl restart {ENGINE_SERVICE}"),
        )


def _of_dcgm(found: Findings) -> Iterator[Problem]:
    if not (found.packages or found.has_engine_program) and _lacks_dcgm(found):
        yield Problem(
            "no-dcgm",
            "DCGM is not installed",
            ("apt install datacenter-gpu-manager-4-core",),
        )
    else:
        yield from _of_engine(found)


def _of_profiling_module(found: Findings) -> Iterator[Problem]:
    if found.engine.profiling is Profiling.NOT_LOADED:
        names = {package.name for package in found.packages}
        is_installed = found.settings.engine_is_local and _PROFILING_PACKAGE in names
        install = () if is_installed else (f"apt install {_PROFILING_PACKAGE}",)
        yield Problem(
            "no-profiling",
            "the engine's profiling module is not loaded: there are no DCGM_FI_PROF_ metrics",
            _where_it_is(found, *install, f"systemctl restart {ENGINE_SERVICE}"),
        )


def _lacks_dcgm(found: Findings) -> bool:
    """Whether the answer is what a machine without DCGM gives; a client has to have one, too."""
    missing = {Condition.NO_CLIENT}
    if found.settings.engine_is_local:
        missing |= {Condition.ABSENT, Condition.FAILED}
    return found.engine.condition in missing


def _where_it_is(found: Findings, *commands: str) -> tuple[str, ...]:
    """Return commands as they are typed here; what is done to an engine is done on its host."""
    if found.settings.engine_is_local:
        return commands
    return tuple(f"ssh {found.settings.engine.host} {command}" for command in commands)


def _of_engine(found: Findings) -> Iterator[Problem]:
    engine, address = found.engine, found.settings.engine
    restart = _where_it_is(found, f"systemctl restart {ENGINE_SERVICE}")
    if engine.condition is Condition.HUNG:
        yield Problem("engine-hung", f"the engine at {address} hangs: {engine.reason}", restart)
    elif engine.condition is Condition.DOES_NOT_FIT:
        ours_is_old = "restart do-dcgm-exporter" in engine.reason
        yield Problem(
            "engine-does-not-fit",
            engine.reason,
            (f"systemctl restart {OWN_SERVICE}",) if ours_is_old else restart,
        )
    elif engine.condition is Condition.NO_DRIVER:
        load = _where_it_is(found, "modprobe nvidia")
        yield Problem("engine-without-driver", engine.reason, (*load, *restart))
    elif engine.condition is Condition.NO_CLIENT:
        yield Problem(
            "no-client-library",
            engine.reason,
            ("apt install --reinstall datacenter-gpu-manager-4-core",),
        )
    elif engine.condition is Condition.FAILED:
        is_local = found.settings.engine_is_local
        ask_again = restart if is_local else ("do-dcgm-exporter --check-config",)
        yield Problem("engine-not-asked", f"the engine: {engine.reason}", ask_again)
    elif engine.condition is Condition.ABSENT:
        yield from _of_absent_engine(found)


def _of_absent_engine(found: Findings) -> Iterator[Problem]:
    address, port = found.settings.engine, found.engine_port
    is_engine = port.holder is not None and port.holder.command.startswith("nv-hostengine")
    if not found.settings.engine_is_local:
        yield Problem(
            "engine-absent", found.engine.reason, (f"curl -v telnet://{address} # from here",)
        )
    elif address.socket_path:
        yield Problem(
            "engine-absent",
            found.engine.reason,
            (f"systemctl cat {ENGINE_SERVICE}", f"systemctl restart {ENGINE_SERVICE}"),
        )
    elif port.is_taken and not is_engine:
        holder = port.holder or "a program that is no engine"
        yield Problem(
            "engine-port-taken",
            f"port {address.port}, the engine's, is taken by {holder}",
            (
                _who_it_is(port, address.port),
                f"systemctl restart {ENGINE_SERVICE}  # once the port is free",
            ),
        )
    else:
        yield Problem("engine-absent", found.engine.reason, start_engine(found.engine_unit))


# Ourselves


def _of_port(found: Findings) -> Iterator[Problem]:
    port, address = found.own_port, found.settings.address
    if not port.is_taken or _is_ours(found):
        return
    holder = port.holder or "a program that cannot be seen"
    yield Problem(
        "port-taken",
        f"port {address.port}, that of do-dcgm-exporter, is taken by {holder}",
        (_who_it_is(port, address.port), f"{CHOOSE_AGAIN}  # to have another port"),
    )


def _who_it_is(port: PortUse, number: int) -> str:
    """Return the command that shows who listens; whether to stop that is not for us to say."""
    if port.holder:
        return f"ps -f -p {port.holder.pid}"
    return f"ss --listening --tcp --processes 'sport = {number}'"


def _is_ours(found: Findings) -> bool:
    port = found.own_port
    if port.unit:
        return port.unit == OWN_SERVICE
    if port.holder:
        return port.holder.command.startswith("do-dcgm-exporte")  # as long as names can be
    # Others' processes cannot be seen without being root.
    return found.service is not None and found.service.is_running


def _of_service(found: Findings, *, is_engine_known: bool) -> Iterator[Problem]:
    view, health = found.service, found.health
    if view is None or not view.is_there:
        return
    if not view.is_running:
        how = "has failed" if view.active_state == "failed" else "does not run"
        yield Problem(
            "service-down",
            f"{OWN_SERVICE} {how}",
            (f"systemctl enable --now {OWN_SERVICE}", f"journalctl -u {OWN_SERVICE}"),
        )
    elif health and _is_ours(found):
        first, *more = health.text.strip().splitlines() or [""]
        if health.status != 200 and not is_engine_known:
            what = f"{OWN_SERVICE}: {first}"
            yield Problem("service-unhealthy", what, (f"journalctl -u {OWN_SERVICE}",))
        if health.status == 200 and found.engine.profiling is Profiling.WORKS:
            yield from _of_profiling(found, more)


def _of_profiling(found: Findings, notes: Iterable[str]) -> Iterator[Problem]:
    """Yield what our exporter notes of profiling that the GPUs offer and that stays blank."""
    for note in notes:
        if "profiling" in note:
            restart = _where_it_is(found, f"systemctl restart {ENGINE_SERVICE}")
            commands = (*_where_it_is(found, "dcgmi profile --resume"), *restart)
            yield Problem("profiling-blank", f"{OWN_SERVICE}: {note}", commands)


def _of_endpoint(found: Findings) -> Iterator[Problem]:
    url, answer = found.settings.forward_url, found.endpoint
    if url and answer is not None and not answer.status:
        yield Problem(
            "endpoint-unreachable",
            f"the endpoint {url} cannot be reached: {answer.text}",
            (shlex.join(["curl", "--verbose", "--max-time", "5", url]),),
        )


def _of_other_engines(found: Findings) -> Iterator[Problem]:
    if _SNAP_ENGINE in found.other_engines.values():
        yield Problem(
            "second-engine",
            "the snap dcgm runs an engine of its own, beside the one on the engine's port",
            (
                "snap stop --disable dcgm.nv-hostengine",
                f"snap set dcgm nv-hostengine-port={found.settings.local_engine.port}",
                "snap restart dcgm.dcgm-exporter",
            ),
        )


def _other_engines(found: Findings) -> Iterator[str]:
    for pid, unit in found.other_engines.items():
        if unit != _SNAP_ENGINE:
            who = f"pid {pid}, {unit}" if unit else f"pid {pid}"
            port = found.settings.local_engine.port
            yield f"another nv-hostengine runs ({who}), not on port {port}"
