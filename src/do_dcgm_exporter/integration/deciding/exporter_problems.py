"""What is wrong with the exporters, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Iterator

from do_dcgm_exporter.dcgm.engine_answer import Condition
from do_dcgm_exporter.integration.deciding.exporter import Form, Mention, UnitExporter
from do_dcgm_exporter.integration.deciding.plan import (
    HARMLESS,
    Decision,
    Goal,
    Reason,
    is_loaded,
    is_stale,
)
from do_dcgm_exporter.integration.deciding.problem import CHOOSE_AGAIN, Problem, start_engine
from do_dcgm_exporter.integration.deciding.records import Owner
from do_dcgm_exporter.integration.deciding.situation import Situation
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE
from do_dcgm_exporter.integration.looking.our_files import path_of

_APPLY = f"{COMMAND} apply"
_RESTORE = f"{COMMAND} restore"
_NOTED = (Reason.EDITED, Reason.FORBIDDEN)


def exporter_problems(now: Situation) -> Iterator[Problem]:
    """Yield what is wrong with exporters and everything that runs one."""
    for exporter in now.exporters.units:
        yield from _of_exporter(now, exporter)
    for mention in now.exporters.mentions:
        if mention.pids:
            yield _embedded_in(mention)
    for complaint in now.records.complaints:
        yield Problem("record", complaint, (_RESTORE,))


def exporter_notes(now: Situation) -> Iterator[str]:
    """Yield what is worth knowing about exporters and no problem."""
    yield from _host_labels(now)
    for exporter in now.exporters.units:
        decision = now.decisions[exporter.name]
        if decision.reason in _NOTED and not _is_embedded(exporter, decision):
            yield f"{exporter.name}: {decision.why}"
    for mention in now.exporters.mentions:
        if not mention.pids:
            yield f"{mention.name} {mention.role.value}{_where(mention)}"


def _of_exporter(now: Situation, exporter: UnitExporter) -> Iterator[Problem]:
    name, decision = exporter.name, now.decisions[exporter.name]
    ours = now.records.ours.get(name)
    is_client = bool(ours) or decision.reason is Reason.CLIENT
    if ours and ours.withdrawn:
        yield Problem("interrupted", f"{name}: an earlier run was interrupted", (_APPLY,))
    elif is_client and exporter.view.is_in_trouble:
        yield from _client_down(now, exporter, decision)
    elif ours and exporter.command and exporter.command.form is Form.CONTAINER and is_stale(
        exporter, ours, now.found.settings.local_engine
    ):  # fmt: skip
        what = f"{name}: its own command has changed, and its drop-in still runs the old one"
        yield Problem("stale-drop-in", what, (_APPLY,))
    elif ours and not ours.record.proven and decision.goal is Goal.CLIENT:
        if exporter.view.is_running:
            yield Problem("unproven", f"{name}: has a drop-in and was not restarted", (_APPLY,))
    elif _is_embedded(exporter, decision):
        yield _embedded(now, exporter, decision)


def _client_down(now: Situation, exporter: UnitExporter, decision: Decision) -> Iterator[Problem]:
    what = f"{exporter.name}, a client of the engine, does not run"
    if decision.goal is Goal.ORIGINAL:
        yield Problem("client-down", f"{what}: {decision.why}", (_APPLY,))
    elif now.found.local_engine.answers:
        start = f"systemctl start {exporter.name}"
        yield Problem("client-down", what, (f"journalctl -u {exporter.name}", start))
    elif now.found.settings.local_engine != now.found.settings.engine:
        # Else the engine is a problem of its own, and its clients come back with it.
        reason = f"the engine cannot be used: {now.found.local_engine.reason}"
        yield Problem("client-down", f"{what}: {reason}", _usable_engine(now))


def _is_embedded(exporter: UnitExporter, decision: Decision) -> bool:
    """Whether it has an embedded DCGM, or will once it is started."""
    if any(process.is_embedded for process in exporter.processes):
        return True
    view = exporter.view
    if decision.reason in HARMLESS or decision.reason in _NOTED or decision.goal is Goal.STOPPED:
        return False
    if not (view.is_running or view.file_state.startswith("enabled")):
        return False
    if decision.goal is Goal.CLIENT:
        return bool(decision.text) and not is_loaded(exporter)
    return True


def _embedded(now: Situation, exporter: UnitExporter, decision: Decision) -> Problem:
    name = exporter.name
    what = f"{name} runs an embedded DCGM"
    if not exporter.view.is_running:
        what = f"{name} will run an embedded DCGM when it is started"
    edit = f"systemctl edit {name}"
    remedies: dict[Reason, tuple[str, ...]] = {
        Reason.CHOSEN: (CHOOSE_AGAIN,),
        Reason.ENGINE: (*_usable_engine(now), _APPLY),
        Reason.VERSION: (f"systemctl disable --now {name}",),
        Reason.REFUSED: (f"{_APPLY} --retry", f"systemctl disable --now {name}  # or"),
        Reason.UNKNOWN_VERSION: (f"systemctl start {name}", _APPLY),
        Reason.EDITED: (edit, f"systemctl restart {name}"),
        Reason.FORBIDDEN: (f"rm {path_of(name)}", _APPLY),
        Reason.CLIENT: (f"systemctl restart {name}",),
        Reason.ELSEWHERE: (f"systemctl restart {name}",),
    }
    drop_in = now.records.drop_ins.get(name)
    if drop_in and drop_in.owner is Owner.NEWER:
        remedies[Reason.EDITED] = ("apt install --reinstall do-dcgm-exporter",)
    why = f": {decision.why}" if decision.why else ""
    return Problem("embedded-dcgm", what + why, remedies.get(decision.reason, (_APPLY,)))


def _usable_engine(now: Situation) -> tuple[str, ...]:
    """Return the commands after which the engine of this machine can be used."""
    if now.found.local_engine.condition is Condition.ABSENT:
        return start_engine(now.found.engine_unit)
    return (f"systemctl restart {ENGINE_SERVICE}",)


def _embedded_in(mention: Mention) -> Problem:
    pids = ", ".join(map(str, mention.pids))
    what = f"{mention.name} {mention.role.value}, with an embedded DCGM (pid {pids})"
    return Problem("embedded-dcgm", f"{what}{_where(mention)}", mention.lines)


def _where(mention: Mention) -> str:
    """Say where a person connects it."""
    return f"; to connect it, see {mention.place}" if mention.place else ""


def _host_labels(now: Situation) -> Iterator[str]:
    """Yield which exporters may have another host label as clients, before and after it happens."""
    names = [
        exporter.name
        for exporter in now.exporters.units
        if now.decisions[exporter.name].goal is Goal.CLIENT and exporter.library_major != 3
    ]
    if names:
        yield (
            'dcgm-exporter 4.0 to 4.8.2 labels its metrics Hostname="localhost" as a client, other'
            f" releases keep the host's name; this may concern {', '.join(names)}"
        )
