"""A booted system with the package, and what an admin does there."""

from __future__ import annotations

import contextlib
import http.client
import re
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.package.machine import Machine, until

CONF = "/etc/do-dcgm-exporter/do-dcgm-exporter.conf"
EXPORTER = "do-dcgm-exporter.service"
NAME = "nvidia-dcgm.service"
OURS = "do-nv-hostengine.service"
# Seconds for what is bound to happen.
PATIENCE = 300.0

# A family of each kind: from the engine, computed from readings, the exporter's own.
FULL = (
    "DCGM_FI_DEV_GPU_TEMP{",
    "DCGM_FI_PROF_SM_ACTIVE{",
    "DCGM_EXP_XID_ERRORS_COUNT",
    "do_dcgm_exporter_hostengine_up 1",
)


class System:
    """A machine in the terms of the tests."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.run = machine.run
        self.root = machine.root.path

    # --- files -----------------------------------------------------------------------

    @property
    def configuration(self) -> str:
        """The text of the configuration file."""
        return self.read(CONF)

    def read(self, path: str) -> str:
        """Return the text of a file."""
        return (self.root / path.lstrip("/")).read_text()

    def write(self, path: str, text: str) -> None:
        """Write a file, with its directories."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def exists(self, path: str) -> bool:
        """Whether a path exists, even as a dangling link."""
        target = self.root / path.lstrip("/")
        return target.exists() or target.is_symlink()

    def put(self, *packages: Path) -> list[str]:
        """Copy package files into it, and return their paths there."""
        directory = self.root / "var" / "cache" / "put"
        directory.mkdir(parents=True, exist_ok=True)
        for package in packages:
            (directory / package.name).write_bytes(package.read_bytes())
        return [f"/var/cache/put/{package.name}" for package in packages]

    # --- packages --------------------------------------------------------------------

    def install(
        self, *packages: Path, check: bool = True, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Install package files, without asking anything."""
        files = self.put(*packages)
        result = self.run(
            "dpkg", "--install", "--force-confdef", "--force-confold", *files,
            check=check, environ=environ,
        )  # fmt: skip
        self.run("rm", "-r", "/var/cache/put")
        return result

    def preseed(self, **answers: str) -> None:
        """Answer questions beforehand; in names _ is -."""
        kinds = {"engine": "select", "forward": "select", "counter_groups": "multiselect",
                 "embedded_exporters": "select", "gpu_users": "boolean"}  # fmt: skip
        lines = "".join(
            f"do-dcgm-exporter do-dcgm-exporter/{name.replace('_', '-')}"
            f" {kinds.get(name, 'string')} {value}\n"
            for name, value in answers.items()
        )
        self.run("debconf-set-selections", said=lines)

    def reconfigure(
        self, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run dpkg-reconfigure without asking anything."""
        return self.run("dpkg-reconfigure", "do-dcgm-exporter", environ=environ)

    def choose_engine(self, engine: str) -> subprocess.CompletedProcess[str]:
        """Choose an engine like an admin: in the file, then apply it."""
        lines = [line for line in self.configuration.splitlines() if not line.startswith("engine")]
        self.write(CONF, "\n".join([*lines, f"engine = {engine}", ""]))
        return self.reconfigure()

    # --- services --------------------------------------------------------------------

    def systemctl(self, *arguments: str) -> str:
        """Run systemctl and return its output, whatever its status."""
        return self.run("systemctl", *arguments, check=False).stdout.strip()

    def is_active(self, unit: str) -> bool:
        """Whether a unit is active."""
        return self.systemctl("is-active", unit) == "active"

    def property(self, unit: str, name: str) -> str:
        """Return a property of a unit."""
        return self.systemctl("show", "--value", f"--property={name}", unit)

    def journal(self, unit: str) -> str:
        """Return what a unit has logged."""
        return self.run("journalctl", "--no-pager", "--unit", unit, check=False).stdout

    def engines(self) -> list[str]:
        """Return the units that engine processes belong to, one per process."""
        return [
            group
            for command, group in self.machine.processes()
            if re.match(r"\S*python3 -I \S*nv-hostengine", command)
        ]

    # --- metrics ---------------------------------------------------------------------

    def page(self, port: int = 9401) -> str:
        """Return the page at /metrics, empty if there is no answer."""
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port)) as connection:
            try:
                connection.sock = self.machine.network.connect(port)
                connection.request("GET", "/metrics")
                return connection.getresponse().read().decode()
            except (OSError, http.client.HTTPException):
                return ""

    def has_full_metrics(self, port: int = 9401) -> bool:
        """Whether the page eventually has a family of every kind."""
        return self.becomes(lambda: all(part in self.page(port) for part in FULL))

    def serves(self, *, port: int = 9401, hostengine_up: bool) -> bool:
        """Whether the page eventually says that the engine is up, or down."""
        line = f"do_dcgm_exporter_hostengine_up {int(hostengine_up)}\n"
        return self.becomes(lambda: line in self.page(port))

    def becomes(self, condition: Callable[[], bool]) -> bool:
        """Return whether the condition becomes true, however busy this computer is."""
        return until(condition, PATIENCE, pause=0.3)


def setting(configuration: str, key: str) -> list[str]:
    """Return all values of a key in a configuration."""
    return re.findall(rf"(?m)^{re.escape(key)} = (.*)$", configuration)
