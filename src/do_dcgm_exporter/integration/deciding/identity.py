"""Tell exporters from what is merely related to one, and say how to connect each."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from do_dcgm_exporter.integration.deciding.exporter import (
    ExporterCommand,
    Exporters,
    Form,
    Mention,
    Role,
    UnitExporter,
)
from do_dcgm_exporter.integration.deciding.exporter_command import Judged, judge
from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import COMMAND
from do_dcgm_exporter.integration.looking.containers import Container
from do_dcgm_exporter.integration.looking.processes import DcgmProcess
from do_dcgm_exporter.integration.looking.programs import SHELLS, Kind, Programs, major_of_image
from do_dcgm_exporter.integration.looking.systemd import UnitView
from do_dcgm_exporter.integration.looking.units import SeenUnit
from do_dcgm_exporter.process_owners import OwnerKind

# Through these systemd starts a program; the new process shows their name for a moment.
_STARTERS = frozenset({"systemd", "systemd-executor", "sd-executor"})
# Programs that start another one and then only wait for it.
_WAITING = SHELLS | {"setsid", "stdbuf"}

# The label in which Compose lists the files that describe a container.
_CONFIG_FILES = "com.docker.compose.project.config_files"

# Lines to write: %(engine)s is the engine, other names are labels of the container.
_SETTING = f"{REMOTE_VARIABLE}=%(engine)s"
_ARGUMENTS = ("dcgm-exporter -r %(engine)s  # and its other options",)
_EXPORT = (f"export {_SETTING}",)
_SERVICE = ("[Service]", f"Environment={_SETTING}")
_QUADLET = ("[Container]", "Network=host", f"Environment={_SETTING}")
_RUN_OPTIONS = (f"--network host -e {_SETTING}",)
_COMPOSE = (
    "services:",
    "  %(service)s:",
    "    network_mode: host",
    "    environment:",
    f"      {REMOTE_VARIABLE}: %(engine)s",
)
_POD = (
    "hostNetwork: true",
    "containers:",
    "- env:",
    f"  - name: {REMOTE_VARIABLE}",
    "    value: %(engine)s",
)
_NOMAD = ('config { network_mode = "host" }', f'env {{ {REMOTE_VARIABLE} = "%(engine)s" }}')
_ECS_VARIABLE = f'{{"name": "{REMOTE_VARIABLE}", "value": "%(engine)s"}}'
_ECS = ('"networkMode": "host"', f'"environment": [{_ECS_VARIABLE}]')
_LOOK_AGAIN = (f"{COMMAND} check --wait  # the unit itself could not be looked at in time",)
_SWARM = (f"docker service update --env-add {_SETTING} %(service.name)s",)

# How the labels of each orchestrator begin, where it describes a container, and the lines
# to write there. Containers of Swarm may have labels of Compose as well.
_MAKERS = (
    ("io.kubernetes.", "the manifest of the pod %(pod.name)s", _POD),
    ("com.hashicorp.nomad.", "the job %(job_name)s of Nomad, task %(task_name)s", _NOMAD),
    ("com.amazonaws.ecs.", "the task definition of ECS, %(task-definition-family)s", _ECS),
    ("com.docker.swarm.", "the service %(service.name)s of Swarm", _SWARM),
    ("com.docker.compose.", "the Compose file %(project.config_files)s", _COMPOSE),
)

# Containers with such labels were not started by a mere "docker run".
_MAKERS_LABELS = tuple(prefix for prefix, _, _ in _MAKERS)

# Services that start programs for others, and where those are configured.
_OF_UNITS: Mapping[str, str] = {
    "amazon-ssm-agent.service": "the SSM document",
    "anacron.service": "/etc/anacrontab",
    "cloud-final.service": "the instance's user data",
    "containerd.service": "the manifest of its pod or container",
    "cron.service": "the crontab that starts it: /etc/crontab, /etc/cron.d, crontab -e",
    "nomad.service": "the job it belongs to",
    "rc-local.service": "/etc/rc.local",
    "slurmd.service": "the script of the job, or Prolog= in slurm.conf",
    "supervisor.service": "/etc/supervisor/conf.d",
}
_OF_OWNERS: Mapping[OwnerKind, tuple[Role, str, Sequence[str]]] = {
    OwnerKind.CONTAINER: (Role.CONTAINER, "what describes it", _RUN_OPTIONS),
    OwnerKind.GUEST: (Role.GUEST, "the guest", ()),
    OwnerKind.NOTHING: (Role.PROCESS, "", _ARGUMENTS),
    OwnerKind.SESSION: (Role.SESSION, "", _ARGUMENTS),
    OwnerKind.UNIT: (Role.PARENT, "", _LOOK_AGAIN),  # others have been judged as units
    OwnerKind.USER_UNIT: (Role.USER_UNIT, "that user's unit: systemctl --user edit", _SERVICE),
}

# A file, or a description of the place, and the lines to write there.
Place = tuple[str, tuple[str, ...]]


def exporters_in(
    units: Iterable[SeenUnit],
    processes: Sequence[DcgmProcess],
    containers: Iterable[Container],
    programs: Programs,
    engine: str,
) -> Exporters:
    """Tell exporters from the rest; lines to write connect to ``engine`` (HOST:PORT).

    Each process with an embedded DCGM belongs to one exporter or to one mention.
    """
    exporters: list[UnitExporter] = []
    mentions: list[Mention] = []
    left = list(containers)
    judgements = [(unit, judge(unit.view, unit.environment, programs)) for unit in units]
    names = {judged.run.container for _, judged in judgements if judged.run}
    for unit, judged in judgements:
        inside = _run_by(judged.run, left, names) if judged.run else []
        left = [one for one in left if one not in inside]
        own = {one.pid: one for one in unit.processes}
        own |= {one.pid: one for container in inside for one in container.processes}
        if judged.exporter and _is_exporter(unit, judged.exporter, programs):
            # With its own PID namespace, a process is in the unit's cgroup but not part of it.
            main = {pid for pid, _ in unit.main}
            own |= {one.pid: one for one in processes if one.pid in main}
            major = _library_major(judged.exporter, own.values(), programs)
            found = (judged.exporter, tuple(own.values()), unit.source, unit.names_engine, major)
            exporters.append(UnitExporter(unit.view, *found))
        elif role := _role(unit, judged):
            place = _place_of_unit(engine, unit.view, role, judged)
            mentions.append(_mention(role, unit.view.name, place, own.values()))
    for one in left:
        name, place = f"container {one.name} ({one.runtime})", _place_of_container(engine, one)
        mentions.append(_mention(Role.CONTAINER, name, place, one.processes))
    named = {pid for mention in mentions for pid in mention.pids}
    named |= {process.pid for exporter in exporters for process in exporter.processes}
    unnamed = (one for one in processes if one.is_embedded and one.pid not in named)
    mentions += [_mention(*_place_of_process(engine, one), (one,)) for one in unnamed]
    return Exporters(tuple(exporters), tuple(mentions))


def _run_by(
    run: ExporterCommand, containers: Iterable[Container], names: Collection[str]
) -> list[Container]:
    """Return the containers that a command runs, found by Compose file, by name, or by image.

    ``names`` are those given by commands. Without a name, a container cannot be told from
    others with the same image and arguments, so it has to be the only one.
    """
    if file := run.compose_file:
        return [one for one in containers if file in one.labels.get(_CONFIG_FILES, "").split(",")]
    plain = [
        one
        for one in containers
        if not any(label.startswith(_MAKERS_LABELS) for label in one.labels)
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
    """Return whether a unit's type, and its main process if it has one, are an exporter's."""
    if unit.view.type == "oneshot":
        return False
    if not unit.main:
        return unit.view.active_state != "active"
    for _, program in unit.main:
        name = os.path.basename(program)
        if not program:
            return True  # of another user, which /proc may hide
        if command.form is Form.CONTAINER:
            return name in {os.path.basename(command.program), *_STARTERS}
        kind = programs.identify(program)
        if kind is Kind.EXPORTER:
            return True
        if name not in _WAITING and kind is not Kind.SHELL_SCRIPT:
            return name in _STARTERS
    return False


def _role(unit: SeenUnit, judged: Judged) -> Role | None:
    """Return how a unit that is not an exporter is related to one, if at all."""
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


# Where a person can connect an exporter, depending on what started it


def _place_of_unit(engine: str, view: UnitView, role: Role, judged: Judged) -> Place:
    """Return where a unit's exporter is configured: a file that it uses, or the unit itself."""
    own, script = view.source_path or view.fragment, judged.script
    if judged.run and judged.run.compose_file:
        return _place(engine, judged.run.compose_file, _COMPOSE)
    if own.endswith(".container"):
        return _place(engine, own, _QUADLET)
    if role is Role.CONTAINER:
        return _place(engine, script or own, _RUN_OPTIONS)
    if role is Role.PARENT:
        return _place(engine, _OF_UNITS.get(view.name) or script or own, _ARGUMENTS)
    return _place(engine, script, _EXPORT) if script else _place(engine, own, _SERVICE)


def _place_of_container(engine: str, container: Container) -> Place:
    """Return where a container is described, according to the labels of its orchestrator."""
    for prefix, where, lines in _MAKERS:
        labels = {
            label.removeprefix(prefix): value
            for label, value in container.labels.items()
            if label.startswith(prefix)
        }
        if labels:
            values = defaultdict(lambda: container.name, labels, engine=engine)
            return where % values, tuple(line % values for line in lines)
    return _place(engine, f"the command that created it: {container.runtime} run", _RUN_OPTIONS)


def _place_of_process(engine: str, process: DcgmProcess) -> tuple[Role, str, Place]:
    """Return role, name and place of a process that belongs to nothing else that was found."""
    role, where, lines = _OF_OWNERS[process.owner.kind]
    if process.owner.pod:
        where, lines = "the manifest of its pod", _POD
    name = process.belongs_to if process.owner.name else f"{process.command} (pid {process.pid})"
    return role, name, _place(engine, where, lines)


def _place(engine: str, where: str, lines: Sequence[str]) -> Place:
    values = {"engine": engine, "service": "dcgm-exporter"}
    return where, tuple(line % values for line in lines)
