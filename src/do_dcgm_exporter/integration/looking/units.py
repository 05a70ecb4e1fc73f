"""The units that may be exporters, as the manager and /proc show them."""

from __future__ import annotations

import glob
import hashlib
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from do_dcgm_exporter.integration.exporter_arguments import REMOTE_VARIABLE
from do_dcgm_exporter.integration.host import DROP_IN_NAME, ENGINE_SERVICE, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking import unit_files
from do_dcgm_exporter.integration.looking.commands import CommandFailed, CommandTimedOut
from do_dcgm_exporter.integration.looking.processes import DcgmProcess, Processes, only_children
from do_dcgm_exporter.integration.looking.programs import Programs
from do_dcgm_exporter.integration.looking.quoting import environment_file
from do_dcgm_exporter.integration.looking.systemd import Systemd, UnitView

# Each question is a process, most of whose time is spent on starting it.
_AT_ONCE = 4
_NEVER = frozenset({OWN_SERVICE, ENGINE_SERVICE, "do-nv-hostengine.service", "dcgm.service"})


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


@dataclass(frozen=True, slots=True)
class SeenUnits:
    """Units, and why others could not be looked at, one sentence each."""

    units: tuple[SeenUnit, ...]
    unseen: tuple[str, ...] = ()


def look_at_units(
    host: Host,
    systemd: Systemd,
    programs: Programs,
    processes: Processes,
    known: Iterable[str] = (),
) -> SeenUnits:
    """Look at units that may be exporters, by their files, processes and names ``known`` already.

    Raises CommandFailed when the manager does not answer at all.
    """
    names = tuple(dict.fromkeys([*_names(host, systemd, programs, processes), *known]))
    views: dict[str, UnitView] = {}
    unseen = []
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        for name, answer in zip(names, pool.map(partial(_view, systemd), names), strict=True):
            if isinstance(answer, CommandFailed):
                unseen.append(f"{name}: {answer.reason}")
            elif not _NEVER & {answer.name, *answer.names}:
                views.setdefault(answer.name, answer)  # an alias is no other unit
    return SeenUnits(tuple(_seen(host, view, processes) for view in views.values()), tuple(unseen))


def _view(systemd: Systemd, name: str) -> UnitView | CommandFailed:
    try:
        return systemd.view(name)
    except CommandTimedOut:
        raise
    except CommandFailed as error:
        return error


def _names(host: Host, systemd: Systemd, programs: Programs, processes: Processes) -> Iterator[str]:
    for name in unit_files.candidates(host, programs):
        if name.endswith("@.service"):
            yield from unit_files.instance_names(host, name)
            yield from systemd.instances(name)
        elif not name.startswith("snap."):
            yield name
    for process in processes.dcgm:
        if process.unit and not process.unit.startswith("snap."):
            yield process.unit


def _seen(host: Host, view: UnitView, processes: Processes) -> SeenUnit:
    source = _source(host, view)
    return SeenUnit(
        view,
        environment_of(host, view),
        hashlib.sha256(source.encode("utf-8", "surrogateescape")).hexdigest(),
        REMOTE_VARIABLE in source,
        tuple(only_children(host.proc, view.main_pid)) if view.main_pid else (),
        processes.of_unit(view.name),
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


def _source(host: Host, view: UnitView) -> str:
    """Return paths and texts of the files that say how a unit runs, ours left out."""
    drop_ins = [path for path in view.drop_ins if not path.endswith(f"/{DROP_IN_NAME}")]
    files = [path for pattern in view.environment_files for path in _matching(host, pattern)]
    return "\0".join(f"{path}\0{host.text(path)}" for path in [view.fragment, *drop_ins, *files])
