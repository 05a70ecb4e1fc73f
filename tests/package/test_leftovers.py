"""A test run that is killed leaves nothing that the next one does not remove."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.package.layers import clean_system
from tests.package.leftovers import remove_leftovers
from tests.package.machine import cgroup_roots
from tests.package.packages import CLONE

BOOT_AND_DIE = """
import os, signal
from pathlib import Path
from tests.package.machine import booted
with booted([Path({layer!r})]):
    os.kill(os.getpid(), signal.SIGKILL)
"""


def traces(pid: int) -> list[Path]:
    """Return what stands on this machine under the name of a process."""
    places = (Path("/run/netns"), Path(tempfile.gettempdir()), *cgroup_roots())
    return [path for place in places for path in place.glob(f"*-{pid}-*")]


def test_what_a_killed_run_leaves_is_removed_by_the_next(tools: None) -> None:
    (layer,) = clean_system("bookworm")
    with subprocess.Popen(
        [sys.executable, "-c", BOOT_AND_DIE.format(layer=str(layer))], cwd=CLONE
    ) as killed:
        assert killed.wait() == -signal.SIGKILL
    assert len(traces(killed.pid)) >= 3

    remove_leftovers()
    assert traces(killed.pid) == []
    mounts = Path("/proc/mounts").read_text()
    assert f"-{killed.pid}-" not in mounts
