"""Files that are either as before or complete, whenever the power fails."""

from __future__ import annotations

import os
from pathlib import Path


def write_file(path: Path, text: str) -> None:
    """Write a file and its directory, and return once both would survive a power failure."""
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    # A fixed name: what an interrupted run has left is overwritten by the next.
    temporary = path.with_name(f".{path.name}.new")
    write_synced(temporary, text)
    temporary.replace(path)
    sync_directory(path.parent)


def write_synced(path: Path, text: str) -> None:
    """Write a file in its place; its contents are on the disk before its name may change."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
    with open(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o644)
        file.write(text.encode("utf-8", "surrogateescape"))
        file.flush()
        os.fsync(descriptor)


def sync_directory(path: Path) -> None:
    """Have the names in a directory survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
