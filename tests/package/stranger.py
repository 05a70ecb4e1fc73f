"""A program that is not an exporter but may look like one: its files and what starts it.

Each notes its starts in RAN, so that a test sees whether one was restarted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.package.exporter_kinds import ETC, PROGRAM, unit

RAN = "/srv/ran"
DAEMON = "/usr/lib/strangers/daemon"
CHILDREN = "/etc/strangers"
EXPORTERS_UNIT = "nvidia-dcgm-exporter.service"
# Whatever its name, it notes its start, starts the exporters that a file lists, and stays.
# Neither it nor its command line mentions them.
DAEMON_TEXT = f"""\
#!/usr/bin/python3 -I
import pathlib, signal, subprocess, sys
name = pathlib.Path(sys.argv[0]).name
with open(pathlib.Path("{RAN}", name), "a") as ran:
    ran.write("started\\n")
children = pathlib.Path("{CHILDREN}", name)
for line in children.read_text().splitlines() if children.exists() else ():
    subprocess.Popen(line.split())
signal.pause()
"""

# Runs an exporter in a cgroup below its own, as container managers and guests do.
IN_CGROUP_TEXT = """\
#!/bin/sh
set -eu
cgroup=/sys/fs/cgroup$1
mkdir -p "$cgroup"
echo $$ >"$cgroup/cgroup.procs"
shift
exec "$@"
"""
IN_CGROUP = "/usr/lib/strangers/in-cgroup"


def noting(name: str, *lines: str) -> str:
    """Return a script that notes that it runs."""
    return "\n".join(["#!/bin/sh", f"echo started >>{RAN}/{name}", *lines, ""])


@dataclass(frozen=True)
class Stranger:
    """One of them: its files and what starts it.

    ``port`` is where an exporter inside it serves, one that embeds DCGM. ``unit`` is its name in
    systemd, if it has one, and ``container`` that of its container.
    """

    name: str
    unit: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    start: tuple[str, ...] | None = None  # by default its unit is enabled and started
    port: int = 0
    container: str = ""

    @property
    def commands(self) -> tuple[str, ...]:
        """The commands that start it."""
        if self.start is not None:
            return self.start
        return (f"systemctl enable --quiet {self.unit}", f"systemctl start {self.unit}")


def service(
    name: str,
    stem: str,
    command: str,
    *more: str,
    files: Mapping[str, str] = {},
    start: tuple[str, ...] | None = None,
    port: int = 0,
    container: str = "",
) -> Stranger:
    """Return a stranger that is a unit with a command."""
    its_unit = f"{stem}.service"
    its_files = {f"{ETC}/{its_unit}": unit(command, *more), **files}
    return Stranger(name, its_unit, its_files, start, port, container)


def script(
    name: str,
    stem: str,
    *lines: str,
    more: tuple[str, ...] = (),
    start: tuple[str, ...] | None = None,
    port: int = 0,
) -> Stranger:
    """Return a stranger that is a unit with a script."""
    path = f"/usr/local/sbin/{stem}"
    files = {path: noting(stem, *lines)}
    return service(name, stem, path, *more, files=files, start=start, port=port)


def daemon(name: str, stem: str, program: str, *more: str, port: int = 0) -> Stranger:
    """Return a stranger that is a daemon, with an exporter among its processes if it has a port."""
    file = program.split(maxsplit=1)[0]
    files = {file: DAEMON_TEXT}
    if port:
        files[f"{CHILDREN}/{file.rpartition('/')[2]}"] = f"{PROGRAM} -a :{port}\n"
    return service(name, stem, program, *more, files=files, port=port)


ONESHOT = ("Type=oneshot", "RemainAfterExit=yes")
UNUSED: tuple[str, ...] = ()
