"""What is wrong with the exporters: each that has a DCGM of its own, and what to do about it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from do_dcgm_exporter.integration.changing import container_copy, drop_in
from do_dcgm_exporter.integration.changing.container_work import why_not_recreated
from do_dcgm_exporter.integration.deciding.plan import (
    HARMLESS,
    Decision,
    Goal,
    Reason,
    is_in_trouble,
)
from do_dcgm_exporter.integration.deciding.problem import (
    CHOOSE_AGAIN,
    Problem,
    start_engine,
    stop_command,
)
from do_dcgm_exporter.integration.host import COMMAND, ENGINE_SERVICE, EXPORTER
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.engine_probe import Condition
from do_dcgm_exporter.integration.looking.exporters import UnitExporter
from do_dcgm_exporter.integration.looking.libraries import mislabels_when_remote
from do_dcgm_exporter.integration.looking.processes import DcgmProcess
from do_dcgm_exporter.integration.looking.survey import Findings
from do_dcgm_exporter.integration.reporting.embedded_report import origin_of

_APPLY = f"{COMMAND} apply"
_SHOWN_LATER = (Reason.EDITED, Reason.FORBIDDEN)


def exporter_problems(found: Findings) -> Iterator[Problem]:
    """Yield what is wrong with services, containers, the snap and other programs."""
    yield from _of_exporters(found)
    yield from _of_containers(found)
    yield from _of_snap(found)
    yield from _of_other_processes(found)


def exporter_notices(found: Findings) -> Iterator[str]:
    """Yield what is worth knowing about exporters and no problem."""
    yield from _host_labels(found)
    yield from _left_alone(found)


def _of_exporters(found: Findings) -> Iterator[Problem]:
    for exporter in found.exporters:
        decision = found.decisions[exporter.name]
        record = found.state.units.get(exporter.name)
        if record and not record.settled:
            yield Problem(
                "interrupted", f"{exporter.name}: an earlier run was interrupted", (_APPLY,)
            )
        elif is_in_trouble(exporter, record):
            yield _client_in_trouble(found, exporter, decision, "which was made a client,")
        elif decision.reason is Reason.CLIENT and exporter.view.is_in_trouble:
            yield _client_in_trouble(found, exporter, decision, "a client of the engine,")
        elif _has_embedded_engine(exporter, decision):
            yield _embedded(exporter, decision, _usable_engine(found))


def _client_in_trouble(
    found: Findings, exporter: UnitExporter, decision: Decision, who: str
) -> Problem:
    what = f"{exporter.name}, {who} does not run"
    start = f"systemctl start {exporter.name}"
    if decision.reason is Reason.VERSION:
        return Problem("client-down", f"{what}: {decision.why}", (_APPLY,))
    if not found.local_engine.answers:
        reason = f"the engine cannot be used: {found.local_engine.reason}"
        return Problem("client-down", f"{what}: {reason}", (*_usable_engine(found), start))
    return Problem("client-down", what, (start, f"journalctl -u {exporter.name}"))


def _has_embedded_engine(exporter: UnitExporter, decision: Decision) -> bool:
    """Whether it runs a DCGM of its own, or would once it is started."""
    if any(process.is_embedded for process in exporter.processes):
        return True
    if decision.reason in HARMLESS or decision.reason in _SHOWN_LATER or not _may_run(exporter):
        return False
    if decision.goal is Goal.REWRITTEN:
        return bool(decision.text) and not exporter.has_drop_in
    return True


def _may_run(exporter: UnitExporter) -> bool:
    view = exporter.view
    return view.is_running or view.file_state.startswith("enabled")


def _embedded(
    exporter: UnitExporter, decision: Decision, usable_engine: tuple[str, ...]
) -> Problem:
    name = exporter.name
    what = f"{name} runs a DCGM of its own"
    if not exporter.view.is_running:
        what = f"{name} runs a DCGM of its own when it is started"
    stop = f"systemctl disable --now {name}"
    remedies: dict[Reason, tuple[str, ...]] = {
        Reason.CHOSEN: (CHOOSE_AGAIN,),
        Reason.CONTAINER: (f"systemctl edit {name}",),
        Reason.ENGINE: (*usable_engine, _APPLY),
        Reason.VERSION: (stop,),
        Reason.REFUSED: (stop,),
        Reason.UNKNOWN_VERSION: (f"systemctl start {name}", _APPLY),
        Reason.EDITED: (f"systemctl edit {name}",),
        Reason.FORBIDDEN: (f"rm {drop_in.path_of(name)}", _APPLY),
        Reason.MASKED: (f"systemctl stop {name}",),
        Reason.CLIENT: (f"systemctl restart {name}",),
        Reason.ELSEWHERE: (f"systemctl restart {name}",),
    }
    why = f": {decision.why}" if decision.why else ""
    return Problem("embedded-dcgm", what + why, remedies.get(decision.reason, (_APPLY,)))


def _usable_engine(found: Findings) -> tuple[str, ...]:
    """Return the commands after which the engine of this machine can be used."""
    if found.local_engine.condition is Condition.ABSENT:
        return start_engine(found.engine_unit)
    return (f"systemctl restart {ENGINE_SERVICE}",)


def _of_containers(found: Findings) -> Iterator[Problem]:
    units = {exporter.name for exporter in found.exporters}
    for container in found.containers:
        if container.has_embedded_engine and container.maker not in units:
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
            yield _other_process(process, str(found.settings.local_engine))


def _other_process(process: DcgmProcess, engine: str) -> Problem:
    again: tuple[str, ...] = ()
    if process.command == EXPORTER and not (process.unit or process.container):
        again = (f"{EXPORTER} -r {engine}  # and its other options, to have it as a client",)
    return Problem(
        "embedded-dcgm",
        f"{process.command} (pid {process.pid}, {origin_of(process)}) runs a DCGM of its own;"
        " give it the address of the engine, or stop it",
        (stop_command(process.unit, process.pid), *again),
    )


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
