"""Any bytes as a web configuration: rules for who may come in, or one sentence."""

from __future__ import annotations

from pathlib import Path

from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.serve.access.web_config import WebConfig, parse_web_config

_PATH = Path("/etc/do-dcgm-exporter/web-config.yml")


def fuzz(data: bytes) -> None:
    """Raise unless there is a configuration, or a sentence of one line that says the file."""
    try:
        config = parse_web_config(data, _PATH)
    except ConfigurationError as error:
        sentence = str(error)
        assert sentence.startswith(f"{_PATH}"), sentence
        assert "\n" not in sentence, sentence
        return
    assert isinstance(config, WebConfig)
