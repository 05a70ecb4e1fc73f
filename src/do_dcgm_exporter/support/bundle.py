"""``check --bundle FILE``: everything that a support person asks for, in one readable file."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.deciding.problems import Situation
from do_dcgm_exporter.integration.exporters_here import situation
from do_dcgm_exporter.integration.host import Host
from do_dcgm_exporter.support.parts import parts
from do_dcgm_exporter.support.redaction import REMOVED

_INTRODUCTION = f"""\
do-dcgm-exporter: what support needs to know of {{machine}}, {{when}}.

It names the machine, its units and its GPUs. Passwords, hashes, tokens, proxies, users and
queries of URLs, private keys, comments and unknown settings are {REMOVED}.
"""
_EXISTS = "{} exists and is not overwritten: name another file"
_NOT_ROOT = "It was not made by root, so that much is missing.\n"


class NoBundle(ExporterError):
    """Raised when the file cannot be written."""

    exit_status = 2


def write_bundle(path: Path, host: Host, patience: float) -> str:
    """Write the bundle, for its owner's eyes alone, and return what to tell. Raises NoBundle."""
    if os.path.lexists(path):  # before anybody waits for the rest
        raise NoBundle(_EXISTS.format(path))
    content = "\n".join(_text(situation(host, patience), host)).encode("utf-8", "backslashreplace")
    try:
        _write_new(path, content)
    except FileExistsError as error:
        raise NoBundle(_EXISTS.format(path)) from error
    except OSError as error:
        raise NoBundle(f"{path} cannot be written: {os.strerror(error.errno or 0)}") from error
    size = max(1, len(content) // 1000)
    return f"{path}: {size} kB for support; read it before you send it, it names this machine"


def _text(now: Situation, host: Host) -> Iterator[str]:
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime())
    yield _INTRODUCTION.format(machine=os.uname().nodename, when=when)
    if os.geteuid():
        yield _NOT_ROOT
    for title, text in parts(now, host):
        yield f"===== {title}\n\n{text or '(nothing)'}\n"


def _write_new(path: Path, content: bytes) -> None:
    """Write a file that was not there; leave nothing of one that cannot be completed."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "wb") as file:
        try:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            path.unlink()
            raise
