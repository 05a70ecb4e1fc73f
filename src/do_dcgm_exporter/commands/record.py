"""``--record``: write what an engine answered into a file that the simulator plays."""

from __future__ import annotations

import gzip
import json
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from do_dcgm_exporter.commands.identifiers import Identifiers
from do_dcgm_exporter.dcgm.recording import Recording
from do_dcgm_exporter.errors import ConfigurationError, ExporterError


@contextmanager
def recording_to(path: Path, replace_identifiers: bool) -> Iterator[Recording]:
    """Yield a recording, and write it to ``path`` afterwards, whatever went wrong meanwhile.

    If no engine answered there is nothing to write, and no file. Raises ConfigurationError if the
    file exists or cannot be made, ExporterError if it cannot be written.
    """
    _make(path)
    recording = Recording()
    try:
        yield recording
    finally:
        _write(path, recording, replace_identifiers)


def _make(path: Path) -> None:
    """Make an empty file, before a person waits for seconds in vain."""
    try:
        path.open("xb").close()
    except FileExistsError:
        raise ConfigurationError(f"--record: {path} exists and is not overwritten") from None
    except OSError as error:
        raise ConfigurationError(f"--record: {path}: {error.strerror}") from error


def _write(path: Path, recording: Recording, replace_identifiers: bool) -> None:
    content = recording.content(int(time.time() * 1e6))
    if not content:
        path.unlink(missing_ok=True)
        return
    if replace_identifiers:
        content = Identifiers(socket.gethostname()).replaced(content)
    data = json.dumps(content, separators=(",", ":")).encode()
    try:
        path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    except OSError as error:
        path.unlink(missing_ok=True)
        raise ExporterError(f"--record: {path}: {error.strerror}") from error
    print(f"do-dcgm-exporter: the engine's answers are in {path}", file=sys.stderr)
