"""The units that may be exporters, as the manager and /proc show them."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE, WORD
from do_dcgm_exporter.integration.host import DROP_IN_NAME, Host
from do_dcgm_exporter.integration.looking import systemd
from do_dcgm_exporter.integration.looking.commands import CommandFailed, CommandTimedOut
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes, only_children
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.systemd import UnitView, environment_file

# Each question is a process, most of whose time is spent on starting it.
_AT_ONCE = 4
_OURS_AND_ENGINES = re.compile(
    r"(do-dcgm-exporter(-integrate|-embedded)?|do-nv-hostengine|nvidia-dcgm|dcgm|snap\..*)\.service"
)
# What a command line or a script may name: programs, and files of variables.
_PATH = re.compile(r"(?<![\w./])/[\w./+@:-]+")
_DEEPEST = 3


@dataclass(frozen=True, slots=True)
class SeenUnit:
    """A unit and what runs in it.

    ``environment`` is what its processes get. ``source`` is a fingerprint of the files that
    say how it runs, without our drop-in; ``names_engine`` is whether one of them has the
    engine's variable. ``main`` are ids and programs of its main process and of the only
    children beneath it, ``processes`` those of the unit that have DCGM's library mapped.
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
    """Look at units that may be exporters, by what they run, and at those ``known`` already.

    Return them, and why others could not be looked at, one sentence each. Raises CommandFailed
    when the manager does not answer at all.
    """
    sought = {*known, *(process.owner.unit for process in processes.dcgm)} - {""}
    # An instance of a template that was stopped and disabled is not listed.
    services, paths = dict(systemd.services()), dict[str, bool]()
    names = {
        name
        for name in {*sought, *services}
        if not _OURS_AND_ENGINES.fullmatch(name)
        and (name in sought or _speaks_of_exporter(services[name], programs, paths, _DEEPEST))
    }
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        answers = list(pool.map(_view, sorted(names)))
    views = [answer for answer in answers if isinstance(answer, UnitView)]
    return (
        tuple(
            _seen(host, replace(view, log=log_of(host, view)), processes)
            for view in views
            if view.fragment and os.path.lexists(host.path(view.fragment))  # else it is deleted
        ),
        tuple(str(answer) for answer in answers if isinstance(answer, CommandFailed)),
    )


def _view(name: str) -> UnitView | CommandFailed:
    try:
        return systemd.view(name)
    except CommandTimedOut:
        raise
    except CommandFailed as error:
        return CommandFailed((name,), error.reason)


def log_of(host: Host, view: UnitView) -> str:
    """Return the command that shows what a unit says: systemd.exec(5), StandardError=."""
    text = "\n".join(host.text(path) for path in (view.fragment, *view.drop_ins))
    last = dict(re.findall(r"(?m)^\s*(StandardOutput|StandardError)\s*=\s*(.*?)\s*$", text))
    target = last.get("StandardError", "")
    if target in ("", "inherit"):
        target = last.get("StandardOutput", "")
    kind, _, path = target.partition(":")
    is_file = kind in ("append", "file", "truncate")
    return f"tail {path}" if is_file else f"journalctl -u {view.name}"


def _speaks_of_exporter(text: str, programs: Programs, known: dict[str, bool], depth: int) -> bool:
    """Whether a text has the word in it, or names a program or a file that leads to an exporter."""
    return WORD.search(text) is not None or any(
        _leads_to_exporter(path, programs, known, depth)
        for path in set(_PATH.findall(text) if depth else ())
    )


def _leads_to_exporter(path: str, programs: Programs, known: dict[str, bool], depth: int) -> bool:
    if path not in known:
        known[path] = False  # while looking: scripts may call each other
        known[path] = programs.may_be_exporter(path) or _speaks_of_exporter(
            programs.text(path), programs, known, depth - 1
        )
    return known[path]


def _seen(host: Host, view: UnitView, processes: Processes) -> SeenUnit:
    # Paths and texts of the files that say how it runs, ours left out.
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
    """Return what a unit's processes get, as far as its files tell: systemd.exec(5)."""
    environment = dict(view.environment)
    for path in _environment_files(host, view):
        environment |= environment_file(host.text(path))
    return environment


def _environment_files(host: Host, view: UnitView) -> Iterator[str]:
    for pattern in view.environment_files:
        for path in sorted(glob.glob(str(host.path(pattern)))):
            yield "/" + path.removeprefix(str(host.root)).lstrip("/")
