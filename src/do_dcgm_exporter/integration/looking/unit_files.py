"""Unit files on the disk: which of them may run an exporter, what starts them.

This is a sieve, not a judgement: it is cheap, needs no manager and keeps too many.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from do_dcgm_exporter.integration.host import EXPORTER_WORD, OWN_SERVICE, Host, read_bytes

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
_LARGEST_SCRIPT = 1 << 18
_DEEPEST = 3
# The kernel's files are no scripts, and some of them do things when they are read.
_NO_SCRIPTS = ("/dev/", "/proc/", "/sys/")
_WORD = re.compile(EXPORTER_WORD.encode())
# What a command line or a script may name: programs, and files of variables.
_PATH = re.compile(rb"(?<![\w./])/[\w./+@:-]+")
_SETTINGS = re.compile(
    rb"^[ \t]*(?:Exec(?:Start|StartPre|Reload)?|EnvironmentFile)[ \t]*=((?:[^\\\n]|\\[\s\S])*)",
    re.MULTILINE,
)


def candidates(host: Host) -> tuple[str, ...]:
    """Return the names of the service units that may run an exporter, templates included."""
    mentioned: dict[bytes, bool] = {}
    texts: dict[str, list[bytes]] = {}
    for name, text in _unit_texts(host):
        texts.setdefault(name, []).append(text)
    return tuple(
        sorted(
            name
            for name, found in texts.items()
            if name != OWN_SERVICE
            and any(_may_run_exporter(host, text, mentioned) for text in found)
        )
    )


def _unit_texts(host: Host) -> Iterator[tuple[str, bytes]]:
    """Yield unit names and the texts of their files and drop-ins."""
    for base in _directories(host):
        for entry in _entries(base):
            if entry.endswith(".service"):
                yield entry, read_bytes(f"{base}/{entry}", _LARGEST_UNIT)
            elif entry.endswith(".service.d"):
                for drop_in in _entries(f"{base}/{entry}"):
                    if drop_in.endswith(".conf"):
                        text = read_bytes(f"{base}/{entry}/{drop_in}", _LARGEST_UNIT)
                        yield entry.removesuffix(".d"), text


def _may_run_exporter(host: Host, text: bytes, mentioned: dict[bytes, bool]) -> bool:
    return any(
        _WORD.search(value) is not None
        or any(_mentions(host, path, mentioned, _DEEPEST) for path in _PATH.findall(value))
        for value in _SETTINGS.findall(text)
    )


def _mentions(host: Host, path: bytes, mentioned: dict[bytes, bool], depth: int) -> bool:
    """Whether a script or file of variables speaks of the exporter, or calls one that does."""
    if path not in mentioned:
        mentioned[path] = False  # while looking: scripts may call each other
        text = script(host, path.decode("utf-8", "surrogateescape"))
        mentioned[path] = _WORD.search(text) is not None or (
            depth > 0
            and any(
                _mentions(host, called, mentioned, depth - 1) for called in set(_PATH.findall(text))
            )
        )
    return mentioned[path]


def script(host: Host, path: str) -> bytes:
    """Return the text of a script or file of variables, nothing of a program."""
    if path.startswith(_NO_SCRIPTS):
        return b""
    place = str(host.path(path))
    if b"\0" in read_bytes(place, 1024):
        return b""
    return read_bytes(place, _LARGEST_SCRIPT)


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
                if name.startswith(prefix) and name != template and name.endswith(".service"):
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
