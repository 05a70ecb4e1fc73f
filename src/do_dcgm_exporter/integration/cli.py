"""The command do-dcgm-exporter-integrate."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from do_dcgm_exporter.errors import ConfigurationError, ExporterError
from do_dcgm_exporter.integration.changing.applying import Applying, Wish
from do_dcgm_exporter.integration.changing.lock import Busy, locked
from do_dcgm_exporter.integration.changing.means import Level, Means, Pace
from do_dcgm_exporter.integration.changing.parallel import interruptible
from do_dcgm_exporter.integration.changing.policy import may_restart, run_by_dpkg
from do_dcgm_exporter.integration.changing.restoring import restore
from do_dcgm_exporter.integration.host import COMMAND, CONFIGURATION, Host
from do_dcgm_exporter.integration.looking.configuration import Choice, settings_of_service
from do_dcgm_exporter.integration.looking.engine_probe import ask_engine, ask_starting_engine
from do_dcgm_exporter.integration.looking.systemd import Systemd
from do_dcgm_exporter.integration.reporting.check import check
from do_dcgm_exporter.integration.reporting.embedded_count import Count
from do_dcgm_exporter.integration.reporting.messages import name_what_is_left, planned, tell
from do_dcgm_exporter.output import write

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
    pace = Pace()
    try:
        with interruptible(pace):
            status: int = arguments.run(arguments, host or Host(), pace)
    except ExporterError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return error.exit_status
    except OSError as error:
        print(f"{COMMAND}: {error.filename}: {error.strerror}{_as_root(error)}", file=sys.stderr)
        return 1
    return status


def _as_root(error: OSError) -> str:
    return "; run it as root" if isinstance(error, PermissionError) else ""


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Find NVIDIA's exporters on this machine, make them clients of its one DCGM"
        " engine, and undo that.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", required=True)

    def command(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(run=run)
        return added

    checking = command("check", _check, "show what is on this machine and what is wrong with it")
    checking.add_argument("--json", action="store_true", help="as JSON")
    applying = command("apply", _apply, "connect, stop or leave the exporters, as configured")
    applying.add_argument("--dry-run", action="store_true", help="only say what would be done")
    applying.add_argument(
        "--choice",
        choices=[choice.value for choice in Choice],
        help="instead of embedded-exporters in the configuration",
    )
    applying.add_argument(
        "--retry", action="store_true", help="also try exporters that failed as clients before"
    )
    applying.add_argument(
        "--no-restart", action="store_true", help="only write drop-ins; restart nothing"
    )
    command("restore", _restore, "put everything back as it was")
    return parser


def _check(arguments: argparse.Namespace, host: Host, _pace: Pace) -> int:
    return check(host, as_json=arguments.json)


def _apply(arguments: argparse.Namespace, host: Host, pace: Pace) -> int:
    settings = settings_of_service(host, Systemd(), os.environ)
    if not host.runs_systemd:
        tell(Level.INFO, "systemd does not run here, so nothing is changed")
        return 0
    choice = Choice(arguments.choice) if arguments.choice else None
    means = _means(host, pace)
    ask = partial(ask_starting_engine, settings, means.systemd, sleep=pace.sleep)
    if arguments.no_restart:
        ask = partial(ask_engine, settings.local_engine, settings.bindings, _SHORT_ANSWER)
    applying = Applying(means, settings, Wish(choice, arguments.retry), ask)
    if arguments.dry_run:
        lines = [planned(made) for made in applying.plan()]
        write("\n".join(lines or ["there is no NVIDIA exporter here"]) + "\n")
        return 0
    if arguments.no_restart:
        return _write_only(applying, host, pace)
    count = Count(host)
    with _alone(host, pace):
        outcome = applying.run()
    is_clean = name_what_is_left(outcome, tell)
    if choice not in (None, settings.choice):
        _tell_how_long(choice)
    count.write_second_look()
    return 0 if is_clean else 1


def _write_only(applying: Applying, host: Host, pace: Pace) -> int:
    """Write drop-ins and say who is waiting for the rest; nobody waits for another run."""
    try:
        with locked(host, 0.0, pace, on_wait=lambda: None):
            outcome = applying.write_only()
    except Busy:
        tell(Level.INFO, f"another run is at work; {_IN_BACKGROUND} does the rest")
        return 0
    if outcome.pending:
        names = ", ".join(outcome.pending)
        tell(Level.INFO, f"{names}: seen to in the background by {_IN_BACKGROUND}")
    return 1 if outcome.failed else 0


def _restore(_: argparse.Namespace, host: Host, pace: Pace) -> int:
    with _alone(host, pace):
        worked = restore(_means(host, pace))
    try:
        chosen = settings_of_service(host, Systemd(), os.environ).choice
    except ConfigurationError:
        chosen = Choice.LEAVE  # what is wrong with it is no reason not to restore
    if chosen is not Choice.LEAVE and not run_by_dpkg():
        _tell_how_long(Choice.LEAVE)
    return 0 if worked else 1


def _tell_how_long(choice: Choice) -> None:
    """Tell that the configuration will be obeyed again."""
    tell(
        Level.INFO,
        "this lasts until the next boot, or until a package brings an exporter; to make it last,"
        f" set embedded-exporters = {choice.value} in {CONFIGURATION}",
    )


def _means(host: Host, pace: Pace) -> Means:
    return Means(host, tell, may_restart=lambda unit: may_restart(host, unit), pace=pace)


@contextmanager
def _alone(host: Host, pace: Pace) -> Iterator[None]:
    def say_so() -> None:
        tell(Level.INFO, "waiting for another run to end")

    with locked(host, _LONGEST_RUN, pace, say_so):
        yield
