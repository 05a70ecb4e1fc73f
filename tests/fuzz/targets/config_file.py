"""Any bytes as the configuration file: settings, or one sentence."""

from __future__ import annotations

import tempfile
from pathlib import Path

from do_dcgm_exporter.config.load import load_settings
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.errors import ConfigurationError

_DIRECTORY = Path(tempfile.mkdtemp(prefix="fuzz-config-"))


def fuzz(data: bytes) -> None:
    """Raise unless ``data`` is taken, or refused in a sentence that names the file."""
    path = _DIRECTORY / "exporter.conf"
    path.write_bytes(data)
    try:
        settings = load_settings(["--config-file", str(path)], {}, _DIRECTORY, _DIRECTORY)
    except ConfigurationError as error:
        sentence = str(error)
        assert sentence, "refused without a word"
        assert "\n" not in sentence, repr(sentence)
    else:
        assert isinstance(settings, Settings)
        assert settings.stale_after >= settings.collect_interval > 0
