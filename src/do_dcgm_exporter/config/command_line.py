"""The command line: the mode it asks for and the options it sets."""

from __future__ import annotations

import argparse
import re
import textwrap
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import Any, NoReturn

from do_dcgm_exporter import __version__
from do_dcgm_exporter.config.environment import PREFIX
from do_dcgm_exporter.config.option import Option
from do_dcgm_exporter.config.options import CONFIG_FILE_NAME, ETC, GROUPS, OPTIONS
from do_dcgm_exporter.errors import ConfigurationError, hint

_DEVICES = (
    "A SELECTION is f (a GPU's instances if it has any, else the GPU), g (whole devices),"
    " i (their parts), g+i (both), or some of them: g:0,2-4 or i:0,2-4. For GPUs, c, i+c and"
    " g+i+c add MIG compute instances."
)
_EPILOG = (
    "All but the last two groups can also be set in the environment"
    f" ({PREFIX}COLLECT_INTERVAL=5000) and in the configuration file"
    " (collect-interval = 5000, forward = false, collectors = [FILE, FILE])."
    " Flags override the environment, which overrides the file. MS is milliseconds."
)


class Mode(Enum):
    """What the program is to do."""

    SERVE = auto()
    ONCE = auto()
    CHECK_CONFIG = auto()
    LIST_FIELDS = auto()


@dataclass(frozen=True, slots=True)
class CommandLine:
    """A parsed command line.

    ``values`` are those of the options it sets, by the option's name. ``config_file``,
    ``scenario``, of ``--simulate``, and ``record`` are None unless given; ``pattern`` is that of
    ``--list-fields``.
    """

    mode: Mode
    values: Mapping[str, Any]
    config_file: str | None = None
    scenario: str | None = None
    pattern: str = ""
    record: Path | None = None
    replace_identifiers: bool = False


def parse_command_line(argv: Sequence[str]) -> CommandLine:
    """Parse ``argv``; raises ConfigurationError, and SystemExit for --help and --version."""
    namespace, unknown = make_parser().parse_known_args(list(argv))
    if unknown:
        known = [flag for option in OPTIONS for flag in option.flags]
        suggestion = hint(unknown[0], known) or "; --help lists all options"
        raise ConfigurationError(f"{unknown[0]!r} is not an option{suggestion}")
    values = vars(namespace)
    config_file, scenario = values.pop("config_file"), values.pop("scenario")
    mode, pattern = values.pop("mode"), values.pop("pattern")
    record, replaces = values.pop("record"), values.pop("replace_identifiers")
    if pattern is not None:
        mode = Mode.LIST_FIELDS
    if record is not None and mode is not Mode.ONCE:
        raise ConfigurationError("--record records what --once reads: give both")
    if replaces and record is None:
        raise ConfigurationError("--replace-identifiers changes what --record writes: give both")
    return CommandLine(mode, values, config_file, scenario, pattern or "", record, replaces)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all flags; it reports errors as ConfigurationError."""
    parser = _Parser(
        prog="do-dcgm-exporter",
        usage="do-dcgm-exporter [OPTION]...",
        description="Serve the metrics of NVIDIA GPUs, read from DCGM, and forward them.",
        epilog=_EPILOG,
        formatter_class=_HelpFormatter,
        argument_default=argparse.SUPPRESS,
        add_help=False,
        allow_abbrev=False,
    )
    for title, options in GROUPS.items():
        group = parser.add_argument_group(title, _DEVICES if title == "Devices" else None)
        for option in options:
            _add_option(group, option)
    _add_configuration_file(parser.add_argument_group("Configuration file"))
    _add_modes(parser.add_argument_group("Modes"))
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print after its usage text (overrides argparse)."""
        raise ConfigurationError(re.sub("^argument ([^:]+): ", r"\1: ", message))


class _HelpFormatter(argparse.HelpFormatter):
    """Help for 80 columns in which paths and flags are not broken at their hyphens."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=79)

    def _split_lines(self, text: str, width: int) -> list[str]:
        return textwrap.wrap(text, width, break_on_hyphens=False)


class _Switch(argparse.Action):
    """A flag that turns something on, with others that turn it off or leave it to the program."""

    def __init__(
        self, option_strings: Sequence[str], dest: str, auto_flag: str | None, **rest: Any
    ) -> None:
        super().__init__(option_strings, dest, nargs=0, **rest)
        self._auto_flag = auto_flag

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        value = option_string == self.option_strings[0]
        setattr(namespace, self.dest, None if option_string == self._auto_flag else value)


# argparse's own type of a group is private.
def _add_option(group: Any, option: Option) -> None:
    default = option.default.removeprefix("(").removesuffix(")")
    common = {"dest": option.name, "help": f"{option.help} (default: {default})"}
    if option.parse is None:
        group.add_argument(*option.flags, action=_Switch, auto_flag=option.auto_flag, **common)
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
        default=None,
        help=f"read this file (default: {ETC / CONFIG_FILE_NAME} if it exists)",
    )


def _add_modes(group: Any) -> None:
    group.add_argument(
        "--simulate",
        dest="scenario",
        nargs="?",
        const="",
        default=None,
        metavar="SCENARIO",
        help="start a simulated engine and use it (default scenario: h100x8), or one that plays"
        " a file made with --record",
    )
    group.add_argument(
        "--record",
        type=Path,
        default=None,
        metavar="FILE",
        help="with --once: write what the engine answers into this new file, compressed if its"
        " name ends in .gz",
    )
    group.add_argument(
        "--replace-identifiers",
        action="store_true",
        default=False,
        help="with --record: replace UUIDs, serial numbers, PCI bus ids and the host's name by"
        " others",
    )
    modes = group.add_mutually_exclusive_group()
    modes.add_argument(
        "--once",
        dest="mode",
        action="store_const",
        const=Mode.ONCE,
        default=Mode.SERVE,
        help="read once, print the page, and exit",
    )
    modes.add_argument(
        "--check-config",
        dest="mode",
        action="store_const",
        const=Mode.CHECK_CONFIG,
        help="check every line of the counters files; exit 2 if one is unknown or malformed",
    )
    modes.add_argument(
        "--list-fields",
        dest="pattern",
        nargs="?",
        const="",
        default=None,
        metavar="PATTERN",
        help="list the fields a counters file can name: all, or those whose name or id"
        " contains PATTERN or matches it as a glob (*UTIL*)",
    )
    version = f"do-dcgm-exporter {__version__}"
    modes.add_argument("--version", action="version", version=version, help="print the version")
    modes.add_argument("-h", "--help", action="help", help="print this help")


def _argument(parse: Callable[[str], object]) -> Callable[[str], object]:
    """Return ``parse`` as argparse wants it, so that its message names the flag."""

    def parse_argument(text: str) -> object:
        try:
            return parse(text)
        except ConfigurationError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return parse_argument
