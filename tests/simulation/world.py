"""One simulated run: the service on virtual clocks, threads, wires and sockets."""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.builders import simulated_bindings
from tests.simulation.clocks import Clocks
from tests.simulation.configurations import draw_configuration
from tests.simulation.endpoint import Endpoint
from tests.simulation.engine import CallFault, Engine
from tests.simulation.invariants import Invariants
from tests.simulation.ledger import Ledger
from tests.simulation.nemesis import Nemesis
from tests.simulation.rooms import installed
from tests.simulation.scheduler import Ended, Scheduler
from tests.simulation.troubles import XID_CODES, Trouble, Troubles

from dcgm_simulator.codes import EntityGroup
from dcgm_simulator.host import Host
from dcgm_simulator.layouts import Layout
from dcgm_simulator.machine import Entity
from dcgm_simulator.versions import VERSIONS
from dcgm_simulator.wire import Function
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.side_call import HARDWARE_CHANGES
from do_dcgm_exporter.errors import ConfigurationError
from do_dcgm_exporter.service import service

_SHARE_WITH_PEAKS = 0.3


@dataclass
class Outcome:
    """How a run ended; ``failure`` is empty if all held."""

    seed: int
    failure: str
    trace: list[str]


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
        # Drawn apart: the runs without peaks stay as they were.
        apart = random.Random(f"{self.seed} peaks")
        self._peaks = apart if apart.random() < _SHARE_WITH_PEAKS else None
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
            self._note_summary,
            self._note_samples,
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
            has_peaks=self._peaks is not None,
        )
        self.nemesis = Nemesis(draw, self.scheduler, self.troubles, self.only)
        self.bindings = simulated_bindings(self.client_version)
        self.invariants = Invariants(self)
        self.configuration = self._read_good()
        self._reloads: list[bool] = []

    @property
    def slept_in_cycle(self) -> float:
        """How long the machine has slept since the cycle began."""
        return self.clocks.slept - self.slept_before

    def _note_summary(self, host: Host, asked: list[int]) -> None:
        self.invariants.peaks.note(host, asked)

    def _note_samples(self, body: bytes) -> None:
        self.invariants.energy.note(body)

    def _fault_at(self, function: Function) -> CallFault | None:
        return self.nemesis.fault_at(function)

    def tell(self, what: str) -> None:
        """Add to the trace."""
        clocks = self.clocks
        self.trace.append(f"{clocks.true():10.3f} {self.scheduler.current.name:10} {what}")

    def hold(self, check: Callable[[Any], None], subject: Any) -> None:
        """Check an invariant; a failure ends the run even if a room catches the exception."""
        try:
            check(subject)
        except AssertionError as error:
            self.scheduler.fail(error)
            raise Ended from error

    def run(self) -> Outcome:
        """Run it to its end."""
        failure = ""
        descriptors = len(os.listdir("/proc/self/fd"))
        with installed(self):
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
        """Do what the main thread does: start, wait for signals, stop."""
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
        """Watch until the page is complete, except for what is retried every five minutes."""
        for _ in range(3):
            self._watch_for(2 * self.interval + HARDWARE_CHANGES + 2.0)
            if self.invariants.is_whole():
                return
        self.tell("the process stands still for five minutes")
        self.clocks.advance_to(self.clocks.monotonic() + 300.0)
        self._watch_for(3 * self.interval + 8.0)

    def _watch_for(self, seconds: float) -> None:
        """Handle signals and scrape the newest page until the time is up."""
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
        return draw_configuration(self.generator, self.interval, self._peaks)

    def _read_bad(self) -> Configuration:
        raise ConfigurationError("exporter.conf:3: collect-interval: 7x is not a number")

    def _posted(self, body: bytes, behaviour: str) -> None:
        self.tell(f"{len(body)} bytes are posted, endpoint: {behaviour}")
        self.hold(self.invariants.posted, body)


def run(seed: int, only: Sequence[Trouble] = ()) -> Outcome:
    """Run the schedule of ``seed``, of all kinds of trouble or ``only`` some."""
    return World(seed, only).run()
