"""The machine that is looked at and changed, by its root directory."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path

UNIT_DIRECTORY = Path("/etc/systemd/system")
RUN_DIRECTORY = Path("/run/do-dcgm-exporter-integration")

CONFIGURATION = Path("/etc/do-dcgm-exporter/do-dcgm-exporter.conf")

OWN_SERVICE = "do-dcgm-exporter.service"
ENGINE_SERVICE = "nvidia-dcgm.service"
COMMAND = "do-dcgm-exporter-integrate"

# Sorts after all others: systemd reads drop-ins in the order of their names (systemd.unit(5)).
DROP_IN_NAME = "zz-do-dcgm-exporter.conf"


@dataclass(frozen=True, slots=True)
class Host:
    """A machine by its root directory; tests have their own."""

    root: Path = Path("/")

    def path(self, absolute: Path | str) -> Path:
        """Return an absolute path of the machine as a path in this process."""
        return self.root / str(absolute).lstrip("/")

    @property
    def proc(self) -> Path:
        """Its /proc."""
        return self.path("/proc")

    @property
    def runs_systemd(self) -> bool:
        """Whether systemd is its PID 1: sd_booted(3)."""
        return self.path("/run/systemd/system").is_dir()

    def text(self, absolute: Path | str, limit: int = 1 << 20) -> str:
        """Return the text of a file, empty if it cannot be read."""
        return read_bytes(str(self.path(absolute)), limit).decode("utf-8", "replace")


def read_bytes(path: str, limit: int) -> bytes:
    """Return the beginning of a regular file, empty if it cannot be read.

    Opening a device may have effects, and opening a pipe may block.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            return b""
        # Unbuffered, or memory for all of ``limit`` would be allocated for every small file.
        with open(path, "rb", buffering=0) as file:
            return file.read(limit) if status.st_size > limit else file.readall()[:limit]
    except (OSError, ValueError):  # a NUL in the path
        return b""
