"""Any bytes as the lines of a configuration file: keys with values, or one sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path

from do_dcgm_exporter.config.config_file import parse_settings, read_config_file
from do_dcgm_exporter.errors import ConfigurationError

_PATH = Path(tempfile.mkdtemp(prefix="fuzz-config-")) / "exporter.conf"


def fuzz(data: bytes) -> None:
    """Raise unless every key has a text or texts and a line, or a sentence says file and line."""
    _PATH.write_bytes(data)
    try:
        settings = parse_settings(read_config_file(_PATH), _PATH)
    except ConfigurationError as error:
        assert str(error).startswith(f"{_PATH}:"), str(error)
        return
    lines = data.count(b"\n") + 1
    for value, line in settings.values():
        texts = value if isinstance(value, list) else [value]
        assert all(isinstance(text, str) for text in texts), settings
        assert 1 <= line <= lines, settings
