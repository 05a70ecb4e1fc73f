"""What is wrong with this machine, each thing once, with what can help."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.engine_answer import Condition, Profiling
from do_dcgm_exporter.integration.deciding import plan
from do_dcgm_exporter.integration.deciding.exporter import Exporters, Form, Mention, UnitExporter
from do_dcgm_exporter.integration.deciding.records import Records
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE, OWN_SERVICE
from do_dcgm_exporter.integration.looking.our_files import path_of
from do_dcgm_exporter.integration.looking.survey import Findings, PortUse

_APPLY = f"{COMMAND} apply"
_CHOOSE_AGAIN = "dpkg-reconfigure do-dcgm-exporter"
_PACKAGE = "datacenter-gpu-manager-4-core"
_CLIENT_OF_47 = ("libdcgm", "datacenter-gpu-manager-4-python3")
_PACKAGES_OF_47 = {"nv-hostengine", *_CLIENT_OF_47}
_PROFILING_PACKAGE = "datacenter-gpu-manager-4-proprietary"
_SNAP_ENGINE = "snap.dcgm.nv-hostengine.service"
_NOTED = (plan.Reason.EDITED, plan.Reason.FORBIDDEN)


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong; ``id`` is for programs, ``remedy`` what to type or write."""

    id: str
    what: str
    remedy: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """Everything that is judged; ``decisions`` are by unit."""

    found: Findings
    exporters: Exporters = field(default_factory=Exporters)
    records: Records = field(default_factory=Records)
    decisions: Mapping[str, plan.Decision] = field(default_factory=dict)


def problems(now: Situation) -> tuple[Problem, ...]:
    """Return what is wrong: the cause, not its consequences as well."""
    found = now.found
    engine, port = tuple(_of_engine(found)), tuple(_of_port(found))
    return (
        *_of_configuration(found),
        *engine,
        *_of_profiling(found),
        *(one for exporter in now.exporters.units for one in _of_exporter(now, exporter)),
        *(_embedded_in(one) for one in now.exporters.mentions if one.pids and found.knows_embedded),
        *(Problem("record", what, (_once_right(what),)) for what in now.records.complaints),
        *_of_the_snap(found),
        *port,
        *(() if port else _of_service(found, is_known=bool(engine))),
        *_of_endpoint(found),
    )


def notes(now: Situation) -> Iterator[str]:
    """Yield what is worth knowing and no problem."""
    for exporter in now.exporters.units:
        decision = now.decisions[exporter.name]
        if decision.reason in _NOTED and not _is_embedded(exporter, decision):
            yield f"{exporter.name}: {decision.why}"
    for mention in now.exporters.mentions:
        # Without an engine nobody can be told from a client that waits for it.
        if not (mention.pids and now.found.knows_embedded):
            yield f"{mention.name} {mention.role.value}{_where(mention)}"
    for pid, unit in now.found.other_engines.items():
        if unit != _SNAP_ENGINE:
            who = f"pid {pid}, {unit}" if unit else f"pid {pid}"
            port = now.found.settings.local_engine.port
            yield f"another nv-hostengine runs ({who}), not on port {port}"


def _once_right(complaint: str) -> str:
    """Return how to be rid of a file that cannot be understood, by the complaint about it."""
    return f"rm {complaint.split(maxsplit=1)[0]}  # once everything is as it should be"


def _of_configuration(found: Findings) -> Iterator[Problem]:
    if error := found.configuration_error:
        look = "do-dcgm-exporter --check-config"
        if error.startswith(OWN_SERVICE):
            look = f"systemctl cat {OWN_SERVICE}"
        yield Problem("configuration", f"the configuration is wrong: {error}", (look,))


# The engine


def _there(found: Findings, *commands: str) -> tuple[str, ...]:
    """Return commands as they are typed here; what is done to an engine is done on its host."""
    if found.settings.engine_is_local:
        return commands
    return tuple(f"ssh {found.settings.engine.host} {command}" for command in commands)


def _of_engine(found: Findings) -> Iterator[Problem]:
    engine, settings, here = found.engine, found.settings, found.settings.engine_is_local
    reason, condition = engine.reason, engine.condition
    # An engine that knows GPUs has a driver, be it in another place or simulated.
    if here and not found.driver and not engine.gpus:
        load = ("modprobe nvidia", f"systemctl restart {ENGINE_SERVICE}")
        yield Problem("no-driver", "no NVIDIA driver is loaded: install it, or load it", load)
    missing = {Condition.NO_CLIENT} | ({Condition.ABSENT, Condition.FAILED} if here else set())
    if not (found.packages or found.has_engine_program) and condition in missing:
        yield Problem("no-dcgm", "DCGM is not installed", (f"apt install {_PACKAGE}",))
        return
    restart = _there(found, f"systemctl restart {ENGINE_SERVICE}")
    again = restart if here else ("do-dcgm-exporter --check-config",)
    ours = (f"systemctl restart {OWN_SERVICE}",)
    fit = ours if "restart do-dcgm-exporter" in reason else restart
    what = {
        Condition.HUNG: (
            "engine-hung", f"the engine at {settings.engine} hangs: {reason}", restart
        ),
        Condition.DOES_NOT_FIT: ("engine-does-not-fit", reason, fit),
        Condition.NO_DRIVER: (
            "engine-without-driver", reason, _there(found, "modprobe nvidia") + restart
        ),
        Condition.NO_CLIENT: ("no-client-library", reason, (_install_client(found.packages),)),
        Condition.FAILED: ("engine-not-asked", f"the engine: {reason}", again),
    }  # fmt: skip
    if condition in what:
        yield Problem(*what[condition])
    elif condition is Condition.ABSENT:
        yield _absent(found)


def _install_client(packages: Mapping[str, str]) -> str:
    """Return how to get bindings and library, which are packages of their own since DCGM 4.7."""
    if not _PACKAGES_OF_47 & packages.keys():
        return f"apt install --reinstall {_PACKAGE}"
    missing = [name for name in _CLIENT_OF_47 if name not in packages]
    return f"apt install {' '.join(missing or ('--reinstall', *_CLIENT_OF_47))}"


def _absent(found: Findings) -> Problem:
    address, port, reason = found.settings.engine, found.engine_port, found.engine.reason
    if not found.settings.engine_is_local:
        return Problem("engine-absent", reason, (f"curl -v telnet://{address} # from here",))
    if address.socket_path:
        look = (f"systemctl cat {ENGINE_SERVICE}", f"systemctl restart {ENGINE_SERVICE}")
        return Problem("engine-absent", reason, look)
    is_engine = port.holder is not None and port.holder.command.startswith("nv-hostengine")
    if port.is_taken and not is_engine:
        what = f"port {address.port}, the engine's, is taken by"
        start = f"systemctl restart {ENGINE_SERVICE}  # once the port is free"
        who = f"{what} {port.holder or 'a program that is no engine'}"
        return Problem("engine-port-taken", who, (_who_it_is(port, address.port), start))
    return Problem("engine-absent", reason, _start_engine(found))


def _usable_engine(found: Findings) -> tuple[str, ...]:
    """Return the commands after which the engine of this machine can be used."""
    if found.local_engine.condition is Condition.ABSENT:
        return _start_engine(found)
    return (f"systemctl restart {ENGINE_SERVICE}",)


def _start_engine(found: Findings) -> tuple[str, ...]:
    unit = found.engine_unit
    if unit is not None and not (unit.is_there or unit.is_masked):
        return (_CHOOSE_AGAIN,)
    unmask = (f"systemctl unmask {ENGINE_SERVICE}",) if unit and unit.is_masked else ()
    return (*unmask, f"systemctl enable --now {ENGINE_SERVICE}")


def _of_profiling(found: Findings) -> Iterator[Problem]:
    restart = f"systemctl restart {ENGINE_SERVICE}"
    if found.engine.profiling is Profiling.NOT_LOADED:
        is_installed = found.settings.engine_is_local and _PROFILING_PACKAGE in found.packages
        install = () if is_installed else (f"apt install {_PROFILING_PACKAGE}",)
        what = "the engine's profiling module is not loaded: there are no DCGM_FI_PROF_ metrics"
        yield Problem("no-profiling", what, _there(found, *install, restart))
    health = found.health
    if found.engine.profiling is Profiling.WORKS and health and health.status == 200:
        # What our exporter notes of profiling that the GPUs offer and that stays blank.
        for note in health.text.splitlines()[1:]:
            if "profiling" in note:
                resume = _there(found, "dcgmi profile --resume", restart)
                yield Problem("profiling-blank", f"{OWN_SERVICE}: {note}", resume)


def _of_the_snap(found: Findings) -> Iterator[Problem]:
    if _SNAP_ENGINE in found.other_engines.values():
        what = "the snap dcgm runs an engine of its own, beside the one on the engine's port"
        port = f"snap set dcgm nv-hostengine-port={found.settings.local_engine.port}"
        stop, restart = "snap stop --disable dcgm.nv-hostengine", "snap restart dcgm.dcgm-exporter"
        yield Problem("second-engine", what, (stop, port, restart))


# Exporters


def _of_exporter(now: Situation, exporter: UnitExporter) -> Iterator[Problem]:
    name, decision, again = exporter.name, now.decisions[exporter.name], (_APPLY,)
    ours = now.records.ours.get(name)
    address = now.found.settings.local_engine
    if ours and ours.withdrawn:
        yield Problem("interrupted", f"{name}: an earlier run was interrupted", again)
    elif exporter.view.is_in_trouble and (ours or decision.reason is plan.Reason.CLIENT):
        yield from _client_down(now, exporter, decision)
    elif (
        ours and exporter.command.form is Form.CONTAINER and plan.is_stale(exporter, ours, address)
    ):
        what = f"{name}: its own command has changed, and its drop-in still runs the old one"
        yield Problem("stale-drop-in", what, again)
    elif ours and not ours.record.proven and exporter.view.is_running:
        yield Problem("unproven", f"{name}: has a drop-in and was not restarted since", again)
    elif _is_embedded(exporter, decision):
        yield _embedded(now, exporter, decision)


def _client_down(
    now: Situation, exporter: UnitExporter, decision: plan.Decision
) -> Iterator[Problem]:
    what, found = f"{exporter.name}, a client of the engine, does not run", now.found
    if decision.goal is plan.Goal.ORIGINAL:
        yield Problem("client-down", f"{what}: {decision.why}", (_APPLY,))
    elif found.local_engine.answers:
        start = f"systemctl start {exporter.name}"
        yield Problem("client-down", what, (f"journalctl -u {exporter.name}", start))
    elif found.settings.local_engine != found.settings.engine:
        # Else the engine is a problem of its own, and its clients come back with it.
        reason = f"the engine cannot be used: {found.local_engine.reason}"
        yield Problem("client-down", f"{what}: {reason}", _usable_engine(found))


def _is_embedded(exporter: UnitExporter, decision: plan.Decision) -> bool:
    """Return whether it has an embedded DCGM, or will once it is started."""
    if any(process.is_embedded for process in exporter.processes):
        return True
    view = exporter.view
    if (
        decision.reason in plan.HARMLESS
        or decision.reason in _NOTED
        or decision.goal is plan.Goal.STOPPED
    ):
        return False
    if not (view.is_running or view.file_state.startswith("enabled")):
        return False
    return decision.goal is not plan.Goal.CLIENT or (
        bool(decision.text) and not plan.is_loaded(exporter)
    )


def _embedded(now: Situation, exporter: UnitExporter, decision: plan.Decision) -> Problem:
    name = exporter.name
    when = "runs" if exporter.view.is_running else "will, when it is started, run"
    restart, stop = f"systemctl restart {name}", f"systemctl disable --now {name}"
    remedies: dict[plan.Reason, tuple[str, ...]] = {
        plan.Reason.CHOSEN: (_CHOOSE_AGAIN,),
        plan.Reason.ENGINE: (*_usable_engine(now.found), _APPLY),
        plan.Reason.VERSION: (stop,),
        plan.Reason.REFUSED: (f"{_APPLY} --retry", f"{stop}  # or"),
        plan.Reason.UNKNOWN_VERSION: (f"systemctl start {name}", _APPLY),
        plan.Reason.EDITED: (f"systemctl edit {name}", restart),
        plan.Reason.FORBIDDEN: (f"rm {path_of(name)}", _APPLY),
        plan.Reason.CLIENT: (restart,),
        plan.Reason.ELSEWHERE: (restart,),
    }
    why = f": {decision.why}" if decision.why else ""
    what = f"{name} {when} an embedded DCGM{why}"
    return Problem("embedded-dcgm", what, remedies.get(decision.reason, (_APPLY,)))


def _embedded_in(mention: Mention) -> Problem:
    pids = ", ".join(map(str, mention.pids))
    what = f"{mention.name} {mention.role.value}, with an embedded DCGM (pid {pids})"
    return Problem("embedded-dcgm", f"{what}{_where(mention)}", mention.lines)


def _where(mention: Mention) -> str:
    """Say where a person connects it."""
    return f"; to connect it, see {mention.place}" if mention.place else ""


# Ourselves


def _of_port(found: Findings) -> Iterator[Problem]:
    port, number = found.own_port, found.settings.address.port
    if port.is_taken and not _is_ours(found):
        holder = port.holder or "a program that cannot be seen"
        what = f"port {number}, that of do-dcgm-exporter, is taken by {holder}"
        other = f"{_CHOOSE_AGAIN}  # to have another port"
        yield Problem("port-taken", what, (_who_it_is(port, number), other))


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


def _of_service(found: Findings, *, is_known: bool) -> Iterator[Problem]:
    view, health, log = found.service, found.health, f"journalctl -u {OWN_SERVICE}"
    if view is None or not view.is_there:
        return
    if not view.is_running:
        how = "has failed" if view.active_state == "failed" else "does not run"
        start = f"systemctl enable --now {OWN_SERVICE}"
        yield Problem("service-down", f"{OWN_SERVICE} {how}", (start, log))
    elif health and health.status != 200 and not is_known and _is_ours(found):
        what = health.text.strip().partition("\n")[0]
        yield Problem("service-unhealthy", f"{OWN_SERVICE}: {what}", (log,))


def _of_endpoint(found: Findings) -> Iterator[Problem]:
    url, answer = found.settings.forward_url, found.endpoint
    if url and answer is not None and not answer.status:
        what = f"the endpoint {url} cannot be reached: {answer.text}"
        ask = shlex.join(["curl", "--verbose", "--max-time", "5", url])
        yield Problem("endpoint-unreachable", what, (ask,))
