"""What ``check --json`` prints for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from do_dcgm_exporter.dcgm.engine_answer import Condition
from do_dcgm_exporter.integration.deciding.exporter import Mention, UnitExporter
from do_dcgm_exporter.integration.deciding.plan import Decision, Goal
from do_dcgm_exporter.integration.deciding.problem import Problem
from do_dcgm_exporter.integration.deciding.situation import Situation
from do_dcgm_exporter.integration.looking.survey import PortUse
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.reporting.embedded_count import owner_of

SCHEMA = 1


def as_data(now: Situation, problems: Sequence[Problem], notes: Sequence[str]) -> dict[str, Any]:
    """Return what ``--json`` prints. Keys are only ever added."""
    found = now.found
    settings, engine = found.settings, found.engine
    return {
        "schema": SCHEMA,
        "driver": found.driver or None,
        "packages": [asdict(package) for package in found.packages],
        "engine": {
            "address": str(settings.engine),
            "unit": _unit_data(found.engine_unit),
            "choice": settings.engine_unit,
            "port": _port_data(
                found.engine_port if settings.engine == settings.local_engine else PortUse(False)
            ),
            "condition": engine.condition.value,
            "reason": engine.reason,
            "version": engine.engine or None,
            "client_version": engine.client or None,
            "fits": engine.condition in (Condition.ANSWERS, Condition.NO_DRIVER),
            "gpus": engine.gpus,
            "profiling": engine.profiling.value,
            "simulated": engine.simulated,
        },
        "local_engine": {
            "address": str(settings.local_engine),
            "port": _port_data(found.engine_port),
            "condition": found.local_engine.condition.value,
            "reason": found.local_engine.reason,
            "version": found.local_engine.engine or None,
        },
        "exporters": [
            *(_exporter_data(now, exporter) for exporter in now.exporters.units),
            *(_mention_data(mention) for mention in now.exporters.mentions),
        ],
        "embedded_processes": [
            {"pid": process.pid, "command": process.command, "of": owner_of(process)}
            for process in found.processes.embedded
        ]
        if found.knows_embedded
        else None,
        "service": _unit_data(found.service),
        "health": asdict(found.health) if found.health else None,
        "address": {"port": settings.address.port, **_port_data(found.own_port)},
        "endpoint": {
            "url": settings.forward_url or None,
            "reachable": bool(found.endpoint.status) if found.endpoint else None,
            "reason": found.endpoint.text if found.endpoint and not found.endpoint.status else "",
        },
        "choice": settings.choice.value,
        "problems": [
            {"id": one.id, "what": one.what, "remedy": list(one.remedy)} for one in problems
        ],
        "notices": list(notes),
        "unseen": list(found.unseen),
    }


def _unit_data(view: UnitView | None) -> dict[str, Any] | None:
    if view is None:
        return None
    return {
        "name": view.name,
        "load": view.load_state,
        "active": view.active_state,
        "enabled": view.file_state,
        "file": view.fragment or None,
    }


def _port_data(use: PortUse) -> dict[str, Any]:
    return {
        "taken": use.is_taken,
        "command": use.holder.command if use.holder else None,
        "pid": use.holder.pid if use.holder else None,
        "unit": use.unit or None,
    }


def _exporter_data(now: Situation, exporter: UnitExporter) -> dict[str, Any]:
    decision, command = now.decisions[exporter.name], exporter.command
    return {
        "kind": "unit",
        "unit": _unit_data(exporter.view),
        "name": exporter.name,
        "how": command.form.value if command else None,
        "engine": command.remote if command else None,
        "embedded": any(process.is_embedded for process in exporter.processes),
        "changed": _change(now, exporter.name),
        "would": _would(decision),
        "why": decision.why,
        "dcgm_major": exporter.library_major or None,
        "pids": [process.pid for process in exporter.processes],
    }


def _change(now: Situation, unit: str) -> str | None:
    if unit in now.records.ours:
        return "rewritten" if now.records.ours[unit].record.proven else "unproven"
    if unit in now.records.stopped:
        return "stopped"
    return "refused" if unit in now.records.refused else None


def _would(decision: Decision) -> str:
    if decision.goal is Goal.CLIENT and not decision.text:
        return Goal.UNTOUCHED.value
    return decision.goal.value


def _mention_data(mention: Mention) -> dict[str, Any]:
    return {
        "kind": "mention",
        "name": mention.name,
        "how": mention.role.value,
        "embedded": bool(mention.pids),
        "pids": list(mention.pids),
        "place": mention.place or None,
        "lines": list(mention.lines),
    }
