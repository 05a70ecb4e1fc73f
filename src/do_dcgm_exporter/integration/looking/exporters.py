"""The units of this machine that run an NVIDIA exporter."""

from __future__ import annotations

import glob
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from do_dcgm_exporter.integration.changing import drop_in
from do_dcgm_exporter.integration.deciding.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.deciding.exporter_command import (
    ExporterCommand,
    Form,
    exporter_command,
)
from do_dcgm_exporter.integration.host import ENGINE_SERVICE, EXPORTER, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking import libraries, unit_files
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes
from do_dcgm_exporter.integration.looking.quoting import environment_file
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView

_NEVER = frozenset({OWN_SERVICE, ENGINE_SERVICE, "do-nv-hostengine.service", "dcgm.service"})


@dataclass(frozen=True, slots=True)
class UnitExporter:
    """A unit that runs an exporter.

    ``command`` is None for a unit that is masked. ``source`` is a fingerprint of all that
    says how it runs, our drop-in left out; ``names_engine`` is whether any of that speaks of
    the engine's variable. ``has_drop_in`` is whether the manager reads our drop-in.
    """

    view: UnitView
    command: ExporterCommand | None
    processes: tuple[DcgmProcess, ...]
    source: str
    names_engine: bool
    has_drop_in: bool
    library_major: int
    version: str

    @property
    def name(self) -> str:
        """The unit's name."""
        return self.view.name


def find_unit_exporters(
    host: Host, systemd: Systemd, processes: Processes, known: Iterable[str] = ()
) -> tuple[UnitExporter, ...]:
    """Find them by their files, their processes and the names that are ``known`` already.

    Raises CommandFailed when the manager does not answer.
    """
    views: dict[str, UnitView] = {}
    for name in dict.fromkeys([*_names(host, systemd, processes), *known]):
        if any(name in view.names for view in views.values()):
            continue
        view = systemd.view(name)
        if view.name not in _NEVER and not _NEVER & set(view.names):
            views.setdefault(view.name, view)
    found = (_unit_exporter(host, view, processes) for view in views.values())
    return tuple(exporter for exporter in found if exporter is not None)


def _names(host: Host, systemd: Systemd, processes: Processes) -> Iterator[str]:
    for name in unit_files.candidates(host):
        if name.endswith("@.service"):
            yield from unit_files.instance_names(host, name)
            yield from systemd.instances(name)
        elif not name.startswith("snap."):
            yield name
    for process in processes.dcgm:
        if process.unit and process.command == EXPORTER and not process.unit.startswith("snap."):
            yield process.unit


def _unit_exporter(host: Host, view: UnitView, processes: Processes) -> UnitExporter | None:
    own = processes.of_unit(view.name)
    if view.is_masked:
        return UnitExporter(view, None, own, "", False, False, 0, "")
    if not view.is_there:
        return None
    command = exporter_command(
        view.commands, environment_of(host, view), lambda path: _script(host, path)
    )
    if command is None and any(process.command == EXPORTER for process in own):
        command = ExporterCommand(Form.SCRIPT, None)
    if command is None:
        return None
    source = _source(host, view)
    return UnitExporter(
        view,
        command,
        own,
        drop_in.sha256(source),
        REMOTE_VARIABLE in source,
        drop_in.path_of(view.name) in view.drop_ins and not drop_in.is_forbidden(host, view.name),
        _library_major(host, command, own),
        _version(command),
    )


def environment_of(host: Host, view: UnitView) -> dict[str, str]:
    """Return what a unit's processes get, as far as its files tell: systemd.exec(5)."""
    environment = dict(view.environment)
    for pattern in view.environment_files:
        for path in _matching(host, pattern):
            environment |= environment_file(host.text(path))
    for unset in view.unset:
        name, equals, value = unset.partition("=")
        if not equals or environment.get(name) == value:
            environment.pop(name, None)
    return environment


def _matching(host: Host, pattern: str) -> list[str]:
    if not glob.has_magic(pattern):
        return [pattern]
    found = glob.glob(str(host.path(pattern)))
    return ["/" + path.removeprefix(str(host.root)).lstrip("/") for path in sorted(found)]


def _script(host: Host, path: str) -> str:
    return unit_files.script(host, path).decode("utf-8", "replace") if path[:1] == "/" else ""


def _source(host: Host, view: UnitView) -> str:
    """Return paths and texts of the files that say how a unit runs, ours left out."""
    ours = drop_in.path_of(view.name)
    paths = [view.fragment, *(path for path in view.drop_ins if path != ours)]
    paths += [path for pattern in view.environment_files for path in _matching(host, pattern)]
    return "\0".join(f"{path}\0{host.text(path)}" for path in paths)


def _library_major(host: Host, command: ExporterCommand, own: Iterable[DcgmProcess]) -> int:
    running = {process.library_major for process in own if process.library_major}
    if len(running) == 1:
        return running.pop()
    if command.image:
        return libraries.major_of_image(command.image)
    return libraries.major_of_program(host, command.program) or libraries.major_on_library_path(
        host
    )


def _version(command: ExporterCommand) -> str:
    if command.image:
        return libraries.version_of_image(command.image)
    return libraries.version_of_package(command.program)
