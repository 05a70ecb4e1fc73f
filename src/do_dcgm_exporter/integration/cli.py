"""The command line of do-dcgm-exporter-integrate."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TextIO

from do_dcgm_exporter.commands.output import give_up, write
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.integration.changing import running
from do_dcgm_exporter.integration.changing.applying import Applying
from do_dcgm_exporter.integration.changing.files import forget_refusals
from do_dcgm_exporter.integration.changing.running import Level, Means, alone
from do_dcgm_exporter.integration.changing.undoing import is_run_by_dpkg, restore
from do_dcgm_exporter.integration.deciding.problems import notes, problems
from do_dcgm_exporter.integration.exporters_here import situation
from do_dcgm_exporter.integration.host import COMMAND, CONFIGURATION, Host
from do_dcgm_exporter.integration.looking.configuration import Choice, own_service, read_as_service
from do_dcgm_exporter.integration.looking.engine_probe import ask_engine, ask_starting_engine
from do_dcgm_exporter.integration.looking.processes import scan
from do_dcgm_exporter.integration.looking.survey import LONG_PATIENCE, PATIENCE
from do_dcgm_exporter.integration.reporting.check_report import as_json, as_text
from do_dcgm_exporter.integration.reporting.embedded_count import write_count
from do_dcgm_exporter.support.bundle import write_bundle

_IN_BACKGROUND = f"{COMMAND}.service"
_NOT_FOR_EVER = f"this lasts until the next boot or exporter package, unless set in {CONFIGURATION}"
# For dpkg, which must not be kept waiting.
_SHORT_ANSWER = 1.0


def main(argv: Sequence[str] | None = None, host: Host | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files and containers may have any bytes.
            stream.reconfigure(errors="backslashreplace")
    running.end_when_interrupted()
    try:
        return int(arguments.run(arguments, Means(host or Host(), tell)))
    except ExporterError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        root = "; run it as root" if isinstance(error, PermissionError) else ""
        print(f"{COMMAND}: {where}{error.strerror}{root}", file=sys.stderr)
        return 1


def tell(level: Level, text: str) -> None:
    """Print a message: what was done on stdout, what went wrong on stderr."""
    stream: TextIO | None = sys.stderr if level is Level.WARNING else sys.stdout
    if stream is None:
        return  # closed; the work goes on
    if os.getppid() == 1 and "JOURNAL_STREAM" in os.environ:
        # The variable alone proves nothing: a service may run apt, which runs us.
        text = level.value + text
    elif level is Level.WARNING:
        text = f"{COMMAND}: {text}"
    try:
        print(text, file=stream, flush=True)
    except OSError:
        give_up(stream)  # nobody is reading; the work goes on


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
        ("restore", _restore, "undo everything", {}),
    ):  # fmt: skip
        command = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        command.set_defaults(run=run)
        group = command.add_mutually_exclusive_group() if run is _check else command
        for option, meaning in options.items():
            group.add_argument(f"--{option}", action="store_true", help=meaning)
        if run is _check:
            what = "write all that support needs to know into a new file"
            group.add_argument("--bundle", metavar="FILE", type=Path, help=what)
            what = "give it a minute instead of five seconds, on a busy machine"
            command.add_argument("--wait", action="store_true", help=what)
        if run is _apply:
            what = "instead of embedded-exporters in the configuration"
            command.add_argument("--choice", choices=[one.value for one in Choice], help=what)
    return parser


def _check(arguments: argparse.Namespace, means: Means) -> int:
    """Print the report; return 1 if there are problems, 2 if something could not be looked at."""
    patience = LONG_PATIENCE if arguments.wait else PATIENCE
    if arguments.bundle:
        write(f"{write_bundle(arguments.bundle, means.host, patience)}\n")
        return 0
    now = situation(means.host, patience)
    wrong, good_to_know = tuple(problems(now)), tuple(notes(now))
    write((as_json if arguments.json else as_text)(now, wrong, good_to_know) + "\n")
    return 1 if wrong else 2 if now.found.unseen else 0


def _apply(arguments: argparse.Namespace, means: Means) -> int:
    settings = read_as_service(means.host, own_service(means.host)[0], os.environ)
    if not means.host.runs_systemd:
        tell(Level.INFO, "systemd does not run here, so nothing is changed")
        return 0
    if arguments.choice:
        settings = replace(settings, choice=Choice(arguments.choice))
    if arguments.retry:
        forget_refusals(means.host)
    if arguments.no_restart:
        ask = partial(ask_engine, settings.local_engine, settings.bindings, _SHORT_ANSWER)
        return _write_only(means, Applying(means, settings, ask))
    before = scan(means.host).embedded
    with alone(means):
        Applying(means, settings, partial(ask_starting_engine, settings)).run()
    if arguments.choice:
        tell(Level.INFO, _NOT_FOR_EVER)
    write_count(means.host, before)
    return 1 if means.failed else 0


def _write_only(means: Means, applying: Applying) -> int:
    """Write drop-ins and name the units that are restarted in the background, without waiting."""
    with alone(means, waits=False) as is_alone:
        waiting = applying.write_only() if is_alone else []
    if not is_alone:
        tell(Level.INFO, f"another run is in progress; {_IN_BACKGROUND} will do the rest")
    if waiting:
        names = ", ".join(waiting)
        tell(Level.INFO, f"{names}: restarted in the background by {_IN_BACKGROUND}")
    return 1 if means.failed else 0


def _restore(_: argparse.Namespace, means: Means) -> int:
    with alone(means):
        restore(means)
    if not is_run_by_dpkg():
        tell(Level.INFO, _NOT_FOR_EVER)
    return 1 if means.failed else 0
