"""What is an exporter of this machine, and what only has to do with one."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Sequence

from do_dcgm_exporter.integration.deciding.exporter import (
    ExporterCommand,
    Exporters,
    Form,
    Mention,
    Role,
    UnitExporter,
)
from do_dcgm_exporter.integration.deciding.exporter_command import Judged, judge
from do_dcgm_exporter.integration.deciding.places import CONFIG_FILES, MAKERS_LABELS, Place, Places
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.processes import DcgmProcess
from do_dcgm_exporter.integration.looking.programs import SHELLS, Kind, Programs, major_of_image
from do_dcgm_exporter.integration.looking.units import SeenUnit

# What systemd starts a program through, seen for a moment in the new process.
_STARTERS = frozenset({"systemd", "systemd-executor", "sd-executor"})
# What stays beside a program that it has started, and does nothing else.
_WAITING = SHELLS | {"setsid", "stdbuf"}


def exporters_in(
    units: Iterable[SeenUnit],
    processes: Sequence[DcgmProcess],
    containers: Iterable[Container],
    programs: Programs,
    engine: str,
) -> Exporters:
    """Tell exporters from the rest; ``engine`` (HOST:PORT) is what lines to write are made for.

    Every process with a DCGM of its own is one of an exporter's or in exactly one mention.
    """
    exporters: list[UnitExporter] = []
    mentions: list[Mention] = []
    left = list(containers)
    places = Places(engine)
    judgements = [(unit, judge(unit.view, unit.environment, programs)) for unit in units]
    names = {judged.run.container for _, judged in judgements if judged.run}
    for unit, judged in judgements:
        inside = _run_by(judged.run, left, names) if judged.run else []
        left = [one for one in left if one not in inside]
        own = {one.pid: one for one in unit.processes}
        own |= {one.pid: one for container in inside for one in container.processes}
        if judged.exporter and _is_exporter(unit, judged.exporter, programs):
            # One with a PID namespace of its own is in the unit's group and not of the unit.
            main = {pid for pid, _ in unit.main}
            own |= {one.pid: one for one in processes if one.pid in main}
            major = _library_major(judged.exporter, own.values(), programs)
            found = (judged.exporter, tuple(own.values()), unit.source, unit.names_engine, major)
            exporters.append(UnitExporter(unit.view, *found))
        elif role := _role(unit, judged):
            place = places.of_unit(unit.view, role, judged)
            mentions.append(_mention(role, unit.view.name, place, own.values()))
    for one in left:
        name, place = f"container {one.name} ({one.runtime})", places.of_container(one)
        mentions.append(_mention(Role.CONTAINER, name, place, one.processes))
    named = {pid for mention in mentions for pid in mention.pids}
    named |= {process.pid for exporter in exporters for process in exporter.processes}
    unnamed = (one for one in processes if one.is_embedded and one.pid not in named)
    mentions += [_mention(*places.of_process(one), (one,)) for one in unnamed]
    return Exporters(tuple(exporters), tuple(mentions))


def _run_by(
    run: ExporterCommand, containers: Iterable[Container], names: Collection[str]
) -> list[Container]:
    """Return the containers that a command runs, by Compose's file, by name, or by what is run.

    ``names`` are those that commands give. A container without one cannot be told from others
    of the same image and arguments, so it has to be the only one.
    """
    if file := run.compose_file:
        return [one for one in containers if file in one.labels.get(CONFIG_FILES, "").split(",")]
    plain = [
        one
        for one in containers
        if not any(label.startswith(MAKERS_LABELS) for label in one.labels)
    ]
    if run.container:
        return [one for one in plain if one.name == run.container]
    runtime = os.path.basename(run.program).removeprefix("nvidia-")
    what = (runtime, run.image, run.arguments)
    alike = [
        one
        for one in plain
        if one.name not in names and what == (one.runtime, one.image, one.arguments)
    ]
    return alike if len(alike) == 1 else []


def _is_exporter(unit: SeenUnit, command: ExporterCommand, programs: Programs) -> bool:
    """Return whether a unit is an exporter by its type, and by its main process if it has one."""
    if unit.view.type == "oneshot":
        return False
    if not unit.main:
        return unit.view.active_state != "active"
    for _, program in unit.main:
        name = os.path.basename(program)
        if not program:
            return True  # another user's: /proc may hide them
        if command.form is Form.CONTAINER:
            return name in {os.path.basename(command.program), *_STARTERS}
        kind = programs.identify(program)
        if kind is Kind.EXPORTER:
            return True
        if name not in _WAITING and kind is not Kind.SHELL_SCRIPT:
            return name in _STARTERS
    return False


def _role(unit: SeenUnit, judged: Judged) -> Role | None:
    """Say what a unit that is no exporter has to do with one, if anything."""
    if judged.run:
        return Role.CONTAINER
    if judged.exporter and unit.view.type == "oneshot":
        return Role.ONESHOT
    if judged.exporter or (not judged.role and any(one.is_embedded for one in unit.processes)):
        return Role.PARENT
    return judged.role


def _library_major(
    command: ExporterCommand, processes: Iterable[DcgmProcess], programs: Programs
) -> int:
    majors = {process.library_major for process in processes} - {0}
    if len(majors) == 1:
        return majors.pop()
    image, program = command.image, command.program
    return major_of_image(image) if image else programs.library_major(program)


def _mention(role: Role, name: str, place: Place, processes: Iterable[DcgmProcess]) -> Mention:
    pids = tuple(process.pid for process in processes if process.is_embedded)
    return Mention(role, name, pids, *place)
