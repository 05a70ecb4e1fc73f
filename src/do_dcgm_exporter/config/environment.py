"""The environment variables of the options: ``DO_DCGM_EXPORTER_COLLECT_INTERVAL=5000``.

An empty variable is an unset one, as in a unit's ``Environment=``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from do_dcgm_exporter.config.config_file import texts_of
from do_dcgm_exporter.config.options import OPTIONS
from do_dcgm_exporter.errors import ConfigurationError, hint, located

PREFIX = "DO_DCGM_EXPORTER_"
CONFIG_FILE_VARIABLE = f"{PREFIX}CONFIG_FILE"


def _variable(key: str) -> str:
    return PREFIX + key.upper().replace("-", "_")


_BY_VARIABLE = {_variable(option.name): option for option in OPTIONS}
_BY_OPPOSITE = {_variable(option.opposite): option for option in OPTIONS if option.opposite}


def environment_values(environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the value of every option that the environment sets, by the option's name.

    Raises ConfigurationError.
    """
    values = {}
    for variable, option in _BY_VARIABLE.items():
        if environ.get(variable):
            with located(variable):
                text = environ[variable]
                values[option.name] = option.value(_list(text) if option.repeatable else text)
    for variable, option in _BY_OPPOSITE.items():
        if environ.get(variable):
            with located(variable):
                value = option.opposite_value(environ[variable])
            if values.get(option.name, value) is not value:
                raise ConfigurationError(
                    f"{variable} contradicts {_variable(option.name)}: set only one of the two"
                )
            values[option.name] = value
    return values


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """Return a sentence about each variable that looks like one of ours but is not."""
    known = {*_BY_VARIABLE, *_BY_OPPOSITE, CONFIG_FILE_VARIABLE}
    return [
        f"ignoring the unknown environment variable {name}{hint(name, _BY_VARIABLE)}"
        for name in sorted(environ)
        if name.startswith(PREFIX) and environ[name] and name not in known
    ]


def _list(text: str) -> str | list[str]:
    """Read a list as ConfigArgParse does in a file; return other text unchanged."""
    if not (text.startswith("[") and text.endswith("]")):
        return text
    try:
        return texts_of(json.loads(text))
    except (ValueError, RecursionError):
        return texts_of([item.strip() for item in text[1:-1].split(",")])
