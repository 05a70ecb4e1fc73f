"""The command do-dcgm-exporter-integrate."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from do_dcgm_exporter.errors import ConfigurationError, ExporterError
from do_dcgm_exporter.integration.host import COMMAND, CONFIGURATION, Host

if TYPE_CHECKING:
    from do_dcgm_exporter.integration.changing.applying import Means
    from do_dcgm_exporter.integration.looking.configuration import Choice, IntegrationSettings

# Nothing else is imported before it is needed: "refresh" runs every five minutes.

_LONGEST_RUN = 600.0


def main(argv: Sequence[str] | None = None, host: Host | None = None) -> int:
    """Run the command and return its exit status."""
    arguments = _parser().parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # Names of files and containers may be anything.
            stream.reconfigure(errors="backslashreplace")
    try:
        status: int = arguments.run(arguments, host or Host())
    except ExporterError as error:
        print(f"{COMMAND}: {error}", file=sys.stderr)
        return error.exit_status
    except PermissionError as error:
        print(f"{COMMAND}: {error.filename}: permission denied; run it as root", file=sys.stderr)
        return 1
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=COMMAND,
        description="Find NVIDIA's exporters on this machine, connect them to its one DCGM"
        " engine, and put them back.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(title="commands", required=True)

    def command(name: str, run: Callable[..., int], text: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=text, allow_abbrev=False)
        added.set_defaults(run=run)
        return added

    check = command("check", _check, "say what is on this machine and what is wrong with it")
    check.add_argument("--json", action="store_true", help="as JSON")
    apply = command("apply", _apply, "connect, stop or leave the exporters, as configured")
    apply.add_argument("--dry-run", action="store_true", help="only say what would be done")
    apply.add_argument(
        "--choice",
        choices=("rewrite", "stop", "leave"),
        help="instead of embedded-exporters in the configuration",
    )
    apply.add_argument(
        "--recreate-containers", action="store_true", help="recreate containers of exporters, too"
    )
    apply.add_argument(
        "--retry", action="store_true", help="also try what did not come back the last time"
    )
    command("restore", _restore, "put everything back as it was")
    status = command("status", _status, "say what is changed now")
    status.add_argument("--json", action="store_true", help="as JSON")
    refresh = command(
        "refresh", _refresh, "count the embedded DCGMs for the exporter's metrics (a timer does)"
    )
    refresh.add_argument(
        "--apply", action="store_true", help="apply before, unless that is being done (as at boot)"
    )
    return parser


def _check(arguments: argparse.Namespace, host: Host) -> int:
    from do_dcgm_exporter.integration.reporting.check import check

    return check(host, as_json=arguments.json)


def _apply(arguments: argparse.Namespace, host: Host) -> int:
    from do_dcgm_exporter.integration.changing.applying import Applying, Wish
    from do_dcgm_exporter.integration.changing.workshop import Level
    from do_dcgm_exporter.integration.looking.configuration import Choice
    from do_dcgm_exporter.integration.reporting.messages import tell
    from do_dcgm_exporter.output import write

    settings = _settings(host)
    if not host.runs_systemd:
        tell(Level.INFO, "systemd does not run here: nothing is changed before it does")
        return 0
    wish = Wish(
        Choice(arguments.choice) if arguments.choice else None,
        arguments.retry,
        arguments.recreate_containers,
    )
    if arguments.dry_run:
        lines = Applying(_means(host), settings, wish).plan()
        write("\n".join(lines or ["there is no NVIDIA exporter here"]) + "\n")
        return 0
    with _alone(host, _LONGEST_RUN):
        clean = Applying(_means(host), settings, wish).run()
    if wish.choice not in (None, settings.choice):
        _tell_how_long(wish.choice)
    _report(host, settings.local_engine.port)
    return 0 if clean else 1


def _restore(_: argparse.Namespace, host: Host) -> int:
    from do_dcgm_exporter.integration.changing.applying import restore
    from do_dcgm_exporter.integration.changing.policy import run_by_dpkg
    from do_dcgm_exporter.integration.looking.configuration import Choice

    with _alone(host, _LONGEST_RUN):
        worked = restore(_means(host))
    try:
        settings = _settings(host)
    except ConfigurationError:
        pass  # what is wrong with it is no reason not to restore
    else:
        if settings.choice is not Choice.LEAVE and not run_by_dpkg():
            _tell_how_long(Choice.LEAVE)
        _report(host, settings.local_engine.port)
    return 0 if worked else 1


def _status(arguments: argparse.Namespace, host: Host) -> int:
    from do_dcgm_exporter.integration.reporting.status import status

    return status(host, as_json=arguments.json)


def _refresh(arguments: argparse.Namespace, host: Host) -> int:
    settings = _settings(host)
    try:
        clean = not (arguments.apply and host.runs_systemd) or _apply_unless_busy(host, settings)
    finally:
        _report(host, settings.local_engine.port)
    return 0 if clean else 1


def _apply_unless_busy(host: Host, settings: IntegrationSettings) -> bool:
    from do_dcgm_exporter.integration.changing.applying import Applying, Wish
    from do_dcgm_exporter.integration.changing.state import Busy

    try:
        with _alone(host, 0.0):
            return Applying(_means(host), settings, Wish()).run()
    except Busy:
        return True  # whoever is at it applies the same


def _tell_how_long(choice: Choice) -> None:
    """Tell that the configuration will be obeyed again."""
    from do_dcgm_exporter.integration.changing.workshop import Level
    from do_dcgm_exporter.integration.reporting.messages import tell

    tell(
        Level.INFO,
        "this lasts until the next boot, or until a package brings an exporter; to have it for"
        f" good, set embedded-exporters = {choice.value} in {CONFIGURATION}",
    )


def _settings(host: Host) -> IntegrationSettings:
    from do_dcgm_exporter.integration.looking.own_service import settings_of_service
    from do_dcgm_exporter.integration.looking.systemd import Systemd

    return settings_of_service(host, Systemd(), os.environ)


def _report(host: Host, engine_port: int) -> None:
    from do_dcgm_exporter.integration.looking.processes import scan
    from do_dcgm_exporter.integration.reporting.embedded_report import write_report

    write_report(host, scan(host, engine_port), engine_port)


def _means(host: Host) -> Means:
    from do_dcgm_exporter.integration.changing.applying import Means
    from do_dcgm_exporter.integration.changing.policy import may_restart
    from do_dcgm_exporter.integration.reporting.messages import tell

    return Means(host, tell, may_restart=lambda unit: may_restart(host, unit))


def _alone(host: Host, seconds: float) -> AbstractContextManager[None]:
    from do_dcgm_exporter.integration.changing.state import locked
    from do_dcgm_exporter.integration.changing.workshop import Level
    from do_dcgm_exporter.integration.reporting.messages import tell

    return locked(host, seconds, on_wait=lambda: tell(Level.INFO, "waiting for another run to end"))
