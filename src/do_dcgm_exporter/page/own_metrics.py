"""Gather the exporter's own metrics and those of its process through prometheus_client.

Their names are fixed because alerts depend on them. Counters are passed to prometheus_client
as finished families, because its Counter adds ``_created`` series in the releases of Ubuntu
22.04 and Debian 12. exposition.py renders the families: prometheus_client's own renderers took
half of a cycle's CPU time.
"""

from __future__ import annotations

import logging
from collections import Counter as Tally
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from do_dcgm_exporter import __version__
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.sample_text import label_block
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.embedded_dcgm import EmbeddedDcgm
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.gpu_users import GpuUsers, GpuUses, families

_log = logging.getLogger(__name__)

_PREFIX = "do_dcgm_exporter_"


# eq=False because a registry identifies its collectors by identity.
@dataclass(slots=True, eq=False)
class Telemetry:
    """The state behind the exporter's own metrics; the publisher keeps it current."""

    calls: CallCount
    forward: ForwardStatistics
    embedded_dcgm: EmbeddedDcgm = field(default_factory=EmbeddedDcgm)
    gpu_users: GpuUsers = field(default_factory=GpuUsers)
    versions: Versions = field(default_factory=Versions)
    engine_up: bool = False
    last_reload_successful: bool = True
    web_config_complaint: str = ""
    last_success: float = 0.0
    collect_seconds: float = 0.0
    cycle: CycleResult | None = None
    gpu_uses: GpuUses | None = None
    dropped: Tally[Absence] = field(default_factory=Tally)
    _failing: set[str] = field(default_factory=set)

    def record(self, cycle: CycleResult, versions: Versions, seconds: float, now: float) -> None:
        """Record a cycle that took ``seconds`` and ended at ``now`` (Unix time)."""
        self.cycle = cycle
        self.versions = versions
        self.engine_up = True
        self.collect_seconds = seconds
        self.last_success = now
        self.dropped.update(cycle.dropped)

    def record_outage(self, engine_up: bool) -> None:
        """Forget the last cycle: what it found may no longer be true."""
        self.cycle = None
        self.engine_up = engine_up

    def collect(self) -> Iterator[Metric]:
        """Yield the exporter's own families (prometheus_client's collector protocol)."""
        for part in (
            self._machine,
            self._neighbours,
            self._users,
            self._collecting,
            self._counting,
        ):
            try:
                yield from list(part())
            except Exception:  # noqa: BLE001
                # Metrics about the exporter must never prevent a page.
                self._note_failure(part.__name__)

    def _note_failure(self, part: str) -> None:
        if part not in self._failing:
            self._failing.add(part)
            _log.exception("metrics about the exporter are missing (part=%s)", part.lstrip("_"))

    def _machine(self) -> Iterator[Metric]:
        cycle = self.cycle
        yield self._build_info(cycle.driver_version if cycle else "")
        yield _gauge("hostengine_up", "1 while the engine answers.", [((), self.engine_up)])
        yield _gauge("gpus", "GPUs that the engine knows.", [((), cycle.gpus if cycle else 0)])
        yield _gauge(
            "gpu_up",
            "1 while the driver answers for the GPU, 0 once it is lost.",
            [((str(gpu),), up) for gpu, up in (cycle.gpus_up if cycle else {}).items()],
            ["gpu"],
        )
        yield _gauge(
            "profiling_up",
            "1 while a GPU that offers profiling fields has values of them, 0 while it has none.",
            [((str(gpu),), up) for gpu, up in (cycle.profiling_up if cycle else {}).items()],
            ["gpu"],
        )

    def _build_info(self, driver_version: str) -> Metric:
        labels = {
            "version": __version__,
            "dcgm_client": self.versions.client,
            "hostengine": self.versions.engine,
            "driver": driver_version,
        }
        return _gauge(
            "build_info",
            "Versions: the exporter, DCGM's client library, the engine, the driver.",
            [(tuple(labels.values()), 1)],
            list(labels),
        )

    def _neighbours(self) -> Iterator[Metric]:
        embedded = self.embedded_dcgm.count()
        if embedded is not None:
            yield _gauge(
                "embedded_dcgm_processes",
                "Processes that run their own DCGM beside the engine, as last counted.",
                [((), embedded)],
            )

    def _users(self) -> Iterator[Metric]:
        self.gpu_uses = None
        if self.cycle:
            machine = self.cycle.machine
            self.gpu_uses = self.gpu_users.on(machine)
            if self.gpu_uses is not None:
                yield from families(self.gpu_uses, machine.roster.topology)

    def _collecting(self) -> Iterator[Metric]:
        outcomes = self.cycle.outcomes if self.cycle else ()
        yield _gauge(
            "collector_success",
            "1 if the collector worked in the last cycle.",
            [((outcome.name,), outcome.succeeded) for outcome in outcomes],
            ["collector"],
        )
        yield _gauge(
            "collector_duration_seconds",
            "Time the collector took in the last cycle.",
            [((outcome.name,), outcome.seconds) for outcome in outcomes],
            ["collector"],
        )
        yield _gauge(
            "collect_duration_seconds",
            "Time the last successful cycle took.",
            [((), self.collect_seconds)],
        )
        yield _gauge(
            "last_success_timestamp_seconds",
            "Unix time of the last successful cycle, 0 before the first.",
            [((), self.last_success)],
        )

    def _counting(self) -> Iterator[Metric]:
        yield _counter(
            "values_dropped",
            "Values asked for and not exported, by reason.",
            [((reason.value,), self.dropped[reason]) for reason in Absence],
            ["reason"],
        )
        yield _counter(
            "forward_attempts",
            "Attempts to post a page to the DigitalOcean endpoint, by result.",
            [((result.value,), count) for result, count in self.forward.counts.items()],
            ["result"],
        )
        yield _gauge(
            "forward_last_success_timestamp_seconds",
            "Unix time of the last page the endpoint took, 0 before the first.",
            [((), self.forward.last_success or 0.0)],
        )
        yield _gauge(
            "config_last_reload_successful",
            "1 unless the last reload was refused.",
            [((), self.last_reload_successful and not self.web_config_complaint)],
        )
        yield _counter("engine_calls", "Calls made to the engine.", [((), self.calls.calls)])


class TelemetryRegistry:
    """The exporter's own families and those of its process."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._registry = CollectorRegistry()
        self._registry.register(telemetry)
        ProcessCollector(registry=self._registry)

    def families(self) -> tuple[Family, ...]:
        """Return all families with their current values."""
        gathered = (_family(metric) for metric in self._registry.collect())
        cycle = self._telemetry.cycle
        return (*gathered, _nvlink_family(tuple(cycle.nvlink_states.items()) if cycle else ()))


@lru_cache(maxsize=1)
def _nvlink_family(states: tuple[tuple[tuple[int, int], int], ...]) -> Family:
    """Render the state of each link of each GPU.

    With eight GPUs these are most of the exporter's own samples, and they rarely change.
    """
    return _family(
        _gauge(
            "nvlink_state",
            "State of a GPU's NVLink: 1 disabled, 2 down, 3 up.",
            [((str(gpu), str(link)), state) for (gpu, link), state in states],
            ["gpu", "nvlink"],
        )
    )


def _family(metric: Metric) -> Family:
    suffix = "_total" if metric.type == "counter" else ""
    return Family(
        metric.name + suffix,
        MetricType(metric.type),
        metric.documentation,
        tuple(
            Sample(label_block(tuple(sample.labels.items())), _number(sample.value))
            for sample in metric.samples
        ),
    )


def _number(value: float) -> str:
    number = float(value)  # process metrics come as int
    return str(int(number)) if number.is_integer() else repr(number)


_Samples = Iterable[tuple[tuple[str, ...], float]]


def _gauge(name: str, text: str, samples: _Samples, labels: Iterable[str] = ()) -> Metric:
    return _filled(GaugeMetricFamily(_PREFIX + name, text, labels=list(labels)), samples)


def _counter(name: str, text: str, samples: _Samples, labels: Iterable[str] = ()) -> Metric:
    return _filled(CounterMetricFamily(_PREFIX + name, text, labels=list(labels)), samples)


def _filled(
    family: GaugeMetricFamily | CounterMetricFamily, samples: _Samples
) -> GaugeMetricFamily | CounterMetricFamily:
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family
