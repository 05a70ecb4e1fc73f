"""``--once``: one page to standard output."""

from __future__ import annotations

import socket
import sys
import time
from dataclasses import replace

from do_dcgm_exporter.commands.one_shot import read_once
from do_dcgm_exporter.commands.output import write, write_bytes
from do_dcgm_exporter.commands.progress import progress
from do_dcgm_exporter.commands.terminal import terminal_of
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.health import health_of
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publisher import Publisher


class NotHealthy(ExporterError):
    """Raised when the page was made but does not hold what it should."""


def run_once(configuration: Configuration) -> int:
    """Print the page of one cycle; 0 if it is whole. Raises ExporterError otherwise.

    On a terminal it is printed for people, into a pipe as a scraper would get it.
    """
    terminal = terminal_of(sys.stdout)
    calls = CallCount()
    publisher = Publisher(Telemetry(calls, ForwardStatistics()))
    cycle = publisher.begin_cycle()
    # Without the status page, what it shows is not kept.
    shown = replace(configuration.settings, status_page=terminal is not None)
    with progress() as tell:
        found = read_once(Configuration(shown, configuration.counters), calls, tell=tell)
    health = health_of(found.result, found.session.topology)
    versions = found.session.engine.versions
    simulated = found.session.engine.bindings.simulated
    publisher.publish_result(cycle, found.result, versions, health, simulated)
    page = publisher.publication.page
    if terminal is None:
        write_bytes(page.text.plain)
    else:
        from do_dcgm_exporter.commands.once_text import once_text

        # Nothing is forwarded or scraped here.
        view = View(page, replace(shown, forward=False), time.time(), socket.gethostname())
        write(once_text(terminal, view, configuration.counters))
    for sentence in found.session.selection.missing:
        print(f"do-dcgm-exporter: {sentence}", file=sys.stderr)
    if not health.healthy:
        raise NotHealthy(health.reason)
    return 0
