"""The parser: flags over environment over configuration file over defaults.

ConfigArgParse finds out whether an option is on the command line by looking for
its name there, which misses ``-c5000``, and it appends to a list instead of
replacing it. So the command line is parsed on its own, ConfigArgParse merges the
environment and the file, and the flags are laid over the result.
"""

from __future__ import annotations

import argparse
import os
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import configargparse

from do_dcgm_exporter import __version__
from do_dcgm_exporter.config.complaints import hint, located
from do_dcgm_exporter.config.config_file import ConfigFile
from do_dcgm_exporter.config.environment import (
    CONFIG_FILE_VARIABLE,
    PREFIX,
    our_variables,
    variable,
    variable_of,
)
from do_dcgm_exporter.config.option_values import parse_boolean
from do_dcgm_exporter.config.options import CONFIG_FILE_NAME, ETC, GROUPS, OPTIONS, Option
from do_dcgm_exporter.config.text_files import may_be_there
from do_dcgm_exporter.errors import ConfigurationError

_OPTION_OF = {option.dest: option for option in OPTIONS}

_DEVICES = (
    "A SELECTION is f (a GPU's instances if it has any, else the GPU), g (whole devices),"
    " i (their parts), g+i (both), or some of them: g:0,2-4 or i:0,2-4."
)
_EPILOG = (
    "All but the last two groups can also be set in the environment"
    f" ({PREFIX}COLLECT_INTERVAL=5000) and in the configuration file"
    " (collect-interval = 5000, forward = false, collectors = [FILE, FILE])."
    " A flag beats the environment, which beats the file. MS is milliseconds."
)


class OptionParser(configargparse.ArgumentParser):  # type: ignore[misc]
    """The parser of all options; whatever is wrong is a ConfigurationError."""

    def __init__(self) -> None:
        self._file = ConfigFile(_example)
        super().__init__(
            prog="do-dcgm-exporter",
            usage="do-dcgm-exporter [OPTION]...",
            description="Serve the metrics of NVIDIA GPUs, read from DCGM, and forward them.",
            epilog=_EPILOG,
            formatter_class=_HelpFormatter,
            argument_default=argparse.SUPPRESS,
            add_help=False,
            allow_abbrev=False,
            add_config_file_help=False,
            add_env_var_help=False,
            config_file_parser_class=self._file,
        )
        for title, options in GROUPS.items():
            group = self.add_argument_group(title, _DEVICES if title == "Devices" else None)
            for option in options:
                _add_option(group, option)
        _add_configuration_file(self.add_argument_group("Configuration file"))
        _add_modes(self.add_argument_group("Modes"))

    def parse_flags(self, argv: Sequence[str]) -> argparse.Namespace:
        """Parse the command line alone; the namespace holds only what was given."""
        flags, unknown = argparse.ArgumentParser.parse_known_args(
            self, list(argv), argparse.Namespace()
        )
        if unknown:
            known = [flag for option in OPTIONS for flag in option.flags]
            suggestion = hint(unknown[0], known) or "; --help lists all options"
            raise ConfigurationError(f"{unknown[0]!r} is not an option{suggestion}")
        return flags

    def parse_layers(
        self, flags: argparse.Namespace, environ: Mapping[str, str], usual_file: Path
    ) -> dict[str, Any]:
        """Return the value of every option, by its ``dest``.

        The configuration file is the one that flags or environment name, else
        ``usual_file`` if it exists.
        """
        named = getattr(flags, "config_file", None) or environ.get(CONFIG_FILE_VARIABLE)
        text = ""
        if named or os.path.islink(usual_file) or may_be_there(usual_file):
            text = self._file.read(Path(named or usual_file))
        layered, _ = self.parse_known_args(
            [], config_file_contents=text, env_vars=our_variables(environ)
        )
        defaults = {option.dest: option.default_value for option in OPTIONS}
        values = {**defaults, **vars(layered), **vars(flags)}
        if _level_overrules_debug(flags, environ):
            values["debug"] = False
        return values

    def error(self, message: object) -> NoReturn:
        """Raise what argparse would print after its usage text (overrides argparse)."""
        raise ConfigurationError(re.sub("^argument ([^:]+): ", r"\1: ", str(message)))

    def get_possible_config_keys(self, action: argparse.Action) -> list[str]:
        """Return an action's keys in the file: none for modes (overrides ConfigArgParse)."""
        if action.dest not in _OPTION_OF:
            return []
        return _keys(_OPTION_OF[action.dest])

    def convert_item_to_command_line_arg(
        self, action: argparse.Action | None, key: str, value: str | list[str]
    ) -> list[str]:
        """Spell a setting of the environment or the file as flags.

        Overrides ConfigArgParse, which cannot say where a bad value stands, and
        cannot turn off a switch.
        """
        if action is None:
            raise ConfigurationError(f"{self._file.place(key)}: {_why_unknown(key)}")
        option = _OPTION_OF[action.dest]
        in_environment = key == variable(option)
        with located(key if in_environment else self._file.place(key)):
            return _spelled_as_flags(option, value, opposite=key.startswith("no-"))


def _level_overrules_debug(flags: argparse.Namespace, environ: Mapping[str, str]) -> bool:
    """Whether log-level was set in a higher layer than debug, which means a level as well."""
    if hasattr(flags, "debug") or hasattr(flags, "log_level"):
        return not hasattr(flags, "debug")
    in_environment = {name for name in ("debug", "log_level") if environ.get(variable_of(name))}
    return in_environment == {"log_level"}


class _HelpFormatter(argparse.HelpFormatter):
    """Help for 80 columns in which paths and flags are not broken at their hyphens."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=79)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


class _Switch(argparse.Action):
    """A flag that turns something on, with others that turn it off."""

    def __init__(self, option_strings: Sequence[str], dest: str, **rest: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **rest)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        value = option_string == self.option_strings[0]
        auto = option_string == _OPTION_OF[self.dest].auto_flag
        setattr(namespace, self.dest, None if auto else value)


def _add_option(group: Any, option: Option) -> None:
    default = option.default.removeprefix("(").removesuffix(")")
    common = {
        "dest": option.dest,
        "help": f"{option.help} (default: {default})",
        "env_var": variable(option),
    }
    if option.parse is None:
        group.add_argument(*option.flags, action=_Switch, **common)
        return
    group.add_argument(
        *option.flags,
        action="append" if option.repeatable else "store",
        type=_argument(option.parse),
        metavar=option.metavar,
        **common,
    )


def _add_configuration_file(group: Any) -> None:
    group.add_argument(
        "--config-file",
        metavar="FILE",
        help=f"read this file (default: {ETC / CONFIG_FILE_NAME} if it exists)",
    )


def _add_modes(group: Any) -> None:
    group.add_argument(
        "--simulate",
        nargs="?",
        const="",
        metavar="SCENARIO",
        help="start a simulated engine and use it (default scenario: h100x8)",
    )
    modes = group.add_mutually_exclusive_group()
    modes.add_argument("--once", action="store_true", help="read once, print the page, and exit")
    modes.add_argument(
        "--check-config",
        action="store_true",
        help="judge every line of the counters files; exit with 2 if one is unknown or malformed",
    )
    modes.add_argument(
        "--list-fields",
        nargs="?",
        const="",
        metavar="PATTERN",
        help="list the fields a counters file can name: all, or those whose name or id has"
        " PATTERN in it or matches it (*UTIL*)",
    )
    modes.add_argument(
        "--version",
        action="version",
        version=f"do-dcgm-exporter {__version__}",
        help="print the version",
    )
    modes.add_argument("-h", "--help", action="help", help="print this help")


def _argument(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Return ``parse`` as argparse wants it, so that the flag gets named in the message."""

    def parse_argument(text: str) -> object:
        try:
            return parse(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument


def _spelled_as_flags(option: Option, value: str | list[str], *, opposite: bool) -> list[str]:
    on_flag, *off_flags = _long_flags(option.flags)
    if option.parse is None:
        text = _one(value)
        if option.auto_flag and not opposite:
            if text.lower() == "auto":
                return [option.auto_flag]
            return [on_flag if parse_boolean(text, "auto") else off_flags[0]]
        return [on_flag if parse_boolean(text) is not opposite else off_flags[0]]
    texts = _several(value, option.nothing) if option.repeatable else [_one(value)]
    for text in texts:
        try:
            option.parse(text)
        except ConfigurationError as error:
            if isinstance(value, list) or not option.repeatable or "," not in text:
                raise
            words = ", ".join(word.strip() for word in text.split(","))
            raise ConfigurationError(f"{error}; several are written [{words}]") from error
    return [f"{on_flag}={text}" for text in texts]


def _one(value: str | list[str]) -> str:
    # ConfigArgParse takes [::1] for a list.
    return value if isinstance(value, str) else f"[{', '.join(value)}]"


def _several(value: str | list[str], nothing: str) -> list[str]:
    if isinstance(value, list):
        if not value:
            raise ConfigurationError(f"the list is empty; write {nothing}")
        return value
    if value.startswith("["):
        raise ConfigurationError("the list does not end on its line with ]")
    return [value]


def _why_unknown(key: str) -> str:
    if key in ("config-file", "simulate", "once", "check-config", "list-fields", "version", "help"):
        return "this can only be given on the command line"
    known = [known_key for option in OPTIONS for known_key in _keys(option)]
    return f"there is no such setting{hint(key, known)}"


def _example(key: str) -> str:
    """Return what can be written behind a key."""
    for option in OPTIONS:
        if key in _keys(option):
            # A switch that says no is not left to the program.
            return option.example if key == option.name else "yes or no"
    return "VALUE"


def _keys(option: Option) -> list[str]:
    flags = [flag for flag in _long_flags(option.flags) if flag != option.auto_flag]
    return [flag.removeprefix("--") for flag in flags]


def _long_flags(flags: Sequence[str]) -> list[str]:
    return [flag for flag in flags if flag.startswith("--")]
