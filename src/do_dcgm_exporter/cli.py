"""The command: parse the options, run the mode that was asked for, report errors."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from do_dcgm_exporter.commands.check_config import check_config
from do_dcgm_exporter.commands.list_fields import list_fields
from do_dcgm_exporter.commands.output import write
from do_dcgm_exporter.commands.progress import progress
from do_dcgm_exporter.commands.simulate import simulated_engine
from do_dcgm_exporter.commands.terminal import terminal_of
from do_dcgm_exporter.config.counters import CounterSet, read_counter_set
from do_dcgm_exporter.config.load import load_settings
from do_dcgm_exporter.config.parser import OptionParser
from do_dcgm_exporter.config.run_configuration import refuse_label_twice
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.errors import ExporterError

__all__ = ["load_settings", "main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    try:
        return _run(sys.argv[1:] if argv is None else argv)
    except ExporterError as error:
        print(f"do-dcgm-exporter: {error}", file=sys.stderr)
        return error.exit_status


def _run(argv: Sequence[str]) -> int:
    flags = OptionParser().parse_flags(argv)
    if hasattr(flags, "list_fields"):
        write(list_fields(flags.list_fields, terminal_of(sys.stdout)))
        return 0
    with ExitStack() as stack:
        adapt: Callable[[Settings], Settings] = _unchanged
        if hasattr(flags, "simulate"):
            # A mistake in the configuration shows before an engine is started.
            load_settings(argv, os.environ)
            adapt = stack.enter_context(simulated_engine(flags.simulate))

        def load() -> tuple[Settings, CounterSet]:
            settings = adapt(load_settings(argv, os.environ))
            counters = read_counter_set(settings.default_counters, settings.collectors)
            refuse_label_twice(settings, counters)
            return settings, counters

        return _run_mode(flags, load)


def _run_mode(flags: argparse.Namespace, load: Callable[[], tuple[Settings, CounterSet]]) -> int:
    settings, counter_set = load()
    if hasattr(flags, "check_config"):
        with progress() as tell:
            report, status = check_config(settings, counter_set, terminal_of(sys.stdout), tell)
        write(report)
        return status
    # Imported here, since they bring the whole machinery with them.
    if hasattr(flags, "once"):
        from do_dcgm_exporter.commands.once import run_once

        return run_once(settings, counter_set)
    from do_dcgm_exporter.service.service import run

    return run(settings, counter_set, load)


def _unchanged(settings: Settings) -> Settings:
    return settings
