"""What ``check`` prints: a table for people, JSON for programs."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer
from do_dcgm_exporter.integration.deciding.exporter import Mention, UnitExporter
from do_dcgm_exporter.integration.deciding.plan import Goal, is_loaded
from do_dcgm_exporter.integration.deciding.problems import Problem, Situation
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, OWN_SERVICE
from do_dcgm_exporter.integration.looking.survey import Findings, PortUse
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.reporting.embedded_count import owner_of

SCHEMA = 1
_NARROWEST = 16
_WORDS: Any = {"break_long_words": False, "break_on_hyphens": False}


def as_text(now: Situation, problems: Sequence[Problem], notes: Sequence[str]) -> str:
    """Return the table."""
    rows = list(_rows(now.found))
    width = max(_NARROWEST, *(len(name) + 2 for name, _ in rows))
    lines = [f"{name:<{width}}{value}" for name, value in rows]
    wrapped = (textwrap.wrap(note, 94, subsequent_indent="  ", **_WORDS) for note in notes)
    for title, entries in (
        ("exporters", list(_exporters(now)) or ["none of NVIDIA's"]),
        ("embedded DCGM", list(_embedded(now.found))),
        ("could not be looked at", now.found.unseen),
        ("notes", [line for note in wrapped for line in note]),
    ):
        lines += ["", title, *(f"  {entry}" for entry in entries)] if entries else []
    count = len(problems)
    lines += ["", f"{count or 'no'} problem{'' if count == 1 else 's'}"]
    for number, problem in enumerate(problems, 1):
        first, others = f"{number}. ", " " * len(f"{number}. ")
        lines += textwrap.wrap(
            problem.what, 96, initial_indent=first, subsequent_indent=others, **_WORDS
        )
        lines += [f"       {line}" for line in problem.remedy]
    return "\n".join(lines)


def _rows(found: Findings) -> Iterator[tuple[str, str]]:
    settings, unit = found.settings, found.engine_unit
    yield "driver", found.driver or "not loaded"
    packages = ", ".join(f"{package.name} {package.version}" for package in found.packages)
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
    yield "endpoint", _endpoint(found)
    yield "policy", f"embedded-exporters = {settings.choice.value}"


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
    if engine.condition is not Condition.ANSWERS:
        return engine.reason
    simulated = " (simulated)" if engine.simulated else ""
    fit = f"our library {engine.client} fits"
    return f"DCGM {engine.engine}{simulated} with {engine.gpus} GPUs, {fit}"


def _endpoint(found: Findings) -> str:
    url, answer = found.settings.forward_url, found.endpoint
    if not url:
        return "nothing is sent"
    if answer is None:
        return f"{url}, not asked"
    return f"{url}, {f'answers ({answer.status})' if answer.status else answer.text}"


def _exporters(now: Situation) -> Iterator[str]:
    for one in now.exporters.units:
        how = one.command.form.value
        yield f"{one.name} ({how}), {_state(one.view)}: {_talks_to(now, one)}"
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
    embedded = found.processes.embedded if found.knows_embedded else ()
    if not found.knows_embedded:
        yield "cannot be told while the engine does not run"
    elif not embedded:
        yield "none that can be seen" if found.processes.unseen else "none"
    for process in embedded:
        yield f"{process.command} (pid {process.pid}), {owner_of(process)}"


# JSON, whose keys are only ever added


def as_data(now: Situation, problems: Sequence[Problem], notes: Sequence[str]) -> dict[str, Any]:
    """Return what ``--json`` prints."""
    found, settings = now.found, now.found.settings
    endpoint, processes = found.endpoint, found.processes.embedded
    return {
        "schema": SCHEMA,
        "driver": found.driver or None,
        "packages": [asdict(package) for package in found.packages],
        "engine": {
            **_engine_data(found.engine, str(settings.engine)),
            "unit": _unit_data(found.engine_unit),
            "choice": settings.engine_unit,
            "port": _port_data(found.engine_port)
            if settings.engine == settings.local_engine
            else _port_data(PortUse(False)),
        },
        "local_engine": {
            **_engine_data(found.local_engine, str(settings.local_engine)),
            "port": _port_data(found.engine_port),
        },
        "exporters": [
            *(_exporter_data(now, exporter) for exporter in now.exporters.units),
            *(_mention_data(mention) for mention in now.exporters.mentions),
        ],
        "embedded_processes": [
            {"pid": one.pid, "command": one.command, "of": owner_of(one)} for one in processes
        ]
        if found.knows_embedded
        else None,
        "service": _unit_data(found.service),
        "health": asdict(found.health) if found.health else None,
        "address": {"port": settings.address.port, **_port_data(found.own_port)},
        "endpoint": {
            "url": settings.forward_url or None,
            "reachable": bool(endpoint.status) if endpoint else None,
            "reason": endpoint.text if endpoint and not endpoint.status else "",
        },
        "choice": settings.choice.value,
        "problems": [asdict(one) for one in problems],
        "notices": list(notes),
        "unseen": list(found.unseen),
    }


def _engine_data(engine: EngineAnswer, address: str) -> dict[str, Any]:
    fits = engine.condition in (Condition.ANSWERS, Condition.NO_DRIVER)
    return {
        "address": address, "condition": engine.condition.value, "reason": engine.reason,
        "version": engine.engine or None, "client_version": engine.client or None, "fits": fits,
        "gpus": engine.gpus, "profiling": engine.profiling.value, "simulated": engine.simulated,
    }  # fmt: skip


def _unit_data(view: UnitView | None) -> dict[str, Any] | None:
    if view is None:
        return None
    return {
        "name": view.name, "load": view.load_state, "active": view.active_state,
        "enabled": view.file_state, "file": view.fragment or None,
    }  # fmt: skip


def _port_data(use: PortUse) -> dict[str, Any]:
    return {
        "taken": use.is_taken, "command": use.holder.command if use.holder else None,
        "pid": use.holder.pid if use.holder else None, "unit": use.unit or None,
    }  # fmt: skip


def _exporter_data(now: Situation, exporter: UnitExporter) -> dict[str, Any]:
    decision, records, name = now.decisions[exporter.name], now.records, exporter.name
    changed = "refused" if name in records.refused else None
    if name in records.stopped:
        changed = "stopped"
    elif name in records.ours:
        changed = "rewritten" if records.ours[name].record.proven else "unproven"
    would = decision.goal if decision.text or decision.goal is not Goal.CLIENT else Goal.UNTOUCHED
    return {
        "kind": "unit", "unit": _unit_data(exporter.view), "name": name,
        "how": exporter.command.form.value, "engine": exporter.command.remote,
        "embedded": any(process.is_embedded for process in exporter.processes),
        "changed": changed, "would": would.value, "why": decision.why,
        "dcgm_major": exporter.library_major or None,
        "pids": [process.pid for process in exporter.processes],
    }  # fmt: skip


def _mention_data(mention: Mention) -> dict[str, Any]:
    return {
        "kind": "mention", "name": mention.name, "how": mention.role.value,
        "embedded": bool(mention.pids), "pids": list(mention.pids),
        "place": mention.place or None, "lines": list(mention.lines),
    }  # fmt: skip
