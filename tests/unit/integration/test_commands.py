"""Other programs: what they say, and that none of them outlives its time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from do_dcgm_exporter.integration.looking import commands
from do_dcgm_exporter.integration.looking.commands import CommandFailed, CommandTimedOut, run

STARTS_A_CHILD = "sleep 1000 & echo $! >{file}.new; mv {file}.new {file}; wait"


def becomes(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    return condition()


def is_gone(pid: str) -> bool:
    """Whether a process has ended; nobody may have waited for it yet."""
    try:
        return Path("/proc", pid, "stat").read_text().rpartition(") ")[2][0] in "ZX"
    except OSError:
        return True


def test_what_it_prints_is_returned() -> None:
    assert "a\n" == run("sh", "-c", "echo a; echo b >&2", timeout=60)


def test_why_it_fails_is_its_last_line() -> None:
    with pytest.raises(CommandFailed, match=r"sh -c .*: the reason"):
        run("sh", "-c", "echo x; echo first >&2; echo the reason >&2; exit 3", timeout=60)


REFUSED = "Failed to connect to system scope bus via local transport: Connection refused"
# What systemctl and busctl of systemd 252, 257 and 262 said while systemd restarted itself.
AWAY = [
    REFUSED,
    "Failed to connect to system scope bus via local transport: Broken pipe",
    "Reload daemon failed: Transport endpoint is not connected",
    "Failed to list units: Connection reset by peer",
    "Call failed: Message recipient disconnected from message bus without replying",
    "Warning! D-Bus connection terminated.\nFailed to wait for response: Connection reset by peer",
    "Failed to stop a.service: Transport endpoint is not connected\nSee system logs for details.",
]


@pytest.mark.parametrize("said", AWAY)
def test_one_whose_server_is_just_starting_is_run_again(tmp_path: Path, said: str) -> None:
    script = f'[ -e "$1" ] && exec echo up; touch "$1"; echo "{said}" >&2; exit 1'
    assert "up\n" == run("sh", "-c", script, "sh", str(tmp_path / "is-up"), timeout=60)


def test_one_whose_server_stays_away_fails_within_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(commands, "_RETRY_SECONDS", 20.0)
    monkeypatch.setattr(commands, "time", SimpleNamespace(sleep=pauses.append))
    with pytest.raises(CommandFailed, match="Connection refused"):
        run("sh", "-c", f'echo "{REFUSED}" >&2; exit 1', timeout=60)
    assert [20.0, 20.0] == pauses


def test_a_program_that_is_not_there_fails() -> None:
    with pytest.raises(CommandFailed, match="No such file"):
        run("/nothing/here", timeout=60)


def test_one_that_hangs_is_ended() -> None:
    with pytest.raises(CommandTimedOut, match=r"no answer within 0\.1 s"):
        run("sleep", "1000", timeout=0.1)


def test_what_a_hung_one_has_started_is_ended_with_it(tmp_path: Path) -> None:
    file = tmp_path / "child"
    script = STARTS_A_CHILD.format(file=file)

    def look() -> None:
        with pytest.raises(CommandFailed):
            run("sh", "-c", script, timeout=600)

    thread = threading.Thread(target=look)
    thread.start()
    assert becomes(file.exists)
    commands.end_all()
    thread.join()
    child = file.read_text().strip()
    assert becomes(lambda: is_gone(child))
