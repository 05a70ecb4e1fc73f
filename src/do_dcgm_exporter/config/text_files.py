"""Read the small text files of the configuration."""

from __future__ import annotations

import os
import pwd
import shlex
from pathlib import Path

from do_dcgm_exporter.errors import ConfigurationError

# Naming a disk image by mistake must give a sentence, not exhaust the memory.
_LARGEST_FILE = 1 << 20
_OTHERS_READ = 0o4
_OTHERS_ENTER = 0o1


class FileClosed(ConfigurationError):
    """Raised when a file that holds no secret is not readable for this user.

    ``remedy`` is the command that makes it readable.
    """

    def __init__(self, what: str, path: Path, remedy: str) -> None:
        super().__init__(
            f"cannot read the {what} {path}: the user {_user()} may not; to allow it, run {remedy}"
        )
        self.what = what
        self.path = path
        self.remedy = remedy


def read_file(path: Path, what: str, *, is_public: bool = False) -> bytes:
    """Return the content of ``path``; raises ConfigurationError, which calls it ``what``.

    If the file may be read by anybody, ``is_public``, but this user cannot, that is FileClosed.
    """
    try:
        if path.is_fifo():
            # Opening it would wait for a writer, perhaps for ever.
            raise ConfigurationError(f"the {what} {path} is a named pipe, not a file")
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        remedy = _remedy(path) if is_public and isinstance(error, PermissionError) else ""
        if remedy:
            raise FileClosed(what, path, remedy) from error
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot read the {what} {path}: {reason}") from error
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError(f"the {what} {path} is larger than 1 MiB")
    return content


def may_be_there(path: Path) -> bool:
    """Return whether there is a file; True also if its directory is closed to us."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return False
    except OSError:
        return True
    return True


def _remedy(path: Path) -> str:
    """Return the command that makes a file readable for others, empty if modes are not why."""
    target = Path(os.path.realpath(path))
    for place in (*reversed(target.parents), target):
        needed, mode = (_OTHERS_READ, 644) if place == target else (_OTHERS_ENTER, 755)
        try:
            status = os.stat(place)
        except OSError:
            return ""  # it has just gone
        if not status.st_mode & needed:
            return f"chmod {mode} {shlex.quote(str(place))}"
    return ""


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        # A minimal system cannot resolve a DynamicUser=, but systemd.exec(5) sets $USER.
        return os.environ.get("USER") or str(os.geteuid())
