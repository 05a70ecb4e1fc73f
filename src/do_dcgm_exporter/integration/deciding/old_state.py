"""The one JSON file in which version 0.1.0 remembered everything."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from do_dcgm_exporter.integration.deciding.record import (
    NotUnderstood,
    Record,
    Refusal,
    StoppedUnit,
)

_FORMAT = 1


@dataclass(frozen=True, slots=True)
class OldState:
    """What it says. ``by_hand`` is what only a person can undo now, a sentence each."""

    rewritten: Mapping[str, Record] = field(default_factory=dict)
    stopped: Mapping[str, StoppedUnit] = field(default_factory=dict)
    refused: Mapping[str, Refusal] = field(default_factory=dict)
    by_hand: tuple[str, ...] = ()


def old_state_of(text: str) -> OldState:
    """Read it. Raises NotUnderstood."""
    try:
        data = json.loads(text)
        number = data["format"]
        state = _state(data) if number == _FORMAT else None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotUnderstood(f"{type(error).__name__}: {error}") from error
    if state is None:
        raise NotUnderstood("a newer version of this package wrote it")
    return state


def _state(data: Mapping[str, Any]) -> OldState:
    units = {str(entry["unit"]): entry for entry in data["units"]}
    return OldState(
        {name: _rewritten(one) for name, one in units.items() if _is(one, "rewritten")},
        {name: _stopped(one) for name, one in units.items() if _is(one, "stopped")},
        {name: _refused(one) for name, one in units.items() if _is(one, "refused")},
        (*_containers(data.get("containers", ())), *_snap(data.get("snap"))),
    )


def _is(entry: Mapping[str, Any], change: str) -> bool:
    return bool(entry["change"] == change)


def _rewritten(entry: Mapping[str, Any]) -> Record:
    return Record(
        engine=entry.get("engine", ""),
        source=entry.get("source", ""),
        was_active=entry.get("was_active", True),
        made_folder=(entry.get("drop_in") or {}).get("made_directory", False),
        proven=entry.get("settled", False),
    )


def _stopped(entry: Mapping[str, Any]) -> StoppedUnit:
    links = tuple((path, target) for path, target in entry.get("links", ()))
    return StoppedUnit(entry.get("was_active", True), links)


def _refused(entry: Mapping[str, Any]) -> Refusal:
    return Refusal(entry.get("source", ""), entry.get("engine", ""), entry.get("reason", ""))


def _containers(entries: Iterator[Mapping[str, Any]]) -> Iterator[str]:
    for entry in entries:
        engine, name, kept = entry["engine"], entry["name"], entry["kept_as"]
        commands = [
            [engine, "rm", "--force", name],
            [engine, "rename", kept, name],
            [engine, "update", f"--restart={entry.get('restart_policy') or 'no'}", name],
            [engine, "start", name],
        ]
        yield (
            f"version 0.1.0 recreated the container {name}; to have the old one back: "
            + " && ".join(map(shlex.join, commands))
        )


def _snap(entry: Mapping[str, Any] | None) -> Iterator[str]:
    if entry:
        services = " ".join(entry.get("enabled") or ("dcgm.nv-hostengine",))
        yield (
            "version 0.1.0 stopped the engine of the snap dcgm; to have it back:"
            f" snap set dcgm nv-hostengine-port={entry['port']}"
            f" && snap start --enable {services}"
        )
