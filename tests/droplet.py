"""A simulated droplet in one process, for its status page; only the test moves its clock.

The engine is a real process with a manual clock; agent, publisher and status page are the real
ones. A quarter of an hour passes in a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace

from tests.builders import Bench, Clock, configuration, fresh_bindings

from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.settings import Configuration, ListenAddress, Settings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.page.forwarding import ForwardResult, ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.serve.scrape_log import ScrapeLog
from do_dcgm_exporter.serve.server import MetricsServer
from do_dcgm_exporter.serve.status_page.document import document
from do_dcgm_exporter.serve.status_page.route import StatusPage
from do_dcgm_exporter.service.agent import Agent

_INTERVAL = 20.0


@dataclass
class TickingClock(Clock):
    """A clock on which reading the machine takes a few milliseconds."""

    def __call__(self) -> float:
        self.now += 0.004
        return self.now


@dataclass
class Droplet:
    """An exporter on a simulated machine. ``clock`` is the time since it started."""

    bench: Bench
    configured: Configuration
    clock: Clock = field(default_factory=TickingClock)
    statistics: ForwardStatistics = field(default_factory=ForwardStatistics)
    at_close: ExitStack = field(default_factory=ExitStack)

    def __post_init__(self) -> None:
        calls = CallCount()
        self.scrapes = ScrapeLog(self.unix_time)
        self.publisher = Publisher(
            Telemetry(calls, self.statistics), clock=self.clock, wall_clock=self.unix_time
        )
        self.agent = Agent(
            self.configured,
            self.publisher,
            calls,
            clock=self.clock,
            wall_clock=self.unix_time,
            boot_clock=lambda: self.clock.now,
        )
        self.agent._bindings = self.bench.bindings
        self.page = StatusPage(
            self.publisher.publication,
            self.settings,
            self.statistics,
            self.scrapes,
            self.unix_time,
        )

    @property
    def settings(self) -> Settings:
        """Its settings."""
        return self.configured.settings

    def unix_time(self) -> float:
        """The time of day on this machine."""
        return self.bench.now

    def cycle(self) -> None:
        """Read once, now."""
        self.agent.cycle()

    def pass_time(self, seconds: float) -> None:
        """Let time pass for engine and exporter, without reading."""
        self.bench.pass_time(seconds)
        self.clock.now += seconds

    def run(self, seconds: float, *, scraped_by: str = "Prometheus/2.53.0") -> None:
        """Let time pass; read, be scraped and forward at the interval."""
        for _ in range(round(seconds / _INTERVAL)):
            self.pass_time(_INTERVAL)
            self.cycle()
            self.scrapes.note(scraped_by)
            if self.settings.forward and not self.statistics.complaint:
                self.statistics.count(ForwardResult.SUCCESS, self.unix_time())

    def documents(self) -> dict[str, str]:
        """The page as it is now, in both kinds."""
        view = self.page.view()
        return {
            "live": document(view, is_live=True),
            "paused": document(view, is_live=False),
        }

    def with_interval(self, seconds: float) -> Settings:
        """Its settings with another interval."""
        return replace(self.settings, collect_interval=seconds)

    def control(self, *arguments: str) -> None:
        """Make something go wrong, as ``dcgm-simulator control`` would."""
        self.bench.engine.control(*arguments)

    def hang(self) -> None:
        """The engine answers nobody, until the supervisor has given up on it."""
        self.publisher.begin_cycle()
        # The supervisor looks more than once: if no call ends between two looks, the engine is
        # silent rather than slow.
        assert not self.publisher.abandon_cycle_after(_INTERVAL)
        self.clock.now += _INTERVAL
        assert self.publisher.abandon_cycle_after(_INTERVAL)

    def lose_engine(self) -> None:
        """Kill the engine, notice it, and find none on the next attempt."""
        self.bench.engine.kill()
        self.cycle()
        self.cycle()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serve everything as the program would; yield the URL."""
        server = MetricsServer(
            ListenAddress("127.0.0.1", 0),
            self.publisher.publication,
            routes=self.page.routes(),
            scrapes=self.scrapes,
        )
        server.start()
        try:
            yield f"http://127.0.0.1:{server.port}/"
        finally:
            server.stop()

    def close(self) -> None:
        """End it, and its engine."""
        self.at_close.close()
        self.agent._close_session()
        self.bench.close()


@contextmanager
def droplet(
    scenario: str = "h100x8",
    version: str = "4.6.0",
    *,
    client: str = "",
    counters: tuple[str, ...] = (),
    **changes: object,
) -> Iterator[Droplet]:
    """A droplet that has read a few times and has profiling values.

    ``counters`` are lines of a counters file, used instead of the default set.
    """
    bench = Bench.start(scenario, version, fresh_bindings(client or version))
    engine = parse_engine_address(bench.engine.address)
    changes = {"forward_url": "http://127.0.0.1:9/v1/gpu_metrics", "engine": engine, **changes}
    made = Droplet(bench, configuration(*counters, **changes))
    try:
        made.cycle()
        for _ in range(3):
            made.pass_time(1.0)
            made.cycle()
        yield made
    finally:
        made.close()
