"""``--once``: one page to standard output."""

from __future__ import annotations

import sys

from do_dcgm_exporter.counters import CounterSet
from do_dcgm_exporter.dcgm.hostengine import CallCount
from do_dcgm_exporter.errors import ExporterError
from do_dcgm_exporter.forward_statistics import ForwardStatistics
from do_dcgm_exporter.health import health_of
from do_dcgm_exporter.one_shot import read_once
from do_dcgm_exporter.publisher import Publisher
from do_dcgm_exporter.run_configuration import Configuration
from do_dcgm_exporter.settings import Settings
from do_dcgm_exporter.telemetry import Telemetry


class NotHealthy(ExporterError):
    """Raised when the page was made but does not hold what it should."""


def run_once(settings: Settings, counters: CounterSet) -> int:
    """Print the page of one cycle; 0 if it is whole. Raises ExporterError otherwise."""
    calls = CallCount()
    publisher = Publisher(Telemetry(calls, ForwardStatistics()))
    cycle = publisher.begin_cycle()
    found = read_once(Configuration(settings, counters), calls)
    health = health_of(found.result, found.session.topology)
    versions = found.session.engine.versions
    simulated = found.session.engine.bindings.simulated
    publisher.publish_result(cycle, found.result, versions, health, simulated)
    sys.stdout.buffer.write(publisher.publication.page.text.plain)
    sys.stdout.flush()
    for sentence in found.session.selection.missing:
        print(f"do-dcgm-exporter: {sentence}", file=sys.stderr)
    if not health.healthy:
        raise NotHealthy(health.reason)
    return 0
