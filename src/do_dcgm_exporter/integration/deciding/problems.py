"""What is wrong with this machine: each problem once, with a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from do_dcgm_exporter.dcgm.engine_answer import Condition, Profiling
from do_dcgm_exporter.dcgm.packages import CORE, install_client
from do_dcgm_exporter.integration.deciding import plan
from do_dcgm_exporter.integration.deciding.exporter import Exporters, Form, Mention, UnitExporter
from do_dcgm_exporter.integration.deciding.records import Records
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE, OWN_SERVICE
from do_dcgm_exporter.integration.looking.our_files import path_of
from do_dcgm_exporter.integration.looking.survey import Findings

_APPLY = f"{COMMAND} apply"
_RESTART_ENGINE = f"systemctl restart {ENGINE_SERVICE}"
# Whether to stop it is for a person to decide.
_WHO_LISTENS = "ss --listening --tcp --processes 'sport = {}'"
_CHOOSE_AGAIN = "dpkg-reconfigure do-dcgm-exporter"
_PROFILING_PACKAGE = "datacenter-gpu-manager-4-proprietary"
_SNAP_ENGINE = "snap.dcgm.nv-hostengine.service"
_NOTED = frozenset({plan.Reason.EDITED, plan.Reason.FORBIDDEN})


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem; ``id`` is for programs, ``remedy`` has commands to run or lines to write."""

    id: str
    what: str
    remedy: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Situation:
    """All that problems are found in; ``decisions`` are by unit."""

    found: Findings
    exporters: Exporters = field(default_factory=Exporters)
    records: Records = field(default_factory=Records)
    decisions: Mapping[str, plan.Decision] = field(default_factory=dict)


def problems(now: Situation) -> Iterator[Problem]:
    """Yield the problems: causes, but not their consequences."""
    found = now.found
    if error := found.configuration_error:
        look = "do-dcgm-exporter --check-config"
        look = f"systemctl cat {OWN_SERVICE}" if error.startswith(OWN_SERVICE) else look
        yield Problem("configuration", f"the configuration is wrong: {error}", (look,))
    engine = tuple(_of_engine(found))
    yield from (*engine, *_of_profiling(found))
    for exporter in now.exporters.units:
        yield from _of_exporter(now, exporter)
    for mention in now.exporters.mentions:
        if mention.pids and found.processes.has_engine:
            pids = ", ".join(map(str, mention.pids))
            what = f"{mention.name} {mention.role.value}, with an embedded DCGM (pid {pids})"
            yield Problem("embedded-dcgm", f"{what}{_where(mention)}", mention.lines)
    for complaint in now.records.complaints:
        remove = f"rm {complaint.split(maxsplit=1)[0]}  # once everything is as it should be"
        yield Problem("record", complaint, (remove,))
    if _SNAP_ENGINE in found.other_engines.values():
        what = "the snap dcgm runs an engine of its own, beside the one on the engine's port"
        port = f"snap set dcgm nv-hostengine-port={found.settings.local_engine.port}"
        stop, restart = "snap stop --disable dcgm.nv-hostengine", "snap restart dcgm.dcgm-exporter"
        yield Problem("second-engine", what, (stop, port, restart))
    yield from _of_service(found, is_known=bool(engine))


def notes(now: Situation) -> Iterator[str]:
    """Yield what is worth knowing but not a problem."""
    for exporter in now.exporters.units:
        decision = now.decisions[exporter.name]
        if decision.reason in _NOTED and not _is_embedded(exporter, decision):
            yield f"{exporter.name}: {decision.why}"
    for mention in now.exporters.mentions:
        # Without an engine, a process that embeds DCGM looks like a client that waits.
        if not (mention.pids and now.found.processes.has_engine):
            yield f"{mention.name} {mention.role.value}{_where(mention)}"
    for pid, unit in now.found.other_engines.items():
        if unit != _SNAP_ENGINE:
            who = f"pid {pid}, {unit}" if unit else f"pid {pid}"
            port = now.found.settings.local_engine.port
            yield f"another nv-hostengine runs ({who}), not on port {port}"


# The engine


def _there(found: Findings, *commands: str) -> tuple[str, ...]:
    """Return commands as typed on this host; those for an engine run on the engine's host."""
    if found.settings.engine.is_local:
        return commands
    return tuple(f"ssh {found.settings.engine.host} {command}" for command in commands)


def _of_engine(found: Findings) -> Iterator[Problem]:
    engine, address, here = found.engine, found.settings.engine, found.settings.engine.is_local
    reason, condition = engine.reason, engine.condition
    restart = _there(found, _RESTART_ENGINE)
    # An engine with GPUs has a driver, in a container or simulated.
    if here and not found.driver and not engine.gpus:
        what = "no NVIDIA driver is loaded: install it, or load it"
        yield Problem("no-driver", what, ("modprobe nvidia", _RESTART_ENGINE))
    missing = {Condition.NO_CLIENT} | ({Condition.ABSENT, Condition.FAILED} if here else set())
    if not (found.packages or found.has_engine_program) and condition in missing:
        yield Problem("no-dcgm", "DCGM is not installed", (f"apt install {CORE}",))
    elif condition is Condition.ABSENT:
        yield _absent(found)
    elif condition is Condition.HUNG:
        yield Problem("engine-hung", f"the engine at {address} hangs: {reason}", restart)
    elif condition is Condition.DOES_NOT_FIT:
        is_ours = "restart do-dcgm-exporter" in reason
        fit = (f"systemctl restart {OWN_SERVICE}",) if is_ours else restart
        yield Problem("engine-does-not-fit", reason, fit)
    elif condition is Condition.NO_DRIVER:
        load = _there(found, "modprobe nvidia", _RESTART_ENGINE)
        yield Problem("engine-without-driver", reason, load)
    elif condition is Condition.NO_CLIENT:
        yield Problem("no-client-library", reason, (install_client(found.packages),))
    elif condition is Condition.FAILED:
        again = restart if here else ("do-dcgm-exporter --check-config",)
        yield Problem("engine-not-asked", f"the engine: {reason}", again)


def _absent(found: Findings) -> Problem:
    address, port = found.settings.engine, found.engine_port
    if not found.settings.engine.is_local:
        remedy: tuple[str, ...] = (f"curl -v telnet://{address} # from here",)
    elif address.socket_path:
        remedy = (f"systemctl cat {ENGINE_SERVICE}", _RESTART_ENGINE)
    elif port.is_taken and not (port.holder and port.holder.command.startswith("nv-hostengine")):
        holder = port.holder or "a program that is not an engine"
        what = f"the engine's port {address.port} is taken by {holder}"
        start = f"{_RESTART_ENGINE}  # once the port is free"
        return Problem("engine-port-taken", what, (_WHO_LISTENS.format(address.port), start))
    else:
        remedy = _usable_engine(found)
    return Problem("engine-absent", found.engine.reason, remedy)


def _usable_engine(found: Findings) -> tuple[str, ...]:
    """Return the commands that make the local engine usable."""
    unit = found.engine_unit
    if found.local_engine.condition is not Condition.ABSENT:
        return (_RESTART_ENGINE,)
    is_masked = unit is not None and unit.load_state == "masked"
    if unit is not None and not (unit.is_there or is_masked):
        return (_CHOOSE_AGAIN,)
    unmask = (f"systemctl unmask {ENGINE_SERVICE}",) if is_masked else ()
    return (*unmask, f"systemctl enable --now {ENGINE_SERVICE}")


def _of_profiling(found: Findings) -> Iterator[Problem]:
    engine, health = found.engine, found.health
    if engine.profiling is Profiling.NOT_LOADED:
        is_installed = found.settings.engine.is_local and _PROFILING_PACKAGE in found.packages
        install = () if is_installed else (f"apt install {_PROFILING_PACKAGE}",)
        what = "the engine's profiling module is not loaded: there are no DCGM_FI_PROF_ metrics"
        yield Problem("no-profiling", what, _there(found, *install, _RESTART_ENGINE))
    elif engine.profiling is Profiling.WORKS and health and health.status == 200:
        # How our exporter's note begins if supported profiling fields stay blank.
        resume = _there(found, "dcgmi profile --resume", _RESTART_ENGINE)
        for note in health.text.splitlines()[1:]:
            if "profiling" in note:
                yield Problem("profiling-blank", f"{OWN_SERVICE}: {note}", resume)


# Exporters


def _of_exporter(now: Situation, exporter: UnitExporter) -> Iterator[Problem]:
    name, decision = exporter.name, now.decisions[exporter.name]
    ours, address = now.records.ours.get(name), now.found.settings.local_engine
    is_container = exporter.command.form is Form.CONTAINER
    if ours and ours.withdrawn:
        yield Problem("interrupted", f"{name}: an earlier run was interrupted", (_APPLY,))
    elif exporter.view.is_in_trouble and (ours or decision.reason is plan.Reason.CLIENT):
        yield from _client_down(now.found, exporter, decision)
    elif ours and is_container and plan.is_stale(exporter, ours, address):
        what = f"{name}: its own command has changed, and its drop-in still runs the old one"
        yield Problem("stale-drop-in", what, (_APPLY,))
    elif ours and not ours.record.proven and exporter.view.is_running:
        yield Problem("unproven", f"{name}: has not been restarted with its drop-in", (_APPLY,))
    elif _is_embedded(exporter, decision):
        yield _embedded(now.found, exporter, decision)


def _client_down(
    found: Findings, exporter: UnitExporter, decision: plan.Decision
) -> Iterator[Problem]:
    what = f"{exporter.name}, a client of the engine, does not run"
    if decision.goal is plan.Goal.ORIGINAL or decision.reason is plan.Reason.NONE:
        yield Problem("client-down", f"{what}: {decision.why}", (_APPLY,))
    elif found.local_engine.answers:
        start = f"systemctl start {exporter.name}"
        yield Problem("client-down", what, (exporter.view.log, start))
    elif found.settings.local_engine != found.settings.engine:
        # Otherwise the engine is the problem, and its clients come back with it.
        reason = f"the engine cannot be used: {found.local_engine.reason}"
        yield Problem("client-down", f"{what}: {reason}", _usable_engine(found))


def _is_embedded(exporter: UnitExporter, decision: plan.Decision) -> bool:
    """Return whether it has an embedded DCGM, or will once it is started."""
    if any(process.is_embedded for process in exporter.processes):
        return True
    is_fine = decision.reason in plan.HARMLESS | _NOTED or decision.goal is plan.Goal.STOPPED
    runs = exporter.view.is_running or exporter.view.file_state.startswith("enabled")
    has_what_it_gets = not decision.text or plan.is_loaded(exporter)
    return runs and not is_fine and not (decision.goal is plan.Goal.CLIENT and has_what_it_gets)


def _embedded(found: Findings, exporter: UnitExporter, decision: plan.Decision) -> Problem:
    name = exporter.name
    when = "runs" if exporter.view.is_running else "will, when it is started, run"
    restart, stop = f"systemctl restart {name}", f"systemctl disable --now {name}"
    remedies: dict[plan.Reason, tuple[str, ...]] = {
        plan.Reason.CHOSEN: (_CHOOSE_AGAIN,),
        plan.Reason.ENGINE: (*_usable_engine(found), _APPLY),
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


def _where(mention: Mention) -> str:
    """Say where a person can connect it."""
    return f"; to connect it, see {mention.place}" if mention.place else ""


# Our own service


def _of_service(found: Findings, *, is_known: bool) -> Iterator[Problem]:
    view, health, log = found.service, found.health, f"journalctl -u {OWN_SERVICE}"
    port, number = found.own_port, found.settings.address.port
    # Only root can see the processes of others.
    runs = view is not None and view.is_running
    is_ours = port.unit == OWN_SERVICE if port.unit or port.holder else runs
    if port.is_taken and not is_ours:
        holder = port.holder or "a program that cannot be seen"
        what = f"do-dcgm-exporter's port {number} is taken by {holder}"
        other = f"{_CHOOSE_AGAIN}  # to choose another port"
        yield Problem("port-taken", what, (_WHO_LISTENS.format(number), other))
    elif view is None or not view.is_there:
        return
    elif not runs:
        how = "has failed" if view.active_state == "failed" else "does not run"
        start = f"systemctl enable --now {OWN_SERVICE}"
        yield Problem("service-down", f"{OWN_SERVICE} {how}", (start, log))
    elif health and health.status != 200 and not is_known and is_ours:
        what = health.text.strip().partition("\n")[0]
        yield Problem("service-unhealthy", f"{OWN_SERVICE}: {what}", (log,))
