"""Remove what killed test runs leave on a machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.package.machine import NAME_PREFIX, SCRATCH_PREFIX, cgroup_roots, remove_cgroup, until


def remove_leftovers() -> None:
    """Remove the machines and mounts of processes that have ended."""
    for cgroup in _abandoned(*((root, NAME_PREFIX) for root in cgroup_roots())):
        for processes in cgroup.rglob("cgroup.procs"):
            for pid in processes.read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)
        until(lambda cgroup=cgroup: remove_cgroup(cgroup), 10.0)
    for network in _abandoned((Path("/run/netns"), NAME_PREFIX)):
        subprocess.run(["ip", "netns", "delete", network.name], check=True)
    for scratch in _abandoned((Path(tempfile.gettempdir()), SCRATCH_PREFIX)):
        for mounted in ("root", "memory"):
            subprocess.run(["umount", "--lazy", scratch / mounted], check=False)
        shutil.rmtree(scratch)


def _abandoned(*places: tuple[Path, str]) -> Iterator[Path]:
    """Find what is named after a process that has ended: PREFIX-PID-ANYTHING."""
    for directory, prefix in places:
        for path in directory.glob(f"{prefix}-*-*"):
            pid = path.name.removeprefix(f"{prefix}-").split("-")[0]
            if not Path("/proc", pid).exists():
                yield path
