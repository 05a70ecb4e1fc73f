"""The command do-dcgm-exporter-integrate."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from functools import partial

from do_dcgm_exporter.errors import ConfigurationError, ExporterError
from do_dcgm_exporter.integration.changing import running
from do_dcgm_exporter.integration.changing.applying import Applying
from do_dcgm_exporter.integration.changing.undoing import restore
from do_dcgm_exporter.integration.host import COMMAND, CONFIGURATION, Host
from do_dcgm_exporter.integration.looking.configuration import Choice, settings_of_service
from do_dcgm_exporter.integration.looking.engine_probe import ask_engine, ask_starting_engine
from do_dcgm_exporter.integration.looking.systemd import Systemd
from do_dcgm_exporter.integration.reporting.check import check
from do_dcgm_exporter.integration.reporting.embedded_count import Count
from do_dcgm_exporter.integration.reporting.messages import tell

_LONGEST_RUN = 600.0
_IN_BACKGROUND = f"{COMMAND}.service"
# For who may not be kept waiting: dpkg.
_SHORT_ANSWER = 1.0


def main(argv: Sequence[str] | None = None, host: Host | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files and containers may be anything.
            stream.reconfigure(errors="backslashreplace")
    host = host or Host()
    means = running.Means(host, tell, may_restart=partial(running.may_restart, host))
    try:
        with running.interruptible(means):
            status: int = arguments.run(arguments, means)
    except ExporterError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        root = "; run it as root" if isinstance(error, PermissionError) else ""
        print(f"{COMMAND}: {error.filename}: {error.strerror}{root}", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Find NVIDIA's exporters on this machine, make them clients of its one DCGM"
        " engine, and undo that.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", required=True)
    for name, run, text, options in (
        ("check", _check, "show what is on this machine and what is wrong with it",
         {"json": "as JSON"}),
        ("apply", _apply, "connect, stop or leave the exporters, as configured",
         {"retry": "also try exporters that failed as clients before",
          "no-restart": "only write drop-ins; restart nothing"}),
        ("restore", _restore, "put everything back as it was", {}),
    ):  # fmt: skip
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        for option, meaning in options.items():
            command.add_argument(f"--{option}", action="store_true", help=meaning)
        if run is _apply:
            command.add_argument(
                "--choice",
                choices=[choice.value for choice in Choice],
                help="instead of embedded-exporters in the configuration",
            )
    return parser


def _check(arguments: argparse.Namespace, means: running.Means) -> int:
    return check(means.host, in_json=arguments.json)


def _apply(arguments: argparse.Namespace, means: running.Means) -> int:
    settings = settings_of_service(means.host, means.systemd, os.environ)
    if not means.host.runs_systemd:
        tell(running.Level.INFO, "systemd does not run here, so nothing is changed")
        return 0
    choice = Choice(arguments.choice) if arguments.choice else None
    ask = partial(ask_starting_engine, settings, means.systemd, sleep=means.sleep)
    if arguments.no_restart:
        ask = partial(ask_engine, settings.local_engine, settings.bindings, _SHORT_ANSWER)
    applying = Applying(means, settings, ask, choice, retry=arguments.retry)
    if arguments.no_restart:
        return _write_only(applying, means)
    count = Count(means.host)
    with running.alone(means, _LONGEST_RUN):
        applying.run()
    if choice not in (None, settings.choice):
        _tell_how_long(choice)
    count.write_second_look()
    return 1 if means.failed else 0


def _write_only(applying: Applying, means: running.Means) -> int:
    """Write drop-ins and say who is waiting for the rest; nobody waits for another run."""
    try:
        with running.alone(means, 0.0):
            waiting = applying.write_only()
    except running.Busy:
        tell(running.Level.INFO, f"another run is at work; {_IN_BACKGROUND} does the rest")
        return 0
    if waiting:
        names = ", ".join(waiting)
        tell(running.Level.INFO, f"{names}: seen to in the background by {_IN_BACKGROUND}")
    return 1 if means.failed else 0


def _restore(_: argparse.Namespace, means: running.Means) -> int:
    with running.alone(means, _LONGEST_RUN):
        worked = restore(means)
    try:
        chosen = settings_of_service(means.host, Systemd(), os.environ).choice
    except ConfigurationError:
        chosen = Choice.LEAVE  # what is wrong with it is no reason not to restore
    if chosen is not Choice.LEAVE and not running.is_run_by_dpkg():
        _tell_how_long(Choice.LEAVE)
    return 0 if worked else 1


def _tell_how_long(choice: Choice) -> None:
    """Tell that the configuration will be obeyed again."""
    how = f"set embedded-exporters = {choice.value} in {CONFIGURATION}"
    until = "until the next boot, or until a package brings an exporter"
    tell(running.Level.INFO, f"this lasts {until}; to make it last, {how}")
