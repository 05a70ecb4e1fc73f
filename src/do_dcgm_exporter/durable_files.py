"""Write files so that each is as before or complete, whenever the power fails."""

from __future__ import annotations

import os
from pathlib import Path


def write(path: Path, content: bytes, like: os.stat_result | None = None) -> None:
    """Write a file and return once its content would survive a power failure.

    Everybody may read it, unless it is to have mode and owner of another: ``like``.
    """
    with open(path, "wb") as file:
        os.fchmod(file.fileno(), like.st_mode & 0o7777 if like else 0o644)
        if like:
            os.fchown(file.fileno(), like.st_uid, like.st_gid)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def replace(path: Path, content: bytes, like: os.stat_result | None = None) -> None:
    """Write a file under another name and rename it, so that it is never seen half written."""
    # A fixed name: what an interrupted run has left is overwritten by the next.
    temporary = path.with_name(f"{path.name}.new")
    try:
        write(temporary, content, like)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
