"""Run other programs, always with a time limit; no other module starts any."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress

from do_dcgm_exporter.errors import ExporterError

# The machine may be busy on all cores; "check" ends all that take longer than it has.
ANSWER_SECONDS = 15.0
# What systemctl and busctl say while the manager restarts itself, as at each upgrade of systemd
# (tried on systemd 252, 257 and 262). All that they are asked for may be asked twice.
_AWAY = re.compile(r"Connection re(fused|set by peer)|is not connected|Broken pipe|disconnected")
_RETRY_SECONDS = 0.5


class CommandFailed(ExporterError):
    """Raised if a program fails, does not answer in time or cannot be started."""

    def __init__(self, command: Sequence[str], reason: str) -> None:
        super().__init__(f"{' '.join(command[:3])}: {reason}")
        self.reason = reason


class CommandTimedOut(CommandFailed):
    """Raised if a program does not answer in time."""


# Those running now, so that they can be ended with us.
_running: set[subprocess.Popen[str]] = set()


def run(*command: str, timeout: float = ANSWER_SECONDS) -> str:
    """Run a program without a shell and return what it printed.

    It gets a process group of its own, which is killed as a whole after ``timeout`` seconds.
    Raises CommandFailed.
    """
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_PAGER": "", "SYSTEMD_COLORS": "0"}
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=environment, start_new_session=True, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise CommandFailed(command, error.strerror or str(error)) from error
    _running.add(process)
    try:
        printed, complained = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        _kill(process)
        # Do not wait for pipes that another process still holds open.
        for pipe in filter(None, (process.stdout, process.stderr)):
            pipe.close()
        with suppress(subprocess.TimeoutExpired):  # stuck in the kernel, where nothing can kill it
            process.wait(timeout=0.5)
        raise CommandTimedOut(command, f"no answer within {timeout:g} s") from error
    finally:
        _running.discard(process)
    if process.returncode:
        reason = (complained or printed).strip() or f"exit status {process.returncode}"
        if _AWAY.search(reason) and timeout > _RETRY_SECONDS:
            time.sleep(_RETRY_SECONDS)
            return run(*command, timeout=timeout - _RETRY_SECONDS)
        raise CommandFailed(command, reason.splitlines()[-1])
    return printed


def end_all() -> None:
    """Kill every program that still runs, with its children."""
    for process in tuple(_running):
        _kill(process)


def _kill(process: subprocess.Popen[str]) -> None:
    with suppress(ProcessLookupError, PermissionError):  # already gone
        os.killpg(process.pid, signal.SIGKILL)
