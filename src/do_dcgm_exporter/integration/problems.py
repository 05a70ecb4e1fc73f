"""From findings to problems: what is wrong, and the command that solves it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from do_dcgm_exporter.integration import container_copy
from do_dcgm_exporter.integration.container_work import why_not_recreated
from do_dcgm_exporter.integration.containers import Container
from do_dcgm_exporter.integration.embedded_report import owner_of
from do_dcgm_exporter.integration.engine_probe import Condition, Profiling
from do_dcgm_exporter.integration.exporters import UnitExporter
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE, OWN_SERVICE
from do_dcgm_exporter.integration.libraries import mislabels_when_remote
from do_dcgm_exporter.integration.plan import HARMLESS, Decision, Goal, Reason
from do_dcgm_exporter.integration.processes import DcgmProcess
from do_dcgm_exporter.integration.survey import Findings

_APPLY = f"{COMMAND} apply"
_CHOOSE = "dpkg-reconfigure do-dcgm-exporter"
_PROFILING_PACKAGE = "datacenter-gpu-manager-4-proprietary"
_SHOWN_LATER = (Reason.EDITED, Reason.FORBIDDEN)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong; ``id`` is for programs, ``remedy`` are commands."""

    id: str
    what: str
    remedy: tuple[str, ...]


def problems(found: Findings) -> tuple[Problem, ...]:
    """Return what is wrong, the cause before its consequences."""
    return (
        *_of_configuration(found),
        *_of_driver(found),
        *_of_dcgm(found),
        *_of_exporters(found),
        *_of_containers(found),
        *_of_snap(found),
        *_of_other_processes(found),
        *_of_port(found),
        *_of_service(found),
        *_of_endpoint(found),
    )


def notices(found: Findings) -> tuple[str, ...]:
    """Return what is worth knowing and no problem."""
    return (*_host_labels(found), *_left_alone(found), *_other_engines(found))


def _of_configuration(found: Findings) -> Iterator[Problem]:
    if found.configuration_error:
        yield Problem(
            "configuration",
            f"the configuration is wrong: {found.configuration_error}",
            ("do-dcgm-exporter --check-config",),
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
    if not (found.packages or found.has_engine_program) and _NO_DCGM & {found.engine.condition}:
        yield Problem(
            "no-dcgm",
            "DCGM is not installed",
            ("apt install datacenter-gpu-manager-4-core",),
        )
    else:
        yield from _of_engine(found)
    if found.engine.profiling is Profiling.NOT_LOADED:
        names = {package.name for package in found.packages}
        install = () if _PROFILING_PACKAGE in names else (f"apt install {_PROFILING_PACKAGE}",)
        yield Problem(
            "no-profiling",
            "the engine's profiling module is not loaded: there are no DCGM_FI_PROF_ metrics",
            (*install, f"systemctl restart {ENGINE_SERVICE}"),
        )


_NO_DCGM = {Condition.ABSENT, Condition.NO_CLIENT, Condition.FAILED}


def _of_engine(found: Findings) -> Iterator[Problem]:
    engine, address = found.engine, found.settings.engine
    restart = f"systemctl restart {ENGINE_SERVICE}"
    if engine.condition is Condition.HUNG:
        yield Problem("engine-hung", f"the engine at {address} hangs: {engine.reason}", (restart,))
    elif engine.condition is Condition.DOES_NOT_FIT:
        ours_is_old = "restart do-dcgm-exporter" in engine.reason
        yield Problem(
            "engine-does-not-fit",
            engine.reason,
            (f"systemctl restart {OWN_SERVICE}" if ours_is_old else restart,),
        )
    elif engine.condition is Condition.NO_DRIVER:
        yield Problem("engine-without-driver", engine.reason, ("modprobe nvidia", restart))
    elif engine.condition is Condition.NO_CLIENT:
        yield Problem(
            "no-client-library",
            engine.reason,
            ("apt install --reinstall datacenter-gpu-manager-4-core",),
        )
    elif engine.condition is Condition.FAILED:
        yield Problem("engine-not-asked", f"the engine: {engine.reason}", (restart,))
    elif engine.condition is Condition.ABSENT:
        yield from _of_absent_engine(found)


def _of_absent_engine(found: Findings) -> Iterator[Problem]:
    address, port = found.settings.engine, found.engine_port
    is_engine = port.holder is not None and port.holder.command.startswith("nv-hostengine")
    if not found.settings.engine_is_local:
        yield Problem(
            "engine-absent", found.engine.reason, (f"curl -v telnet://{address} # from here",)
        )
    elif port.is_taken and not is_engine:
        holder = port.holder or "a program that is no engine"
        yield Problem(
            "engine-port-taken",
            f"port {address.port}, the engine's, is taken by {holder}",
            (_stop_command(port.unit, port.holder.pid if port.holder else 0),),
        )
    else:
        view = found.engine_unit
        is_masked = view is not None and view.is_masked
        unmask = (f"systemctl unmask {ENGINE_SERVICE}",) if is_masked else ()
        yield Problem(
            "engine-absent",
            found.engine.reason,
            (*unmask, f"systemctl enable --now {ENGINE_SERVICE}"),
        )


# Exporters


def _of_exporters(found: Findings) -> Iterator[Problem]:
    for exporter in found.exporters:
        decision = found.decisions[exporter.name]
        record = found.state.units.get(exporter.name)
        if record and not record.settled:
            yield Problem(
                "interrupted", f"{exporter.name}: an earlier run was interrupted", (_APPLY,)
            )
        elif _has_embedded_engine(exporter, decision):
            yield _embedded(exporter, decision)


def _has_embedded_engine(exporter: UnitExporter, decision: Decision) -> bool:
    """Whether it runs a DCGM of its own, or would once it is started."""
    if any(process.is_embedded for process in exporter.processes):
        return True
    if decision.reason in HARMLESS or decision.reason in _SHOWN_LATER or not _may_run(exporter):
        return False
    return decision.goal is not Goal.REWRITTEN or bool(decision.text)


def _may_run(exporter: UnitExporter) -> bool:
    view = exporter.view
    return view.is_running or view.file_state.startswith("enabled")


def _embedded(exporter: UnitExporter, decision: Decision) -> Problem:
    name = exporter.name
    what = f"{name} runs a DCGM of its own"
    if not exporter.processes:
        what = f"{name} runs a DCGM of its own when it is started"
    stop = f"systemctl disable --now {name}"
    remedies: dict[Reason, tuple[str, ...]] = {
        Reason.CHOSEN: (_CHOOSE,),
        Reason.CONTAINER: (f"systemctl edit {name}",),
        Reason.ENGINE: (f"systemctl restart {ENGINE_SERVICE}", _APPLY),
        Reason.VERSION: (stop,),
        Reason.REFUSED: (stop,),
        Reason.UNKNOWN_VERSION: (f"systemctl start {name}", _APPLY),
        Reason.EDITED: (f"systemctl edit {name}",),
        Reason.FORBIDDEN: (stop,),
        Reason.MASKED: (f"systemctl stop {name}",),
        Reason.CLIENT: (f"systemctl restart {name}",),
        Reason.ELSEWHERE: (f"systemctl restart {name}",),
    }
    why = f": {decision.why}" if decision.why else ""
    return Problem("embedded-dcgm", what + why, remedies.get(decision.reason, (_APPLY,)))


def _of_containers(found: Findings) -> Iterator[Problem]:
    for container in found.containers:
        if container.has_embedded_engine:
            yield _embedded_container(container, str(found.settings.local_engine))


def _embedded_container(container: Container, engine: str) -> Problem:
    what = f"container {container.name} ({container.engine}) runs a DCGM of its own"
    why = why_not_recreated(container, engine)
    if why:
        return Problem(
            "embedded-dcgm", f"{what}: {why}", (f"{container.engine} inspect {container.name}",)
        )
    commands = container_copy.commands(container, engine)
    by_hand = tuple(shlex.join(command) for command in commands)
    return Problem("embedded-dcgm", what, (f"{_APPLY} --recreate-containers  # or:", *by_hand))


def _of_snap(found: Findings) -> Iterator[Problem]:
    if found.snap and found.snap.has_second_engine:
        yield Problem("second-engine", "the snap dcgm has an engine of its own", (_APPLY,))


def _of_other_processes(found: Findings) -> Iterator[Problem]:
    """Yield programs with a DCGM of their own that are none of the exporters above."""
    if not found.knows_embedded:
        return
    units = {exporter.name for exporter in found.exporters}
    containers = {container.id for container in found.containers}
    for process in found.processes.embedded:
        if process.unit not in units and process.container not in containers:
            yield _other_process(process)


def _other_process(process: DcgmProcess) -> Problem:
    return Problem(
        "embedded-dcgm",
        f"{process.command} (pid {process.pid}, {owner_of(process)}) runs a DCGM of its own;"
        " give it the address of the engine, or stop it",
        (_stop_command(process.unit, process.pid),),
    )


def _stop_command(unit: str, pid: int) -> str:
    if unit:
        return f"systemctl disable --now {unit}"
    return f"kill {pid}" if pid else "ss --listening --tcp --processes"


# Ourselves


def _of_port(found: Findings) -> Iterator[Problem]:
    port, address = found.own_port, found.settings.address
    if not port.is_taken or _is_ours(found):
        return
    holder = port.holder or "a program that cannot be seen"
    yield Problem(
        "port-taken",
        f"port {address.port}, that of do-dcgm-exporter, is taken by {holder}",
        (_stop_command(port.unit, port.holder.pid if port.holder else 0), f"{_CHOOSE}  # or"),
    )


def _is_ours(found: Findings) -> bool:
    port = found.own_port
    if port.unit:
        return port.unit == OWN_SERVICE
    if port.holder:
        return port.holder.command.startswith("do-dcgm-exporte")  # as long as names can be
    # Others' processes cannot be seen without being root.
    return found.service is not None and found.service.is_running


def _of_service(found: Findings) -> Iterator[Problem]:
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
    elif health and health.status != 200 and _is_ours(found):
        what = health.text.strip().partition("\n")[0]
        yield Problem(
            "service-unhealthy", f"{OWN_SERVICE}: {what}", (f"journalctl -u {OWN_SERVICE}",)
        )


def _of_endpoint(found: Findings) -> Iterator[Problem]:
    url, answer = found.settings.forward_url, found.endpoint
    if url and answer is not None and not answer.status:
        yield Problem(
            "endpoint-unreachable",
            f"the endpoint {url} cannot be reached: {answer.text}",
            (shlex.join(["curl", "--verbose", "--max-time", "5", url]),),
        )


# Notices


def _host_labels(found: Findings) -> Iterator[str]:
    """Yield who will have another host label as a client, before and after it happens."""
    known, unknown = [], []
    for exporter in found.exporters:
        if found.decisions[exporter.name].goal is Goal.REWRITTEN:
            mislabels = mislabels_when_remote(exporter.version)
            if mislabels:
                known.append(f"{exporter.name} ({exporter.version})")
            elif mislabels is None:
                unknown.append(exporter.name)
    rule = 'dcgm-exporter 4.0 to 4.8.2 labels with Hostname="localhost" as a client'
    others = "3.x, 4.8.3 and later keep the host's name"
    if known:
        yield f"{rule}: {', '.join(known)}; {others}"
    if unknown:
        yield f"{rule}, perhaps one of these: {', '.join(unknown)}; {others}"


def _left_alone(found: Findings) -> Iterator[str]:
    for exporter in found.exporters:
        decision = found.decisions[exporter.name]
        if decision.reason in _SHOWN_LATER and not _has_embedded_engine(exporter, decision):
            yield f"{exporter.name}: {decision.why}"


def _other_engines(found: Findings) -> Iterator[str]:
    for pid in set(found.processes.engine_pids) - set(found.processes.serving_pids):
        yield f"another nv-hostengine runs (pid {pid}), not on port {found.settings.engine.port}"
