"""The output of ``check``: a table for people, JSON for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.deciding.exporter import UnitExporter
from do_dcgm_exporter.integration.deciding.plan import is_loaded
from do_dcgm_exporter.integration.deciding.problems import Problem, Situation
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE
from do_dcgm_exporter.integration.looking.processes import DcgmProcess
from do_dcgm_exporter.integration.looking.survey import Findings, PortUse
from do_dcgm_exporter.integration.looking.systemd import UnitView

_NARROWEST = 16


def as_text(now: Situation, problems: Sequence[Problem], notes: Sequence[str]) -> str:
    """Return the table."""
    rows = list(_rows(now.found))
    width = max(_NARROWEST, *(len(name) + 2 for name, _ in rows))
    lines = [f"{name:<{width}}{value}" for name, value in rows]
    for title, entries in (
        ("exporters", list(_exporters(now)) or ["none of NVIDIA's"]),
        ("embedded DCGM", list(_embedded(now.found))),
        ("could not be looked at", now.found.unseen),
        ("notes", [line for note in notes for line in _wrapped(note)]),
    ):
        lines += ["", title, *(f"  {entry}" for entry in entries)] if entries else []
    lines += ["", f"{len(problems) or 'no'} problem{'' if len(problems) == 1 else 's'}"]
    for number, problem in enumerate(problems, 1):
        lines += _wrapped(f"{number}. {problem.what}", len(f"{number}. "))
        lines += [f"       {line}" for line in problem.remedy]
    return "\n".join(lines)


def _wrapped(text: str, indent: int = 2) -> list[str]:
    return textwrap.wrap(
        text, 94, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def _rows(found: Findings) -> Iterator[tuple[str, str]]:
    settings, unit = found.settings, found.engine_unit
    yield "driver", found.driver or "not loaded"
    packages = ", ".join(f"{name} {version}" for name, version in found.packages.items())
    yield "DCGM", packages or ("not from a package" if found.has_engine_program else "none")
    alias = f" -> {unit.name}" if unit and unit.name != ENGINE_SERVICE else ""
    yield "engine", f"{ENGINE_SERVICE}{alias}, {_state(unit)} (engine = {settings.engine_unit})"
    if settings.local_engine != settings.engine:
        yield str(settings.engine), _engine(found.engine)
    local = f"{_holder(found.engine_port)}; {_engine(found.local_engine)}"
    yield str(settings.local_engine), local
    yield "profiling", found.engine.profiling.value
    answered = f", /health {found.health.status}" if found.health and found.health.status else ""
    yield "service", f"{OWN_SERVICE}, {_state(found.service)}{answered}"
    yield f"port {settings.address.port}", _holder(found.own_port)
    yield "policy", f"embedded-exporters = {settings.choice.value}"


def _state(view: UnitView | None) -> str:
    if view is None:
        return "not asked"
    if not view.is_there:
        return view.load_state
    return f"{view.active_state}, {view.file_state or 'no unit file'}"


def _holder(use: PortUse) -> str:
    if not use.is_taken:
        return "nothing listens"
    if use.holder and use.unit:
        return f"{use.unit} (pid {use.holder.pid})"
    return str(use.holder) if use.holder else "taken by a process that cannot be seen"


def _engine(engine: EngineAnswer) -> str:
    if engine.condition is not Condition.ANSWERS:
        return engine.reason
    simulated = " (simulated)" if engine.simulated else ""
    what = f"DCGM {engine.engine}{simulated} with {engine.gpus} GPUs"
    return f"{what}, our library {engine.client} fits"


def _exporters(now: Situation) -> Iterator[str]:
    for one in now.exporters.units:
        yield f"{one.name} ({one.command.form.value}), {_state(one.view)}: {_talks_to(now, one)}"
    for mention in now.exporters.mentions:
        own = "embedded DCGM" if mention.pids else "no embedded DCGM now"
        yield f"{mention.name} {mention.role.value}: {own}, never changed by us"


def _talks_to(now: Situation, exporter: UnitExporter) -> str:
    why, ours = now.decisions[exporter.name].why, now.records.ours.get(exporter.name)
    if exporter.name in now.records.stopped:
        return "stopped by us"
    if ours and is_loaded(exporter):
        proof = "" if ours.record.proven else ", not proven yet"
        return f"client of {exporter.command.remote}, by our drop-in{proof}"
    if exporter.command.remote is not None:
        return why
    own = "embedded DCGM" if exporter.view.is_running else "would have an embedded DCGM"
    return f"{own}, {why}" if why else own


def _embedded(found: Findings) -> Iterator[str]:
    embedded = found.processes.embedded
    if embedded is None:
        yield "unknown while the engine does not run"
    elif not embedded:
        yield "none visible" if found.processes.unseen else "none"
    for process in embedded or ():
        yield f"{process.command} (pid {process.pid}), {process.belongs_to}"


# JSON; keys may be added, but never removed

# Some classes are shown only in part.
_SHOWN: Mapping[type, str] = {
    Findings: "driver packages engine local_engine engine_unit engine_port own_port service"
    " health other_engines unseen",
    UnitView: "name load_state active_state file_state fragment",
    DcgmProcess: "pid command",
}


def as_json(now: Situation, problems: Sequence[Problem], notes: Sequence[str]) -> str:
    """Return what ``--json`` prints."""
    found, embedded = now.found, now.found.processes.embedded
    processes = [{**_plain(one), "of": one.belongs_to} for one in embedded or ()]
    data = {
        "schema": 2,
        **_plain(found),
        "engine_address": str(found.settings.engine),
        "policy": found.settings.choice,
        "embedded_processes": None if embedded is None else processes,
        "exporters": [_exporter(now, one) for one in now.exporters.units],
        "mentions": now.exporters.mentions,
        "problems": problems,
        "notes": notes,
    }
    return json.dumps(data, indent=2, default=_plain)


def _exporter(now: Situation, one: UnitExporter) -> dict[str, Any]:
    ours, decision = now.records.ours.get(one.name), now.decisions[one.name]
    return {
        "unit": one.view,
        "how": one.command.form,
        "engine": one.command.remote,
        "library_major": one.library_major,
        "processes": one.processes,
        "embedded": any(process.is_embedded for process in one.processes),
        "drop_in": ours and ours.record,
        "stopped": one.name in now.records.stopped,
        "goal": decision.goal,
        "why": decision.why,
    }


def _plain(value: Any) -> Any:
    """Return a value as JSON types on the outside; nested values may still need converting."""
    if isinstance(value, Enum):
        return value.value
    names = _SHOWN.get(type(value), " ".join(value.__dataclass_fields__)).split()
    return {name: getattr(value, name) for name in names}
