"""The parts of a bundle, each made by one look at the machine and none of them longer than ours.

Whatever cannot be looked at is a part that says why.
"""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from do_dcgm_exporter import __version__
from do_dcgm_exporter.config.options import ETC
from do_dcgm_exporter.integration.deciding.problems import Situation, notes, problems
from do_dcgm_exporter.integration.host import CONFIGURATION, ENGINE_SERVICE, OWN_SERVICE, Host
from do_dcgm_exporter.integration.looking import commands, web
from do_dcgm_exporter.integration.looking.commands import CommandFailed
from do_dcgm_exporter.integration.reporting.check_report import as_text
from do_dcgm_exporter.support import redaction

# Title and text.
Part = tuple[str, str]

_SECONDS = 10.0
_LINES_OF_A_UNIT = 300
_LINES_OF_THE_KERNEL = 100
_MOST_EXPORTERS = 10
_OURS = tuple(
    f"do-{name}"
    for name in (
        "nv-hostengine.service", "dcgm-exporter-integrate.service",
        "dcgm-exporter-embedded.service", "dcgm-exporter-clients.service",
    )
)  # fmt: skip
_STATE = (
    "Id,LoadState,UnitFileState,ActiveState,SubState,Result,ExecMainStatus,ExecMainStartTimestamp,"
    "NRestarts,MainPID,MemoryCurrent,DropInPaths"
)
_PACKAGES = re.compile(
    r"do-dcgm-exporter|dcgm-simulator|datacenter-gpu-manager|libdcgm|nv-hostengine|systemd\t"
    r"|(?:lib)?nvidia-|cuda-drivers|python3\t"
    r"|python3-(?:bcrypt|configargparse|prometheus-client|requests|urllib3|yaml)\t"
)
_FROM_THE_DRIVER = re.compile(r"NVRM|nvidia", re.IGNORECASE)
# In the configuration file, or in the command of a unit: --web-config-file=/etc/…
_NAMED_FILES = re.compile(
    r"\b(?P<key>web-config-file|collectors|default-counters)[\s=:\[]+(?P<paths>/[^\n\]]*)"
)


def parts(now: Situation, host: Host) -> Iterator[Part]:
    """Yield all parts."""
    yield "check", redaction.without_secrets(as_text(now, tuple(problems(now)), tuple(notes(now))))
    yield "versions", redaction.without_secrets(_versions(now, host))
    exporters = [one.name for one in now.exporters.units][:_MOST_EXPORTERS]
    files = {unit: _unit_files(unit) for unit in (OWN_SERVICE, ENGINE_SERVICE, *exporters)}
    units = (*files, *_OURS)
    yield "units", _run("systemctl", "show", f"--property={_STATE}", "--", *units)
    for unit, text in files.items():
        yield f"unit files of {unit}", text
    for unit in units:
        yield f"journal of {unit} since the last boot", _journal(unit)
    yield "journal of the driver since the last boot", _journal_of_the_driver()
    yield from _configuration(host, files[OWN_SERVICE])
    for path in ("/health", "/metrics"):
        yield path, redaction.without_secrets(_served(now, path))


def _run(*command: str, show: Callable[[str], str] = redaction.without_secrets) -> str:
    """Return what a program prints, or why it does not."""
    try:
        return show(commands.run(*command, timeout=_SECONDS)).strip("\n")
    except CommandFailed as error:
        return redaction.without_secrets(f"({error})")


def _versions(now: Situation, host: Host) -> str:
    release = re.search(r'(?m)^PRETTY_NAME="?([^"\n]*)', host.text("/etc/os-release"))
    kernel = platform.uname()
    form = "${Package}\t${Version}\t${db:Status-Abbrev}\n"
    packages = _run("dpkg-query", "--show", "-f", form).splitlines()
    return "\n".join(
        (
            f"do-dcgm-exporter {__version__}",
            release[1] if release else "(an unknown release)",
            f"Linux {kernel.release} {kernel.machine}, Python {platform.python_version()}",
            f"NVIDIA driver {now.found.driver or '(not loaded)'}",
            "",
            *(one for one in packages if _PACKAGES.match(one) or one.startswith("(")),
            "",
            "changed since the package was installed:",
            _run("dpkg", "--verify", "do-dcgm-exporter") or "nothing",
        )
    )


def _unit_files(unit: str) -> str:
    return _run("systemctl", "cat", "--", unit, show=redaction.unit_files)


def _journal(unit: str) -> str:
    limits = ("--boot", "--no-pager", "--output=short-iso", f"--lines={_LINES_OF_A_UNIT}")
    return _run("journalctl", *limits, f"--unit={unit}")


def _journal_of_the_driver() -> str:
    limits = ("--boot", "--no-pager", "--output=short-iso", "--lines=20000")
    said = _run("journalctl", "--dmesg", *limits).splitlines()
    lines = [line for line in said if _FROM_THE_DRIVER.search(line) or line.startswith("(")]
    return "\n".join(lines[-_LINES_OF_THE_KERNEL:])


# The configuration


def _configuration(host: Host, unit_files: str) -> Iterator[Part]:
    text = host.text(CONFIGURATION)
    yield f"files in {ETC}", "\n".join(_listed(host.path(ETC)))
    yield str(CONFIGURATION), redaction.configuration(text)
    for path, show in _files_to_show(host, f"{text}\n{unit_files}").items():
        yield path, show(host.text(path))
    yield "check-config", _run("/usr/bin/do-dcgm-exporter", "--check-config")


def _files_to_show(host: Host, text: str) -> dict[str, Callable[[str], str]]:
    """Return the files that are named in ``text`` or lie in our folder, and how they are shown."""
    own = sorted(host.path(ETC).glob("*.csv"))
    found: dict[str, Callable[[str], str]] = {
        str(ETC / one.name): redaction.counters for one in own
    }
    for match in _NAMED_FILES.finditer(text):
        is_web = match["key"] == "web-config-file"
        for path in re.findall(r"/[^\s,\"']+", match["paths"]):
            found[path] = redaction.web_configuration if is_web else redaction.counters
    return found


def _listed(folder: Path) -> Iterator[str]:
    """Yield mode, owner, size and name of each file of a folder."""
    try:
        for path in sorted(folder.iterdir()):
            of = path.lstat()
            yield f"{of.st_mode:07o} {of.st_uid}:{of.st_gid} {of.st_size:>9} {path.name}"
    except OSError as error:
        yield f"({folder}: {os.strerror(error.errno or 0)})"


def _served(now: Situation, path: str) -> str:
    """Return what our exporter answers, also where it speaks TLS."""
    address = now.found.settings.address
    answer = web.ask_exporter(address, path)
    if answer.status in (0, 400):
        secure = web.ask_exporter(address, path, tls=True)
        answer = secure if secure.status else answer
    return f"{answer.status or 'no answer'}\n{answer.text}".rstrip("\n")
