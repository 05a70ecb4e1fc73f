"""Unit files on the disk: which of them may run an exporter, what starts them.

This is a sieve, not a judgement: it is cheap, needs no manager and keeps too many. What it
keeps, the manager is asked about.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from do_dcgm_exporter.integration.host import OWN_SERVICE, Host, read_bytes
from do_dcgm_exporter.integration.looking.programs import Programs

# systemd.unit(5), "System Unit Search Path"; /lib is where older packages put theirs.
SEARCH_PATH = tuple(
    Path(directory)
    for directory in (
        "/etc/systemd/system.control",
        "/run/systemd/system.control",
        "/run/systemd/transient",
        "/run/systemd/generator.early",
        "/etc/systemd/system",
        "/run/systemd/system",
        "/run/systemd/generator",
        "/usr/local/lib/systemd/system",
        "/usr/lib/systemd/system",
        "/lib/systemd/system",
        "/run/systemd/generator.late",
    )
)

_LARGEST_UNIT = 1 << 17
_DEEPEST = 3
# The names that systemd takes, unit_name_is_valid() in its sources. Other files in these
# directories are none of its units, and asking it about them is an error.
_NAME = re.compile(r"[A-Za-z0-9:_.\\-][A-Za-z0-9:_.\\@-]{0,246}\.service")
_WORD = re.compile(r"dcgm[-_]exporter")
# What a command line or a script may name: programs, and files of variables.
_PATH = re.compile(r"(?<![\w./])/[\w./+@:-]+")
_SETTINGS = re.compile(
    r"^[ \t]*(?:ExecStart|Environment|EnvironmentFile)[ \t]*=((?:[^\\\n]|\\[\s\S])*)",
    re.MULTILINE,
)


def candidates(host: Host, programs: Programs) -> tuple[str, ...]:
    """Return the names of the service units that may run an exporter, templates included."""
    known: dict[str, bool] = {}
    found = {
        name
        for name, text in _unit_texts(host)
        if name != OWN_SERVICE and _NAME.fullmatch(name) and _may_run(text, programs, known)
    }
    return tuple(sorted(found))


def _unit_texts(host: Host) -> Iterator[tuple[str, str]]:
    """Yield unit names and the texts of their files and drop-ins."""
    for base in _directories(host):
        for entry in _entries(base):
            if entry.endswith(".service"):
                yield entry, _text(f"{base}/{entry}")
            elif entry.endswith(".service.d"):
                for drop_in in _entries(f"{base}/{entry}"):
                    if drop_in.endswith(".conf"):
                        yield entry.removesuffix(".d"), _text(f"{base}/{entry}/{drop_in}")


def _text(path: str) -> str:
    return read_bytes(path, _LARGEST_UNIT).decode("utf-8", "replace")


def _may_run(text: str, programs: Programs, known: dict[str, bool]) -> bool:
    return any(
        _WORD.search(value) is not None
        or any(_leads_to_exporter(path, programs, known, _DEEPEST) for path in _PATH.findall(value))
        for value in _SETTINGS.findall(text)
    )


def _leads_to_exporter(path: str, programs: Programs, known: dict[str, bool], depth: int) -> bool:
    """Whether a file is the exporter, or a script or file of variables that speaks of it."""
    if path not in known:
        known[path] = False  # while looking: scripts may call each other
        text = programs.text(path)
        known[path] = (
            _WORD.search(text) is not None
            or programs.may_be_exporter(path)
            or any(
                _leads_to_exporter(called, programs, known, depth - 1)
                for called in set(_PATH.findall(text) if depth else ())
            )
        )
    return known[path]


def instance_names(host: Host, template: str) -> Iterator[str]:
    """Yield the instances of ``NAME@.service`` that a link or a directory of drop-ins names."""
    prefix = template.partition("@")[0] + "@"
    for base in _directories(host):
        for entry in _entries(base):
            if entry.endswith((".wants", ".requires", ".upholds")):
                names = _entries(f"{base}/{entry}")
            else:
                names = [entry.removesuffix(".d")]
            for name in names:
                if name.startswith(prefix) and name != template and _NAME.fullmatch(name):
                    yield name


def _directories(host: Host) -> list[str]:
    """Return the search path without a directory that is another one by a link."""
    found = (os.path.realpath(host.path(directory)) for directory in SEARCH_PATH)
    return list(dict.fromkeys(found))


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []
