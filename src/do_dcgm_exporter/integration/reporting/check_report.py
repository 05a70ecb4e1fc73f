"""What ``check`` prints for people: a table."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.deciding.exporter import Mention, UnitExporter
from do_dcgm_exporter.integration.deciding.plan import is_loaded
from do_dcgm_exporter.integration.deciding.problem import Problem
from do_dcgm_exporter.integration.deciding.situation import Situation
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE
from do_dcgm_exporter.integration.looking.survey import Findings, PortUse
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.reporting.embedded_count import owner_of

_NARROWEST = 16
_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}


def as_text(now: Situation, problems: Sequence[Problem], notes: Sequence[str]) -> str:
    """Return the table."""
    found = now.found
    rows = list(_rows(found))
    width = max(_NARROWEST, *(len(name) + 2 for name, _ in rows))
    lines = [f"{name:<{width}}{value}" for name, value in rows]
    lines += _section("exporters", list(_exporter_lines(now)) or ["none of NVIDIA's"])
    none = "none that can be seen" if found.processes.unseen else "none"
    lines += _section("embedded DCGM", list(_embedded_lines(found)) or [none])
    if found.unseen:
        lines += _section("could not be looked at", list(found.unseen))
    if notes:
        wrapped = (textwrap.wrap(note, 94, subsequent_indent="  ", **_WORDS) for note in notes)
        lines += _section("notes", [line for note in wrapped for line in note])
    lines += ["", _count(problems)]
    for number, problem in enumerate(problems, 1):
        start = f"{number}. "
        lines += textwrap.wrap(
            problem.what, 96, initial_indent=start, subsequent_indent=" " * len(start), **_WORDS
        )
        lines += [f"       {command}" for command in problem.remedy]
    return "\n".join(lines)


def _section(title: str, entries: Sequence[str]) -> list[str]:
    return ["", title, *(f"  {entry}" for entry in entries)]


def _count(problems: Sequence[Problem]) -> str:
    if not problems:
        return "no problems"
    return "1 problem" if len(problems) == 1 else f"{len(problems)} problems"


def _rows(found: Findings) -> Iterator[tuple[str, str]]:
    settings = found.settings
    yield "driver", found.driver or "not loaded"
    packages = ", ".join(f"{package.name} {package.version}" for package in found.packages)
    yield "DCGM", packages or ("not from a package" if found.has_engine_program else "none")
    yield "engine", f"{_engine_unit(found)} (engine = {settings.engine_unit})"
    local = settings.local_engine
    if local == settings.engine:
        yield str(local), f"{_holder(found.engine_port)}; {_engine(found.engine)}"
    else:
        yield str(settings.engine), _engine(found.engine)
        yield str(local), f"{_holder(found.engine_port)}; {_engine(found.local_engine)}"
    yield "profiling", found.engine.profiling.value
    yield "service", f"{OWN_SERVICE}, {_state(found.service)}{_health(found)}"
    yield f"port {settings.address.port}", _holder(found.own_port)
    yield "endpoint", _endpoint(found)
    yield "policy", f"embedded-exporters = {settings.choice.value}"


def _engine_unit(found: Findings) -> str:
    view = found.engine_unit
    if view is None:
        return f"{ENGINE_SERVICE}, not asked"
    alias = f" -> {view.name}" if view.name != ENGINE_SERVICE else ""
    return f"{ENGINE_SERVICE}{alias}, {_state(view)}"


def _state(view: UnitView | None) -> str:
    if view is None:
        return "not asked"
    if not view.is_there:
        return view.load_state
    return f"{view.active_state}, {view.file_state or 'no unit file'}"


def _holder(use: PortUse) -> str:
    if not use.is_taken:
        return "nobody listens"
    if use.holder and use.unit:
        return f"{use.unit} (pid {use.holder.pid})"
    return str(use.holder) if use.holder else "somebody who cannot be seen listens"


def _engine(engine: EngineAnswer) -> str:
    if engine.condition is Condition.ANSWERS:
        simulated = " (simulated)" if engine.simulated else ""
        fit = f"our library {engine.client} fits"
        return f"DCGM {engine.engine}{simulated} with {engine.gpus} GPUs, {fit}"
    return engine.reason


def _health(found: Findings) -> str:
    if found.health is None or not found.health.status:
        return ""
    return f", /health {found.health.status}"


def _endpoint(found: Findings) -> str:
    if not found.settings.forward_url:
        return "nothing is sent"
    if found.endpoint is None:
        return f"{found.settings.forward_url}, not asked"
    answer = found.endpoint
    said = f"answers ({answer.status})" if answer.status else answer.text
    return f"{found.settings.forward_url}, {said}"


def _exporter_lines(now: Situation) -> Iterator[str]:
    for exporter in now.exporters.units:
        how = f" ({exporter.command.form.value})" if exporter.command else ""
        yield f"{exporter.name}{how}, {_state(exporter.view)}: {_talks_to(now, exporter)}"
    for mention in now.exporters.mentions:
        yield f"{mention.name} {mention.role.value}: {_is_never_changed(mention)}"


def _talks_to(now: Situation, exporter: UnitExporter) -> str:
    decision = now.decisions[exporter.name]
    if exporter.name in now.records.stopped:
        return "stopped by us"
    if exporter.command and exporter.name in now.records.ours and is_loaded(exporter):
        proof = "" if now.records.ours[exporter.name].record.proven else ", not proven yet"
        return f"client of {exporter.command.remote}, by our drop-in{proof}"
    if exporter.command and exporter.command.remote is not None:
        return decision.why
    own = "embedded DCGM" if exporter.view.is_running else "would have an embedded DCGM"
    return own + (f", {decision.why}" if decision.why else "")


def _is_never_changed(mention: Mention) -> str:
    own = "embedded DCGM" if mention.pids else "no embedded DCGM now"
    return f"{own}, never changed by us"


def _embedded_lines(found: Findings) -> Iterator[str]:
    if not found.knows_embedded:
        yield "cannot be told while the engine does not run"
        return
    for process in found.processes.embedded:
        yield f"{process.command} (pid {process.pid}), {owner_of(process)}"
