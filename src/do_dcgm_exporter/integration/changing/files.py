"""Files that are either as before or complete, whenever the power fails."""

from __future__ import annotations

import os
from pathlib import Path


def write_file(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file with its directory, through a temporary one beside it."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # A fixed name: what an interrupted run has left is overwritten by the next.
    temporary = _unfinished(path)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, mode)
        file.write(text.encode("utf-8", "surrogateescape"))
        file.flush()
        os.fsync(descriptor)
    temporary.replace(path)
    _sync_directory(path.parent)


def remove_file(path: Path) -> None:
    """Remove a file if it is there, and what an interrupted run has left of it."""
    if path.parent.is_dir():
        path.unlink(missing_ok=True)
        _unfinished(path).unlink(missing_ok=True)
        _sync_directory(path.parent)


def remove_unfinished(path: Path) -> None:
    """Remove what an interrupted run has left beside a file."""
    _unfinished(path).unlink(missing_ok=True)


def _unfinished(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
