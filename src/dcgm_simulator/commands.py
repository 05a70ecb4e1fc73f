"""The control commands: what each is called, takes and does."""

from __future__ import annotations

import argparse
import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from dcgm_simulator import control
from dcgm_simulator.host import Host
from dcgm_simulator.versions import ALL_VERSIONS
from dcgm_simulator.wire import Function

MOST_SECONDS = 1_000_000_000
"""More than thirty years; times in µs stay far from the largest integer."""


class Engine(Protocol):
    """What commands act upon: a simulated engine and its sockets."""

    @property
    def host(self) -> Host:
        """The engine proper."""

    def hang(self) -> None:
        """Accept connections and calls, but answer none."""

    def resume(self) -> None:
        """Accept connections again, and answer all pending calls."""

    def refuse(self) -> None:
        """Refuse new connections; existing ones continue."""

    def drop(self) -> None:
        """Close all connections."""


@dataclass(frozen=True)
class Argument:
    """An argument of a command, as argparse takes it."""

    flags: tuple[str, ...]
    settings: dict[str, Any]


@dataclass(frozen=True)
class Command:
    """One command; ``run`` gets the engine, and the arguments by name."""

    help: str
    run: Callable[..., Any]
    arguments: tuple[Argument, ...] = ()
    one_of: tuple[Argument, ...] = ()
    """Mutually exclusive arguments, one of them required."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add what the command takes to its parser."""
        if self.one_of:
            group = parser.add_mutually_exclusive_group(required=True)
            for argument in self.one_of:
                group.add_argument(*argument.flags, **argument.settings)
        for argument in self.arguments:
            parser.add_argument(*argument.flags, **argument.settings)


def _argument(*flags: str, **settings: Any) -> Argument:
    return Argument(flags, settings)


def _on_host(function: Callable[..., Any]) -> Callable[..., Any]:
    def run(engine: Engine, **arguments: Any) -> Any:
        return function(engine.host, **arguments)

    return run


def _entity_of(kind: str) -> Callable[[str], str]:
    def entity(text: str) -> str:
        return f"{kind}:{int(text)}"

    return entity


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if 0 <= seconds <= MOST_SECONDS:
        return seconds
    message = f"{text!r} is not a number of seconds from 0 to {MOST_SECONDS}"
    raise argparse.ArgumentTypeError(message)


def _profiles(text: str) -> list[str]:
    return [] if text in ("off", "disable") else text.split(",")


_FIELD = _argument("field", help="id or name")
_GPU = _argument("gpu", type=int)
_GPU_OPTION = _argument("--gpu", type=int, required=True)
_FUNCTION = _argument(
    "function", choices=[f.name.lower() for f in Function], metavar="FUNCTION",
    help="for example health_check or get_nvlink_link_status",
)  # fmt: skip
_INSTANCE_HELP = "entity id: gpu * 7 + n, gpu * 4 + n on RTX PRO 6000"

COMMANDS: dict[str, Command] = {
    "hang": Command("accept connections and calls, but answer none", lambda e: e.hang()),
    "resume": Command("end `hang` and `refuse`", lambda e: e.resume()),
    "refuse": Command("refuse new connections", lambda e: e.refuse()),
    "drop": Command("close all connections", lambda e: e.drop()),
    "xid": Command(
        "report an XID error",
        _on_host(control.command_xid),
        (_argument("code", type=int),),
        one_of=(
            _argument("--gpu", dest="entity", metavar="ID", type=_entity_of("gpu")),
            _argument(
                "--gpu-instance",
                dest="entity",
                metavar="ID",
                type=_entity_of("gpu_i"),
                help=_INSTANCE_HELP,
            ),
            _argument(
                "--compute-instance",
                dest="entity",
                metavar="ID",
                type=_entity_of("gpu_ci"),
                help=_INSTANCE_HELP,
            ),
        ),
    ),
    "xid119": Command(
        "kernel-log XID 119: everything is blank until the engine is restarted",
        _on_host(control.command_xid119),
    ),
    "set": Command(
        "set the value of a field",
        _on_host(control.command_set),
        (
            _argument("--entity", required=True, help="for example gpu:0, gpu_i:7, switch:1"),
            _FIELD,
            _argument(
                "value",
                help="number, text, blank, not-found, not-supported, no-permission, empty, "
                "status:CODE, elapsed (the seconds since now), or unset",
            ),
        ),
    ),
    "freeze": Command(
        "stop sampling a field; its timestamps stand still",
        _on_host(control.command_freeze),
        (_FIELD,),
    ),
    "thaw": Command("sample a frozen field again", _on_host(control.command_thaw), (_FIELD,)),
    "stall": Command(
        "stop sampling, as if the driver did not answer; values grow old",
        _on_host(control.command_stall),
        (_argument("--gpu", type=int, help="only this one"),),
    ),
    "unstall": Command("sample again after `stall`", _on_host(control.command_unstall)),
    "job": Command(
        "let the job on a GPU end, so that the GPU is idle, or the next one begin",
        _on_host(control.command_job),
        (_GPU_OPTION, _argument("state", choices=("begin", "end"))),
    ),
    "lose-gpu": Command("let a GPU fall off the bus", _on_host(control.command_lose_gpu), (_GPU,)),
    "restore-gpu": Command("bring a lost GPU back", _on_host(control.command_restore_gpu), (_GPU,)),
    "fail-library": Command(
        "let all fail that NVML does without a device: the driver's version and profiling",
        _on_host(control.command_fail_library),
    ),
    "mig": Command(
        "cut a GPU into MIG instances",
        _on_host(control.command_mig),
        (
            _GPU_OPTION,
            _argument("profiles", type=_profiles, help="comma-separated profiles, or 'off'"),
        ),
    ),
    "nvlink": Command(
        "take an NvLink of a GPU down, or up again",
        _on_host(control.command_nvlink),
        (
            _GPU_OPTION,
            _argument("--link", type=int, required=True),
            _argument("state", choices=("down", "up")),
        ),
    ),
    "health": Command(
        "let dcgmHealthCheck report an incident",
        _on_host(control.command_health),
        (
            _argument("--entity", required=True, help="for example gpu:0"),
            _argument(
                "--system", type=int, required=True, help="DCGM_HEALTH_WATCH_*: 16 is memory"
            ),
            _argument("--code", type=int, default=1, help="DCGM_FR_*"),
            _argument("--message", default="simulated incident"),
            _argument("health", choices=tuple(control.HEALTH)),
        ),
    ),
    "refuse-call": Command(
        "fail all calls of a function; status 0 ends this",
        _on_host(control.command_refuse_call),
        (_FUNCTION, _argument("status", type=int, help="for example -12")),
    ),
    "slow-call": Command(
        "delay the answers of a function; 0 seconds end this",
        _on_host(control.command_slow_call),
        (_FUNCTION, _argument("seconds", type=_seconds)),
    ),
    "profiling-needs-root": Command(
        "refuse to watch profiling fields", _on_host(control.command_profiling_needs_root)
    ),
    "no-hwmon": Command(
        "crash a 3.x engine when it is asked for CPUs", _on_host(control.command_no_hwmon)
    ),
    "pass-time": Command(
        "set the engine's clock ahead",
        _on_host(control.command_pass_time),
        (_argument("seconds", type=_seconds),),
    ),
    "skew": Command(
        "behave like another version",
        _on_host(control.command_skew),
        (_argument("version", choices=ALL_VERSIONS),),
    ),
    "status": Command(
        "connections, groups, watches and numbers of calls, as JSON",
        _on_host(control.command_status),
    ),
    "reset": Command("end all faults", _on_host(control.command_reset)),
}


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Let a parser take one command with its arguments; its name goes to ``command``."""
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        command.add_arguments(commands.add_parser(name, help=command.help))


class WrongCommand(Exception):
    """Raised for words that are no command; the text says what is wrong with them."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Raise what argparse would print before it ends the program (overrides argparse)."""
        raise WrongCommand(message)


def parse(words: Sequence[str]) -> tuple[str, dict[str, Any]]:
    """Return the name and the arguments of the command that words like ``xid --gpu 0 79`` mean.

    Raises WrongCommand.
    """
    arguments = vars(_parser().parse_args(words))
    return arguments.pop("command"), arguments


@functools.cache
def _parser() -> _Parser:
    parser = _Parser(prog="control", add_help=False)
    add_commands(parser)
    return parser


def carry_out(engine: Engine, name: str, arguments: dict[str, Any]) -> Any:
    """Carry out a command and return its result.

    Raises ControlError when it cannot be carried out.
    """
    return COMMANDS[name].run(engine, **arguments)
