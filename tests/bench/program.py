"""The programs to compare: this checkout and, if requested, another revision."""

from __future__ import annotations

import compileall
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.bench.cases import REPOSITORY

_OWN = ("DO_DCGM_EXPORTER_", "DCGM_SIMULATOR_", "NOTIFY_", "WATCHDOG_", "JOURNAL_", "PYTHON")


@dataclass(frozen=True)
class Program:
    """An exporter's source directory, with this checkout's simulator."""

    name: str
    source: Path

    def start(self, module: str, *arguments: str, **options: object) -> subprocess.Popen[str]:
        """Run a module that imports this program's exporter."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith(_OWN)}
        # Takes precedence over the installed one, which is this checkout.
        first = f"import sys, runpy; sys.path[:1] = [{str(self.source)!r}, {str(REPOSITORY)!r}]"
        run = f"runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
        return subprocess.Popen(
            [sys.executable, "-c", f"{first}; {run}", *arguments],
            env=environment,
            text=True,
            **options,
        )


THIS = Program("this", REPOSITORY / "src")


@contextmanager
def programs(base: str | None) -> Iterator[Sequence[Program]]:
    """This program and, if ``base`` is a revision, the one of that revision."""
    if not base:
        yield (THIS,)
        return
    with tempfile.TemporaryDirectory() as directory:
        worktree, source = Path(directory) / "worktree", Path(directory) / "source"
        _git("worktree", "add", "--quiet", "--detach", str(worktree), base)
        try:
            # One simulator for both, or its changes would look like the exporter's.
            source.mkdir()
            (source / "do_dcgm_exporter").symlink_to(worktree / "src" / "do_dcgm_exporter")
            (source / "dcgm_simulator").symlink_to(THIS.source / "dcgm_simulator")
            compileall.compile_dir(worktree / "src", quiet=2)
            yield Program("base", source), THIS
        finally:
            _git("worktree", "remove", "--force", str(worktree))


def revision(name: str) -> str:
    """Git's short name for a revision."""
    return _git("describe", "--always", "--exclude=*", name)


def checkout() -> str:
    """The revision of this checkout, with ``-dirty`` if there are changes."""
    return _git("describe", "--always", "--exclude=*", "--dirty")


def _git(*arguments: str) -> str:
    command = ["git", "-C", str(REPOSITORY), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
