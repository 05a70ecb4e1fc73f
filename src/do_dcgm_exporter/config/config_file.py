"""The configuration file: ConfigArgParse's ``key = value`` grammar, with line numbers.

ConfigArgParse reads each line, but forgets its number and lets the last of two equal keys win.
Here a key may occur once, and every complaint names file and line.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import configargparse

from do_dcgm_exporter.config.addresses import without_secrets
from do_dcgm_exporter.config.options import OPTIONS
from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.errors import ConfigurationError, hint, located

# The time ConfigArgParse takes for a line grows with the square of its length.
_LONGEST_LINE = 4096

_GRAMMAR = configargparse.DefaultConfigFileParser()

_BY_KEY = {option.name: option for option in OPTIONS}
_BY_OPPOSITE = {option.opposite: option for option in OPTIONS if option.opposite}
_FLAGS_ALONE = (
    "config-file", "simulate", "once", "record", "replace-identifiers", "check-config",
    "list-fields", "version", "help",
)  # fmt: skip


class Setting(NamedTuple):
    """What a key is set to, and in which line."""

    written: str | list[str]
    line: int


def config_file_values(path: Path) -> dict[str, Any]:
    """Return the value of every option that the file sets, by the option's name.

    Raises ConfigurationError.
    """
    values = {}
    for key, setting in parse_settings(read_config_file(path), path).items():
        with located(f"{path}:{setting.line}: {key}"):
            if key in _BY_KEY:
                values[key] = _BY_KEY[key].value(setting.written)
            elif key in _BY_OPPOSITE:
                option = _BY_OPPOSITE[key]
                values[option.name] = option.opposite_value(setting.written)
            else:
                raise ConfigurationError(_why_unknown(key))
    return values


def read_config_file(path: Path) -> str:
    """Return the text of the file. Raises ConfigurationError."""
    content = read_file(path, "configuration file", is_public=True)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigurationError(f"{path}:{line}: the line is not valid UTF-8") from error


def parse_settings(text: str, path: Path) -> dict[str, Setting]:
    """Return what ``text``, the content of ``path``, sets, by key. Raises ConfigurationError."""
    settings: dict[str, Setting] = {}
    for number, line in enumerate(text.split("\n"), 1):
        for key, value in _parse_line(line, f"{path}:{number}").items():
            _reject_repetition(key, settings, f"{path}:{number}")
            with located(f"{path}:{number}: {key}"):
                settings[key] = Setting(texts_of(value), number)
    return settings


def texts_of(value: object) -> str | list[str]:
    """Return a value as text or texts. Raises ConfigurationError for JSON that is neither."""
    if not isinstance(value, list):
        return str(value)
    for item in value:
        if not isinstance(item, (str, int, float)):
            raise ConfigurationError("write the list as [FILE, FILE]")
    # ConfigArgParse leaves the quotes in a list that is not JSON.
    return [str(item).strip(" '\"") for item in value]


def _parse_line(line: str, place: str) -> dict[str, object]:
    """Return the setting of one line, if it holds one."""
    if "\0" in line:
        raise ConfigurationError(f"{place}: the line holds a NUL, so it is not text")
    if len(line) > _LONGEST_LINE:
        raise ConfigurationError(f"{place}: the line is longer than {_LONGEST_LINE} characters")
    try:
        settings: dict[str, object] = _GRAMMAR.parse([line])
    except configargparse.ConfigFileParserException as error:
        text = without_secrets(line.strip())[:60]
        raise ConfigurationError(f"{place}: {text!r} is not of the form key = value") from error
    for key in settings:
        # ConfigArgParse takes a lone key for true and a comment for a value.
        value = line.strip()[len(key) :].lstrip(" \t:=")
        if not value or value.startswith(("#", ";")):
            example = _example(key.removeprefix("--"))
            raise ConfigurationError(f"{place}: {key} has no value; write {key} = {example}")
    return {key.removeprefix("--"): value for key, value in settings.items()}


def _reject_repetition(key: str, settings: Mapping[str, Setting], place: str) -> None:
    """Refuse a key that is set already; a switch and its opposite are one setting."""
    for earlier, setting in settings.items():
        if earlier.removeprefix("no-") == key.removeprefix("no-"):
            spelling = "" if earlier == key else f" as {earlier}"
            raise ConfigurationError(
                f"{place}: {key} is already set in line {setting.line}{spelling};"
                " keep one of the two lines"
            )


def _why_unknown(key: str) -> str:
    if key in _FLAGS_ALONE:
        return "this can only be given on the command line"
    return f"there is no such setting{hint(key, (*_BY_KEY, *_BY_OPPOSITE))}"


def _example(key: str) -> str:
    """Return what can be written after a key."""
    if key in _BY_OPPOSITE:
        return "yes or no"
    return _BY_KEY[key].example if key in _BY_KEY else "VALUE"
