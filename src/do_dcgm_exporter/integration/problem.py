"""A problem, and the commands that several of them have for a remedy."""

from __future__ import annotations

from dataclasses import dataclass

CHOOSE_AGAIN = "dpkg-reconfigure do-dcgm-exporter"


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that is wrong; ``id`` is for programs, ``remedy`` are commands."""

    id: str
    what: str
    remedy: tuple[str, ...]


def stop_command(unit: str, pid: int) -> str:
    """Return the command that stops a process, by its unit if it has one."""
    if unit:
        return f"systemctl disable --now {unit}"
    return f"kill {pid}" if pid else "ss --listening --tcp --processes"
