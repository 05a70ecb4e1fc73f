"""What troubles have in common: what each acts upon, how long it lasts, how all of them end."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.clocks import Clocks
from tests.simulation.endpoint import Endpoint
from tests.simulation.engine import CALL_TIME, CallFault, Engine
from tests.simulation.scheduler import Scheduler

from dcgm_simulator.faults import covering
from dcgm_simulator.wire import Function

FIELDS = (54, 57, 100, 112, 150, 155, 156, 230, 252, 449, 1001, 1002)
"""Fields that go wrong one at a time: labels, the life sign, profiling and others."""
HARMLESS = frozenset(
    {"other_client", "other_client_gone", "xid", "health", "change_endpoint", "reconfigure"}
    | {"refuse_one", "slow_one", "willing_again"}
)
"""Troubles that take no value away."""
XID_CODES = (13, 31, 43, 79, 94, 120)


@dataclass
class Troubles:
    """Everything that can go wrong, most of it for a drawn time.

    ``bring_configuration`` reloads a good or a bad configuration.
    """

    generator: random.Random
    scheduler: Scheduler
    clocks: Clocks
    engine: Engine
    endpoint: Endpoint
    bring_configuration: Callable[[bool], None]
    tell: Callable[[str], None]
    interval: float
    has_bindings: bool = True
    is_over: bool = False
    calm_since: float | None = 0.0
    """True time since when nothing keeps the engine from answering, None while something does."""
    flaky: float = 0.0
    """The share of calls refused."""
    tampering: tuple[str, float] | None = None
    """What changes which share of the values that are read."""
    unwilling: dict[Function, CallFault] = field(default_factory=dict)
    """What befalls all calls of a function."""
    disturbances: int = 0
    """How many troubles have begun or ended that can take a value away."""
    clients: int = 0
    has_peaks: bool = False

    def make(self, kind: Trouble) -> None:
        """Let it happen, unless all is to be well from now on."""
        if not self.is_over:
            self.calm_since = None
            self._disturb(kind)
            kind(self)

    def _disturb(self, act: object) -> None:
        if getattr(act, "__name__", "") not in HARMLESS:
            self.disturbances += 1

    def look(self, client_version: str) -> None:
        """Find out whether the engine can be talked to."""
        engine = self.engine
        trouble = (
            engine.host is None
            or engine.is_hung
            or engine.refuses
            or engine.is_stalled
            or engine.call_time > CALL_TIME
            or engine.version != client_version
            or not self.has_bindings
            or self.flaky
            or self.tampering
        )
        if trouble:
            self.calm_since = None
        elif self.calm_since is None:
            self.calm_since = self.clocks.true()

    def spoils_values(self) -> bool:
        """Whether anything is the matter now that may take a value away."""
        return bool(self.engine.stuck) or self.spoils_all_values()

    def spoils_all_values(self) -> bool:
        """Whether anything is the matter now that may take all values of a GPU away."""
        host = self.engine.host
        if host is None or self.flaky or self.tampering:
            return True
        faults, now = host.faults, host.clock()
        spans = [span for fault in (faults.lost, faults.overrides) for span in fault.values()]
        broken = faults.driver_dead is not None or any(covering(s, now) for s in spans)
        return broken or not host.machine.layout.profiling

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Act later, unless all is to be well by then."""

        def unless_over() -> None:
            if not self.is_over:
                self.calm_since = None
                self._disturb(act)
                act()

        self.scheduler.at(seconds, unless_over)

    def some_time(self) -> float:
        """Draw how long a trouble lasts."""
        return self.generator.choice((0.05, 0.6, 1.0, 2.5)) * self.generator.uniform(
            0.5, 2 * self.interval
        )

    def heal(self, version: str) -> None:
        """End all trouble; an engine that can go on does, with its past."""
        self.is_over = True
        self.disturbances += 1
        self.flaky, self.tampering = 0.0, None
        self.unwilling.clear()
        self.has_bindings = True
        self.endpoint.behaviour = "200"
        engine, host = self.engine, self.engine.host
        anew = host is None or host.faults.driver_dead or self.generator.random() < 0.3
        if anew or engine.version != version:
            self.tell(f"all is well: the engine starts, {version}")
            engine.start(version)
        elif host is not None:
            self.tell("all is well: the engine goes on")
            host.faults.clear()
            host.incidents.clear()
            engine.go_on()
            engine.call_time = CALL_TIME
            engine.resume()
        self.calm_since = None


Trouble = Callable[[Troubles], None]
