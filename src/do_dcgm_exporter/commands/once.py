"""``--once``: print one page."""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from do_dcgm_exporter.collect.samples import Family
from do_dcgm_exporter.commands.once_text import once_text
from do_dcgm_exporter.commands.one_shot import read_once
from do_dcgm_exporter.commands.output import write, write_bytes
from do_dcgm_exporter.commands.progress import progress
from do_dcgm_exporter.commands.terminal import Terminal, terminal_of
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.recording import Recording
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.explain.view import View
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.health import health_of
from do_dcgm_exporter.page.own_metrics import Telemetry, TelemetryRegistry
from do_dcgm_exporter.page.publication import Page
from do_dcgm_exporter.page.publisher import Publisher


class NotHealthy(ExporterError):
    """Raised when the page was made but is incomplete."""


def run_once(configuration: Configuration, recording: Recording | None = None) -> int:
    """Print the page of one cycle; return 0 if it is complete. Raises ExporterError otherwise.

    A terminal gets it laid out for reading, a pipe as a scraper would; ``recording`` gets what
    the engine answers.
    """
    terminal = terminal_of(sys.stdout)
    # Only people are shown the state that the status page needs.
    settings = replace(configuration.settings, status_page=terminal is not None)
    configuration = configuration._replace(settings=settings)
    telemetry = Telemetry(CallCount(), ForwardStatistics())
    publisher = Publisher(telemetry)
    cycle = publisher.begin_cycle()
    with progress() as tell:
        found = read_once(configuration, telemetry.calls, tell=tell, recording=recording)
    health = health_of(found.result, found.session.topology)
    engine = found.session.engine
    simulated = engine.bindings.simulated
    publisher.publish_result(cycle, found.result, engine.versions, health, simulated)
    page = publisher.publication.page
    if terminal is None:
        write_bytes(page.text.plain)
    else:
        families = (*found.result.snapshot.families, *TelemetryRegistry(telemetry).families())
        write(_text(terminal, page, families, configuration))
    for sentence in found.session.selection.missing:
        print(f"do-dcgm-exporter: {sentence}", file=sys.stderr)
    if not health.healthy:
        raise NotHealthy(health.reason)
    return 0


def _text(
    terminal: Terminal, page: Page, families: Sequence[Family], configuration: Configuration
) -> str:
    settings, counters = configuration
    # Nothing is forwarded or scraped here.
    view = View(page, replace(settings, forward=False), time.time(), socket.gethostname())
    return once_text(terminal, view, families, counters)
