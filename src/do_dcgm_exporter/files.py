"""Read the small text files of the configuration."""

from __future__ import annotations

from pathlib import Path

from do_dcgm_exporter.errors import ConfigurationError

# Whoever names a disk image by mistake shall get a sentence, not run out of memory.
_LARGEST_FILE = 1 << 20


def read_file(path: Path, what: str) -> bytes:
    """Return the content of ``path``; raises ConfigurationError, which calls it ``what``."""
    try:
        if path.is_fifo():
            # Opening one waits for a writer, for ever.
            raise ConfigurationError(f"the {what} {path} is a named pipe, not a file")
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise ConfigurationError(f"cannot read the {what} {path}: {reason}") from error
    if len(content) > _LARGEST_FILE:
        raise ConfigurationError(f"the {what} {path} is larger than 1 MiB")
    return content
