"""Any bytes as the lines of a configuration file: keys with values, or one sentence."""

from __future__ import annotations

import io
import tempfile
from pathlib import Path

from do_dcgm_exporter.config.config_file import ConfigFile
from do_dcgm_exporter.errors import ConfigurationError

_PATH = Path(tempfile.mkdtemp(prefix="fuzz-config-")) / "exporter.conf"


def fuzz(data: bytes) -> None:
    """Raise unless every key has a text or texts and a line, or a sentence says file and line."""
    _PATH.write_bytes(data)
    file = ConfigFile()
    try:
        settings = file.parse(io.StringIO(file.read(_PATH)))
    except ConfigurationError as error:
        assert str(error).startswith(f"{_PATH}:"), str(error)
        return
    for key, value in settings.items():
        texts = value if isinstance(value, list) else [value]
        assert all(isinstance(text, str) for text in texts), settings
        assert file.place(key).startswith(f"{_PATH}:"), key
