"""What is an exporter of this machine, and what only has to do with one."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

from do_dcgm_exporter.integration.deciding.container_run import ContainerRun
from do_dcgm_exporter.integration.deciding.exporter import (
    ExporterCommand,
    Exporters,
    Form,
    Mention,
    Role,
    UnitExporter,
)
from do_dcgm_exporter.integration.deciding.exporter_command import Judged, judge
from do_dcgm_exporter.integration.deciding.places import (
    CONFIG_FILES,
    Place,
    arguments,
    compose_lines,
    place_in_users_unit,
    place_of_child,
    place_of_container,
    place_of_unit,
    pod_lines,
    run_options,
)
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.control_groups import Kind as OwnerKind
from do_dcgm_exporter.integration.looking.processes import DcgmProcess
from do_dcgm_exporter.integration.looking.programs import SHELLS, Kind, Programs, major_of_image
from do_dcgm_exporter.integration.looking.units import SeenUnit

# What systemd starts a program through, seen for a moment in the new process.
_STARTERS = frozenset({"systemd", "systemd-executor", "sd-executor"})
# What stays beside a program that it has started, and does nothing else.
_WAITING = SHELLS | {"setsid", "stdbuf"}

_ROLES: Mapping[OwnerKind, Role] = {
    OwnerKind.UNIT: Role.PARENT,
    OwnerKind.USER_UNIT: Role.USER_UNIT,
    OwnerKind.SESSION: Role.SESSION,
    OwnerKind.CONTAINER: Role.CONTAINER,
    OwnerKind.GUEST: Role.GUEST,
    OwnerKind.NOTHING: Role.PROCESS,
}


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
    seen = _Containers(containers, engine)
    for unit in units:
        judged = judge(unit.view, unit.environment, programs)
        if _is_exporter(unit, judged, programs) and judged.exporter:
            command = judged.exporter
            inside = seen.take(command.container, command.image, command.arguments)
            own = _processes(unit, inside, processes)
            exporters.append(_exporter(unit, command, own, programs))
        elif mention := _mention(unit, judged, seen, engine):
            mentions.append(mention)
    mentions += seen.mentions()
    named = {pid for mention in mentions for pid in mention.pids}
    named |= {process.pid for exporter in exporters for process in exporter.processes}
    left = [one for one in processes if one.is_embedded and one.pid not in named]
    return Exporters(tuple(exporters), (*mentions, *_of_processes(left, engine)))


def _is_exporter(unit: SeenUnit, judged: Judged, programs: Programs) -> bool:
    """Whether a unit is an exporter by its command, and by its main process if it has one."""
    if judged.exporter is None or unit.view.type == "oneshot":
        return False
    if not unit.main:
        return unit.view.active_state != "active"
    for _, program in unit.main:
        name = os.path.basename(program)
        if not program:
            return True  # another user's: /proc may hide them
        if judged.exporter.form is Form.CONTAINER:
            return name in {os.path.basename(judged.exporter.program), *_STARTERS}
        kind = programs.identify(program).kind
        if kind is Kind.EXPORTER:
            return True
        if name not in _WAITING and kind is not Kind.SHELL_SCRIPT:
            return name in _STARTERS
    return False


def _processes(
    unit: SeenUnit, inside: Iterable[Container], processes: Iterable[DcgmProcess]
) -> tuple[DcgmProcess, ...]:
    """Return what runs of an exporter: in its unit, in its container, in its own namespace."""
    main = {pid for pid, _ in unit.main}
    own = {one.pid: one for one in processes if one.pid in main}
    own |= {one.pid: one for one in unit.processes}
    own |= {one.pid: one for container in inside for one in container.processes}
    return tuple(own.values())


def _exporter(
    unit: SeenUnit,
    command: ExporterCommand,
    processes: tuple[DcgmProcess, ...],
    programs: Programs,
) -> UnitExporter:
    majors = {process.library_major for process in processes} - {0}
    if len(majors) == 1:
        major = majors.pop()
    elif command.image:
        major = major_of_image(command.image)
    else:
        major = programs.library_major(command.program)
    return UnitExporter(unit.view, command, processes, unit.source, unit.names_engine, major)


def _mention(
    unit: SeenUnit, judged: Judged, containers: _Containers, engine: str
) -> Mention | None:
    """Say what a unit that is no exporter has to do with one, if anything."""
    pids = _embedded(unit.processes)
    role, place = judged.role, place_of_unit(unit.view, judged.script, engine)
    if judged.run:
        place = _place_of_run(unit, judged, judged.run, engine)
        run = judged.run
        inside = containers.take(run.name, run.image, run.arguments, run.file)
        pids += tuple(pid for container in inside for pid in _embedded(container.processes))
    elif judged.exporter and unit.view.type == "oneshot":
        role = Role.ONESHOT
    elif judged.exporter or (pids and role is None):
        role, place = Role.PARENT, place_of_child(unit.view, judged.script, engine)
    if role is None:
        return None
    return Mention(role, unit.view.name, pids, place.place, place.lines)


def _place_of_run(unit: SeenUnit, judged: Judged, run: ContainerRun, engine: str) -> Place:
    if run.file:
        return Place(run.file, compose_lines("dcgm-exporter", engine))
    if unit.view.source_path:
        return place_of_unit(unit.view, "", engine)
    return Place(judged.script or unit.view.fragment, run_options(engine))


class _Containers:
    """Containers, each of which is named once: by itself, or by the unit that runs it."""

    def __init__(self, containers: Iterable[Container], engine: str) -> None:
        self._left = list(containers)
        self._engine = engine

    def take(
        self, name: str, image: str, arguments: Sequence[str], file: str = ""
    ) -> Sequence[Container]:
        """Take those of a unit, by name or file of Compose, or the only one that is run so."""
        if name or file:
            taken = [one for one in self._left if one.name == name or _is_of(one, file)]
        else:
            taken = [
                one
                for one in self._left
                if (one.image, tuple(one.arguments)) == (image, tuple(arguments))
            ]
            taken = taken if len(taken) == 1 else []
        self._left = [one for one in self._left if one not in taken]
        return taken

    def mentions(self) -> Iterator[Mention]:
        """Yield what is left."""
        for one in self._left:
            place = place_of_container(one, self._engine)
            name = f"container {one.name} ({one.runtime})"
            pids = _embedded(one.processes)
            yield Mention(Role.CONTAINER, name, pids, place.place, place.lines)


def _is_of(container: Container, file: str) -> bool:
    return bool(file) and file in container.labels.get(CONFIG_FILES, "").split(",")


def _embedded(processes: Iterable[DcgmProcess]) -> tuple[int, ...]:
    return tuple(process.pid for process in processes if process.is_embedded)


def _of_processes(processes: Iterable[DcgmProcess], engine: str) -> Iterator[Mention]:
    """Yield what is said of processes that are in no unit and no container that was seen."""
    for process in processes:
        owner = process.owner
        place = Place("", arguments(engine))
        name = owner.name
        if owner.kind is OwnerKind.NOTHING:
            name = f"{process.command} (pid {process.pid})"
        elif owner.kind is OwnerKind.CONTAINER:
            name = f"container {owner.name[:12]}"
            place = Place("what describes it", run_options(engine))
            if owner.pod:
                place = Place("what describes its pod", pod_lines(engine))
        elif owner.kind is OwnerKind.USER_UNIT:
            place = place_in_users_unit(engine)
        elif owner.kind is OwnerKind.GUEST:
            place = Place("the guest", ())
        yield Mention(_ROLES[owner.kind], name, (process.pid,), place.place, place.lines)
