"""The units that may be exporters, as seen by the manager and in /proc."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE, WORD
from do_dcgm_exporter.integration.host import DROP_IN_NAME, Host
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import CommandFailed, CommandTimedOut
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes, only_children
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.systemd import UnitView, environment_file
from do_dcgm_exporter.integration.looking.unit_files import texts_of_services

_OURS_AND_ENGINES = re.compile(
    r"(do-dcgm-exporter(-integrate|-embedded)?|do-nv-hostengine|nvidia-dcgm|dcgm|snap\..*)\.service"
)
# Paths in a command line or script: programs, and files of variables.
_PATH = re.compile(r"(?<![\w./])/[\w./+@:-]+")
# The first word of a command, after the prefixes of systemd.service(5), if it is no path.
_BARE_PROGRAM = re.compile(r"""(?m)^\s*[-@:+!|]*["']?([\w.+-]+)(?=["'\s]|$)""")
# Specifiers, systemd.unit(5), and escapes, systemd.syntax(7).
_FOR_THE_MANAGER = re.compile(r"(?<!%)(?:%%)*%[^%\s]|\\[xuU0-7]")
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class SeenUnit:
    """A unit and what runs in it.

    ``environment`` is that of its processes. ``source`` is a fingerprint of the files that
    define how it runs, without our drop-in; ``names_engine`` is whether one of them has the
    variable for the engine. ``main`` has id and program of its main process and of the only
    children below it, ``processes`` those of the unit that have DCGM's library mapped.
    """

    view: UnitView
    environment: Mapping[str, str]
    source: str = ""
    names_engine: bool = False
    main: tuple[tuple[int, str], ...] = ()
    processes: tuple[DcgmProcess, ...] = ()


def look_at_units(
    host: Host, programs: Programs, processes: Processes, known: Iterable[str] = ()
) -> tuple[tuple[SeenUnit, ...], tuple[str, ...]]:
    """Look at the units that may be exporters, judging by what they run, and at those ``known``.

    Return them, and a sentence for each that could not be looked at. Raises CommandFailed if
    the manager does not answer at all.
    """
    sought = {*known, *(process.owner.unit for process in processes.dcgm)} - {""}
    # Stopped and disabled instances of templates are not listed.
    folders, instances = systemd.unit_path(), systemd.loaded_instances()
    services, paths = dict(texts_of_services(host, folders, instances)), dict[str, bool]()
    names = {
        name
        for name in {*sought, *services}
        if not _OURS_AND_ENGINES.fullmatch(name)
        and (name in sought or _may_speak_of_exporter(services[name], programs, paths))
    }
    views, unseen = dict[str, UnitView](), list[str]()
    for name in sorted(names):
        try:
            view = systemd.view(name)
            views[view.name] = view  # of a unit and its aliases one
        except CommandTimedOut:
            raise
        except CommandFailed as error:
            unseen.append(f"{name}: {error.reason}")
    return (
        tuple(
            _seen(host, replace(view, log=log_of(host, view)), processes)
            for view in views.values()
            if view.fragment and os.path.lexists(host.path(view.fragment))  # otherwise it is gone
        ),
        tuple(unseen),
    )


def log_of(host: Host, view: UnitView) -> str:
    """Return the command that shows a unit's output: systemd.exec(5), StandardError=."""
    text = "\n".join(host.text(path) for path in (view.fragment, *view.drop_ins))
    last = dict(re.findall(r"(?m)^\s*(StandardOutput|StandardError)\s*=\s*(.*?)\s*$", text))
    target = last.get("StandardError", "")
    if target in ("", "inherit"):
        target = last.get("StandardOutput", "")
    kind, _, path = target.partition(":")
    is_file = kind in ("append", "file", "truncate")
    return f"tail {path}" if is_file else f"journalctl -u {view.name}"


def _may_speak_of_exporter(text: str, programs: Programs, known: dict[str, bool]) -> bool:
    """Whether a unit's directives do, or have something that only the manager can resolve."""
    with_paths = "\n".join([text, *map(programs.find, _BARE_PROGRAM.findall(text))])
    return _FOR_THE_MANAGER.search(text) is not None or _speaks_of_exporter(
        with_paths, programs, known, _DEEPEST
    )


def _speaks_of_exporter(text: str, programs: Programs, known: dict[str, bool], depth: int) -> bool:
    """Whether a text mentions an exporter, or names a program or file that leads to one."""
    return WORD.search(text) is not None or any(
        _leads_to_exporter(path, programs, known, depth)
        for path in set(_PATH.findall(text) if depth else ())
    )


def _leads_to_exporter(path: str, programs: Programs, known: dict[str, bool], depth: int) -> bool:
    if path not in known:
        known[path] = False  # guards against scripts that call each other
        known[path] = programs.may_be_exporter(path) or _speaks_of_exporter(
            programs.text(path), programs, known, depth - 1
        )
    return known[path]


def _seen(host: Host, view: UnitView, processes: Processes) -> SeenUnit:
    # Paths and texts of the files that define how it runs, without ours.
    drop_ins = [path for path in view.drop_ins if not path.endswith(f"/{DROP_IN_NAME}")]
    paths = [view.fragment, *drop_ins, *_environment_files(host, view)]
    source = "\0".join(f"{path}\0{host.text(path)}" for path in paths)
    return SeenUnit(
        view,
        environment_of(host, view),
        hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest(),
        REMOTE_VARIABLE in source,
        tuple(only_children(host.proc, view.main_pid)) if view.main_pid else (),
        tuple(process for process in processes.dcgm if process.owner.unit == view.name),
    )


def environment_of(host: Host, view: UnitView) -> dict[str, str]:
    """Return the environment that a unit's files give its processes: systemd.exec(5)."""
    environment = dict(view.environment)
    for path in _environment_files(host, view):
        environment |= environment_file(host.text(path))
    return environment


def _environment_files(host: Host, view: UnitView) -> Iterator[str]:
    for pattern in view.environment_files:
        for path in sorted(glob.glob(str(host.path(pattern)))):
            yield "/" + path.removeprefix(str(host.root)).lstrip("/")
