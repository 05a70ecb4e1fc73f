"""Parse the options, run the mode they ask for, report errors."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from do_dcgm_exporter.commands.list_fields import list_fields
from do_dcgm_exporter.commands.output import write
from do_dcgm_exporter.commands.simulate import simulated_engine
from do_dcgm_exporter.commands.terminal import terminal_of
from do_dcgm_exporter.config.command_line import CommandLine, Mode, parse_command_line
from do_dcgm_exporter.config.environment import unknown_variables
from do_dcgm_exporter.config.load import load_configuration, load_settings
from do_dcgm_exporter.config.settings import Configuration, Settings
from do_dcgm_exporter.errors import ExporterError

_INTERRUPTED = 128 + signal.SIGINT  # what a shell reports


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except ExporterError as error:
        _tell(str(error))
        return error.exit_status
    except KeyboardInterrupt:
        _tell("interrupted")
        return _INTERRUPTED


def _run(argv: Sequence[str]) -> int:
    command_line = parse_command_line(argv)
    if command_line.mode is Mode.LIST_FIELDS:
        write(list_fields(command_line.pattern, terminal_of(sys.stdout)))
        return 0
    with ExitStack() as stack:
        adapt = _adapter(command_line, argv, stack)

        def load() -> Configuration:
            settings, counters = load_configuration(argv, os.environ)
            return Configuration(adapt(settings), counters)

        return _run_mode(command_line, load)


def _adapter(
    command_line: CommandLine, argv: Sequence[str], stack: ExitStack
) -> Callable[[Settings], Settings]:
    """Return what adapts settings; start the simulated engine if one is asked for."""
    if command_line.scenario is None:
        return lambda settings: settings
    # A wrong configuration is reported before an engine is started.
    load_settings(argv, os.environ)
    return stack.enter_context(simulated_engine(command_line.scenario))


def _run_mode(command_line: CommandLine, load: Callable[[], Configuration]) -> int:
    # Each mode is imported here: the service alone takes 0.3 s of CPU and 14 MB, which --help
    # and --list-fields would pay for as well.
    configuration, mode = load(), command_line.mode
    if mode is Mode.SERVE:
        from do_dcgm_exporter.service.service import run

        return run(configuration, load)
    # What a person started ends with their terminal.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
    for sentence in unknown_variables(os.environ):
        _tell(sentence)
    if mode is Mode.ONCE:
        from do_dcgm_exporter.commands.once import run_once

        if command_line.record is None:
            return run_once(configuration)
        from do_dcgm_exporter.commands.record import recording_to

        with recording_to(command_line.record, command_line.replace_identifiers) as recording:
            return run_once(configuration, recording)
    from do_dcgm_exporter.commands.check_config import run_check

    return run_check(configuration)


def _tell(sentence: str) -> None:
    print(f"do-dcgm-exporter: {sentence}", file=sys.stderr)
