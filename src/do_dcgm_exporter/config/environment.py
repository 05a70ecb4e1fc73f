"""The environment variables of the options: ``DO_DCGM_EXPORTER_COLLECT_INTERVAL=5000``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import cache

from do_dcgm_exporter.config.complaints import hint, located
from do_dcgm_exporter.config.option_values import parse_boolean
from do_dcgm_exporter.config.options import OPTIONS, Option
from do_dcgm_exporter.errors import ConfigurationError

PREFIX = "DO_DCGM_EXPORTER_"
CONFIG_FILE_VARIABLE = f"{PREFIX}CONFIG_FILE"

_log = logging.getLogger(__name__)


def our_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Return our variables, each switch as the one variable that ConfigArgParse knows.

    An empty variable is an unset one, as in a unit's ``Environment=``.
    """
    ours = {
        name: value
        for name, value in environ.items()
        if name.startswith(PREFIX) and value and name != CONFIG_FILE_VARIABLE
    }
    for option in OPTIONS:
        if option.parse is None:
            _merge_opposite(ours, variable(option), _opposite(option))
    known = {variable(option) for option in OPTIONS}
    for name in sorted(ours.keys() - known):
        _tell_unknown(name, hint(name, known))
        del ours[name]
    return ours


def variable(option: Option) -> str:
    """Return the name of an option's variable."""
    return variable_of(option.dest)


def variable_of(dest: str) -> str:
    """Return the name of the variable of the option with this ``dest``."""
    return PREFIX + dest.upper()


@cache
def _tell_unknown(name: str, suggestion: str) -> None:
    """Warn once, for the environment is read again at each reload."""
    _log.warning("ignoring the unknown environment variable %s%s", name, suggestion)


def _opposite(option: Option) -> str:
    return f"{PREFIX}NO_{option.dest.upper()}"


def _merge_opposite(environ: dict[str, str], name: str, opposite: str) -> None:
    if opposite not in environ:
        return
    with located(opposite):
        on = not parse_boolean(environ.pop(opposite))
    if name in environ:
        with located(name):
            agrees = environ[name].lower() != "auto" and parse_boolean(environ[name]) is on
        if not agrees:
            raise ConfigurationError(f"{opposite} contradicts {name}: set only one of the two")
    environ[name] = "true" if on else "false"
