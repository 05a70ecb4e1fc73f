"""The configuration file: ConfigArgParse's ``key = value`` grammar, with line numbers.

ConfigArgParse forgets where a setting stood and lets the last of two equal keys
win. Here a key may occur once, and every complaint names file and line.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import configargparse

from do_dcgm_exporter.config.addresses import without_secrets
from do_dcgm_exporter.config.text_files import read_file
from do_dcgm_exporter.errors import ConfigurationError

# The time ConfigArgParse takes for a line grows with the square of its length.
_LONGEST_LINE = 4096


class ConfigFile(configargparse.DefaultConfigFileParser):  # type: ignore[misc]
    """The parser of one configuration file: first ``read`` it, then ``parse`` its text.

    ``example`` returns what could be written for a key.
    """

    def __init__(self, example: Callable[[str], str] = lambda _: "VALUE") -> None:
        super().__init__()
        self._example = example
        self._path = Path()
        self._lines: dict[str, int] = {}

    def __call__(self) -> ConfigFile:
        """Return itself: ConfigArgParse 1.5 calls what it is given, 1.9 takes an instance."""
        return self

    def read(self, path: Path) -> str:
        """Return the text of the file at ``path``; raises ConfigurationError."""
        self._path = path
        content = read_file(path, "configuration file", is_public=True)
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise ConfigurationError(f"{path}:{line}: the line is not valid UTF-8") from error

    def parse(self, stream: Iterable[str]) -> dict[str, str | list[str]]:
        """Return the settings in the text; raises ConfigurationError (overrides ConfigArgParse)."""
        self._lines = {}
        settings: dict[str, str | list[str]] = {}
        for number, line in enumerate(stream, 1):
            for key, value in self._parse_line(line, number).items():
                self._reject_repetition(key, number)
                self._lines[key] = number
                settings[key] = _texts(value, self.place(key))
        return settings

    def place(self, key: str) -> str:
        """Return where a key was set, for a message: ``FILE:LINE: KEY``."""
        return f"{self._path}:{self._lines[key]}: {key}"

    def _parse_line(self, line: str, number: int) -> dict[str, object]:
        """Return the setting of one line, if it holds one."""
        place = f"{self._path}:{number}"
        if "\0" in line:
            raise ConfigurationError(f"{place}: the line holds a NUL, so it is not text")
        if len(line) > _LONGEST_LINE:
            raise ConfigurationError(f"{place}: the line is longer than {_LONGEST_LINE} characters")
        try:
            settings: dict[str, object] = super().parse([line])
        except configargparse.ConfigFileParserException as error:
            text = without_secrets(line.strip())[:60]
            raise ConfigurationError(f"{place}: {text!r} is not of the form key = value") from error
        for key in settings:
            # ConfigArgParse takes a key alone for true and a comment for a value.
            value = line.strip()[len(key) :].lstrip(" \t:=")
            if not value or value.startswith(("#", ";")):
                example = self._example(key.removeprefix("--"))
                raise ConfigurationError(f"{place}: {key} has no value; write {key} = {example}")
        return {key.removeprefix("--"): value for key, value in settings.items()}

    def _reject_repetition(self, key: str, number: int) -> None:
        for earlier, line in self._lines.items():
            # A switch and its opposite are one setting.
            if earlier.removeprefix("no-") == key.removeprefix("no-"):
                spelling = "" if earlier == key else f" as {earlier}"
                raise ConfigurationError(
                    f"{self._path}:{number}: {key} is already set in line {line}{spelling};"
                    " keep one of the two lines"
                )


def _texts(value: object, place: str) -> str | list[str]:
    """Return a value as text or texts; a list that is JSON may hold more than texts."""
    if not isinstance(value, list):
        return str(value)
    for item in value:
        if not isinstance(item, (str, int, float)):
            raise ConfigurationError(f"{place}: write the list as [FILE, FILE]")
    # In a list that is not JSON, ConfigArgParse leaves the quotes.
    return [str(item).strip(" '\"") for item in value]
