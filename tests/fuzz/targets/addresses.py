"""Any bytes as one of the addresses: what it means, or one sentence."""

from __future__ import annotations

from collections.abc import Callable

from do_dcgm_exporter.config.addresses import (
    is_loopback_url,
    parse_engine_address,
    parse_forward_url,
    parse_listen_address,
)
from do_dcgm_exporter.errors import ConfigurationError

_PARSERS: tuple[Callable[[str], object], ...] = (
    parse_listen_address,
    parse_engine_address,
    parse_forward_url,
)


def fuzz(data: bytes) -> None:
    """Raise unless every parser takes the text, or refuses it in a sentence."""
    text = data.decode("utf-8", "surrogateescape")
    for parse in _PARSERS:
        try:
            meant = parse(text)
        except ConfigurationError as error:
            assert str(error), "refused without a word"
            assert "\n" not in str(error), repr(str(error))
            continue
        if parse is parse_forward_url:
            is_loopback_url(text)
        elif not str(meant).startswith("unix:"):
            assert parse(str(meant)) == meant, f"{meant} is another one when read again"
