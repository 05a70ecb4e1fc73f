"""One simulated run: the service on virtual clocks, threads, wires and sockets."""

from __future__ import annotations

import logging
import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import urllib3.util.connection
from tests.builders import counter_set, settings, simulated_bindings
from tests.simulation.clocks import Clocks
from tests.simulation.endpoint import Endpoint
from tests.simulation.engine import CallFault, Engine
from tests.simulation.invariants import Invariants
from tests.simulation.ledger import Ledger
from tests.simulation.nemesis import Nemesis
from tests.simulation.scheduler import Ended, Scheduler, threading_of
from tests.simulation.troubles import XID_CODES, Trouble, Troubles

from dcgm_simulator.codes import EntityGroup
from dcgm_simulator.machine import Entity, Layout
from dcgm_simulator.versions import VERSIONS
from dcgm_simulator.wire import Function
from do_dcgm_exporter.config.counters import CounterSet
from do_dcgm_exporter.config.settings import Configuration, Settings
from do_dcgm_exporter.dcgm import side_call
from do_dcgm_exporter.dcgm.bindings import Bindings, BindingsError
from do_dcgm_exporter.dcgm.side_call import HARDWARE_CHANGES
from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.forward import endpoint as forward_attempt
from do_dcgm_exporter.forward import forwarder
from do_dcgm_exporter.page import own_metrics as telemetry
from do_dcgm_exporter.page import publisher
from do_dcgm_exporter.page.publication import Page, Publication
from do_dcgm_exporter.service import agent, service, supervisor

TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP, gauge, x"
PROFILING = "DCGM_FI_PROF_SM_ACTIVE, gauge, x"
CHOSEN = (
    PROFILING,
    "DCGM_FI_DRIVER_VERSION, label, x",
    "DCGM_FI_DEV_UUID, label, x",
    "DCGM_FI_DEV_POWER_USAGE, gauge, x",
    "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION, counter, x",
    "DCGM_FI_DEV_FB_USED, gauge, x",
    "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL, gauge, x",
    "DCGM_FI_DEV_CLOCK_THROTTLE_REASONS, gauge, x",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE, gauge, x",
    "DCGM_FI_DEV_XID_ERRORS, gauge, x",
    "DCGM_EXP_XID_ERRORS_COUNT, gauge, x",
    "DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS, gauge, x",
    "DCGM_EXP_CLOCK_EVENTS_COUNT, gauge, x",
    "DCGM_EXP_CLOCK_EVENTS_TOTAL, counter, x",
    "DCGM_EXP_GPU_HEALTH_STATUS, gauge, x",
    "DCGM_EXP_P2P_STATUS, gauge, x",
    "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP_NS, counter, x",
)
ALWAYS = (TEMPERATURE, "DCGM_EXP_XID_ERRORS_TOTAL, counter, x")
"""What every configuration has."""


@dataclass
class Outcome:
    """How a run ended; ``failure`` is empty if all held."""

    seed: int
    failure: str
    trace: list[str]


class _Server:
    """Stands where the web server does; what it would serve is looked at directly."""

    port = 9401

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def secure(self, security: object) -> None:
        pass

    def is_alive(self, within: float) -> bool:
        return within > 0


@dataclass
class World:
    """Everything of one run, made from its seed, with all kinds of trouble or ``only`` some."""

    seed: int
    only: Sequence[Trouble] = ()
    trace: list[str] = field(default_factory=list)
    slept_before: float = 0.0
    cycle_began_at: float = 0.0

    def __post_init__(self) -> None:
        draw = self.generator = random.Random(self.seed)
        self.clocks = Clocks()
        self.scheduler = Scheduler(self.clocks, draw)
        self.ledger = Ledger(self.clocks)
        self.interval = draw.choice((1.0, 5.0, 20.0))
        self.client_version = draw.choice(VERSIONS)
        self.endpoint = Endpoint(self.scheduler, self._posted)
        self.engine = Engine(
            self.scheduler,
            self.clocks,
            self.ledger,
            Layout(
                gpus=draw.choice((1, 2)),
                cut=draw.choice(((), (0,))),
                profiling=draw.random() < 0.85,
            ),
            self.client_version,
            draw.randrange(10**6),
            self.tell,
            self._fault_at,
        )
        self.troubles = Troubles(
            draw,
            self.scheduler,
            self.clocks,
            self.engine,
            self.endpoint,
            self._ask_for_reload,
            self.tell,
            self.interval,
        )
        self.nemesis = Nemesis(draw, self.scheduler, self.troubles, self.only)
        self.bindings = simulated_bindings(self.client_version)
        self.invariants = Invariants(self)
        self.configuration = self._read_good()
        self._reloads: list[bool] = []

    # What the rooms stand on

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Give the rooms this run's clocks, threads, wires and sockets."""
        clocks = {"clock": self.clocks.monotonic, "wall_clock": self.clocks.wall}
        threads = threading_of(self.scheduler)
        library = self.bindings.structs._LIBRARY
        forwarders = partial(
            forwarder.Forwarder,
            clock=self.clocks.monotonic,
            unix_time=self.clocks.wall,
            jitter=self.generator.uniform,
        )
        with ExitStack() as stack:
            put = lambda room, **names: stack.enter_context(  # noqa: E731
                mock.patch.multiple(room, **names)
            )
            for room in (agent, supervisor, forwarder, side_call):
                put(room, threading=threads)
            put(forward_attempt, threading=threads, boot_time=self.clocks.true)
            put(urllib3.util.connection, socket=self.endpoint.sockets())
            put(agent, load_bindings=self._load_bindings, random=self.generator)
            put(library, dial=self.engine.dial, _connections={}, _initialized=True)
            put(
                service,
                Agent=partial(self._agent_class(), **clocks, boot_clock=self.clocks.true),
                Publisher=partial(self._publisher_class(), **clocks, boot_clock=self.clocks.true),
                Supervisor=partial(supervisor.Supervisor, clock=self.clocks.monotonic),
                Forwarder=forwarders,
                MetricsServer=_Server,
                set_up_logging=lambda _: None,
            )
            put(publisher, Publication=self._publication_class())
            put(telemetry, ProcessCollector=lambda registry: None)  # of this one's process
            watcher = _LogWatcher(self.invariants)
            log = logging.getLogger("do_dcgm_exporter")
            propagates, log.propagate = log.propagate, False
            log.addHandler(watcher)
            try:
                yield
            finally:
                log.removeHandler(watcher)
                log.propagate = propagates
                library._connections.clear()

    def _load_bindings(self, _directory: Path | None) -> Bindings:
        if not self.troubles.has_bindings:
            raise BindingsError("there are no bindings: install datacenter-gpu-manager-4-core")
        return self.bindings

    def _agent_class(world) -> type[agent.Agent]:  # noqa: N805
        class ObservedAgent(agent.Agent):
            def cycle(self) -> float:
                world.slept_before = world.clocks.slept
                world.cycle_began_at = world.clocks.true()
                pause = super().cycle()
                world.hold(world.invariants.after_cycle, self)
                return pause

            def _read(self) -> Any:
                result = super()._read()
                world.ledger.confirm()
                return result

        return ObservedAgent

    @property
    def slept_in_cycle(self) -> float:
        """How long the machine has slept since the cycle began."""
        return self.clocks.slept - self.slept_before

    def _publisher_class(world) -> type[publisher.Publisher]:  # noqa: N805
        """Other threads may run right before anything is published."""

        def yielding(method: Callable[..., Any]) -> Callable[..., Any]:
            def call(self: Any, *arguments: Any) -> Any:
                if not world.troubles.is_over and world.generator.random() < 0.1:
                    world.troubles.calm_since = None
                    world.scheduler.sleep(world.generator.choice((0.0, 0.0, 1.0, 3.0)))
                return method(self, *arguments)

            return call

        class YieldingPublisher(publisher.Publisher):
            begin_cycle = yielding(publisher.Publisher.begin_cycle)
            publish_result = yielding(publisher.Publisher.publish_result)
            publish_outage = yielding(publisher.Publisher.publish_outage)

        return YieldingPublisher

    def _publication_class(world) -> type[Publication]:  # noqa: N805
        class ObservedPublication(Publication):
            def publish(self, page: Page) -> None:
                super().publish(page)
                world.hold(world.invariants.published, page)

        return ObservedPublication

    # What happens

    def _fault_at(self, function: Function) -> CallFault | None:
        return self.nemesis.fault_at(function)

    def tell(self, what: str) -> None:
        """Add to the trace."""
        clocks = self.clocks
        self.trace.append(f"{clocks.true():10.3f} {self.scheduler.current.name:10} {what}")

    def hold(self, check: Callable[[Any], None], subject: Any) -> None:
        """Check; a failure ends the run where a room might have caught it."""
        try:
            check(subject)
        except AssertionError as error:
            self.scheduler.fail(error)
            raise Ended from error

    def run(self) -> Outcome:
        """Run it to its end."""
        failure = ""
        descriptors = len(os.listdir("/proc/self/fd"))
        with self.installed():
            try:
                self._drive()
            except Ended:
                pass
            except Exception as error:  # noqa: BLE001 - whatever it is, the seed shows it again
                self.scheduler.fail(error)
            finally:
                self.scheduler.end()
        if len(os.listdir("/proc/self/fd")) != descriptors:
            self.scheduler.fail(AssertionError("file descriptors are left open"))
        if self.scheduler.violation is not None:
            failure = f"{type(self.scheduler.violation).__name__}: {self.scheduler.violation}"
            self.tell(failure)
        return Outcome(self.seed, failure, self.trace)

    def _drive(self) -> None:
        """What the main thread does: start, wait for signals, stop."""
        self.tell(
            f"client {self.client_version}, {self.engine.layout}, interval {self.interval:g} s"
        )
        if self.generator.random() < 0.9:
            self.engine.start()
            self._have_xids_before_the_start()
        self.service = service.Service(self.configuration)
        self.service.start()
        duration = self.interval * self.generator.uniform(3, 12)
        self.nemesis.plan(duration)
        self._watch_for(duration)
        self.nemesis.heal(self.client_version)
        self._watch_for_the_end_of_it()
        self.invariants.must_be_whole()
        self.invariants.all_counted()
        self.service.stop()
        self.scheduler.sleep(60.0)  # a resolver may still not have answered
        self.invariants.nothing_left()

    def _have_xids_before_the_start(self) -> None:
        """Give the engine a past in some runs. Drawn apart: the others stay as they were."""
        draw = random.Random(f"{self.seed} before the start")
        host = self.engine.host
        if host is None or draw.random() < 0.8:
            return
        gpu, code = draw.randrange(self.engine.layout.gpus), draw.choice(XID_CODES)
        self.tell(f"XID {code} on GPU {gpu}, before the exporter starts")
        entity = Entity(EntityGroup.GPU, gpu)
        times = host.xids.report(entity, code, host.clock())
        self.ledger.from_before |= {(self.engine.life, entity, time) for time in times}
        self.scheduler.sleep(draw.uniform(3.0, 30.0))  # later than a second report

    def _watch_for_the_end_of_it(self) -> None:
        """Watch until the page is whole, but for what is asked for again every five minutes."""
        for _ in range(3):
            self._watch_for(2 * self.interval + HARDWARE_CHANGES + 2.0)
            if self.invariants.is_whole():
                return
        self.tell("the process stands still for five minutes")
        self.clocks.advance_to(self.clocks.monotonic() + 300.0)
        self._watch_for(3 * self.interval + 8.0)

    def _watch_for(self, seconds: float) -> None:
        """Obey signals and look at the newest page, as a scraper does, until the time is up."""
        ends = self.clocks.monotonic() + seconds
        while self.clocks.monotonic() < ends:
            self.scheduler.sleep(min(1.5, ends - self.clocks.monotonic()))
            while self._reloads:
                self._reload(self._reloads.pop(0))
            self.troubles.look(self.client_version)
            self.invariants.scraped(self.service._publisher.publication.page)

    def _ask_for_reload(self, good: bool) -> None:
        self._reloads.append(good)

    def _reload(self, good: bool) -> None:
        self.service.reload(self._read_good if good else self._read_bad)
        self.configuration = self.service._configuration
        self.invariants.reloaded(good)

    def _read_good(self) -> Configuration:
        return Configuration(self._drawn_settings(), self._drawn_counters())

    def _read_bad(self) -> Configuration:
        raise ConfigurationError("exporter.conf:3: collect-interval: 7x is not a number")

    def _drawn_settings(self) -> Settings:
        draw = self.generator
        return settings(
            collect_interval=self.interval,
            stale_after=3 * self.interval,
            xid_zero_fill=draw.random() < 0.8,
            show_hostname=False,
            forward=draw.random() < 0.5,
            forward_url="http://localhost:9/v1/gpu_metrics",
            forward_interval=draw.choice((5.0, 20.0)),
            forward_timeout=draw.choice((1.0, 5.0)),
            log_level="debug",
        )

    def _drawn_counters(self) -> CounterSet:
        chosen = [line for line in CHOSEN if self.generator.random() < 0.5]
        return counter_set(*ALWAYS, *chosen)

    def _posted(self, body: bytes, behaviour: str) -> None:
        self.tell(f"{len(body)} bytes are posted, endpoint: {behaviour}")
        self.hold(self.invariants.posted, body)


class _LogWatcher(logging.Handler):
    """Shows the invariants what is logged."""

    def __init__(self, invariants: Invariants) -> None:
        super().__init__()
        self._invariants = invariants

    def emit(self, record: logging.LogRecord) -> None:
        self._invariants.logged(record)


def run(seed: int, only: Sequence[Trouble] = ()) -> Outcome:
    """Run the schedule of ``seed``, of all kinds of trouble or ``only`` some."""
    return World(seed, only).run()
