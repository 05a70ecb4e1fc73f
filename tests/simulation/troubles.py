"""What can go wrong in a simulated run: with the engine, the machine, clocks and all the rest."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.simulation.clocks import Clocks
from tests.simulation.endpoint import Endpoint, any_behaviour
from tests.simulation.engine import CALL_TIME, CallFault, Engine
from tests.simulation.ledger import LIFE_SIGN
from tests.simulation.scheduler import Scheduler
from tests.simulation.tampering import CHANGES, VALUE_STATUSES

from dcgm_simulator.codes import EntityGroup, Sentinel, Status, sentinel
from dcgm_simulator.control import command_health
from dcgm_simulator.faults import Override, covering
from dcgm_simulator.fields import XID
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import NEVER, Watch
from dcgm_simulator.versions import VERSIONS
from dcgm_simulator.wire import Function
from do_dcgm_exporter.dcgm.side_call import HARDWARE_CHANGES

FIELDS = (54, 57, 100, 112, 150, 155, 156, 230, 252, 449, 1001, 1002)
"""Those of single values that go wrong: labels, the life sign, profiling and others."""
CUTS = ((), ("3g.40gb",), ("1g.10gb", "1g.10gb"), ("2g.20gb", "3g.40gb"), ("7g.80gb",))
FIRST_CLIENT = 1_000_000
"""Connections of other clients have numbers from here on."""
HARMLESS = frozenset(
    {"other_client", "other_client_gone", "xid", "health", "change_endpoint", "reconfigure"}
    | {"refuse_one", "slow_one", "willing_again"}
)
"""What takes no value away."""
SIDE_FUNCTIONS = (
    Function.HEALTH_CHECK,
    Function.HEALTH_SET,
    Function.GET_NVLINK_LINK_STATUS,
    Function.GET_NVLINK_P2P_STATUS,
    Function.GET_GPU_INSTANCE_HIERARCHY,
    Function.GET_ENTITY_GROUP_ENTITIES,
)
"""What only one source needs."""
XID_CODES = (13, 31, 43, 79, 94, 120)


@dataclass
class Troubles:
    """Everything that can go wrong, most of it for a drawn time.

    ``bring_configuration`` lets a reload come, of a good or a bad one.
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
    """The share of calls that are refused."""
    tampering: tuple[str, float] | None = None
    """What changes which share of the values that are read."""
    unwilling: dict[Function, CallFault] = field(default_factory=dict)
    """What befalls all calls of a function."""
    disturbances: int = 0
    """How many troubles have begun or ended that can take a value away."""
    _clients: int = 0

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

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        def unless_over() -> None:
            if not self.is_over:
                self.calm_since = None
                self._disturb(act)
                act()

        self.scheduler.at(seconds, unless_over)

    def _some_time(self) -> float:
        return self.generator.choice((0.05, 0.6, 1.0, 2.5)) * self.generator.uniform(
            0.5, 2 * self.interval
        )

    # The engine's process

    def kill(self) -> None:
        version = ""
        if self.generator.random() < 0.3:
            version = self.generator.choice(VERSIONS)
        self.tell("the engine is killed")
        self.engine.kill()
        self._later(self._some_time(), lambda: self.start(version))

    def start(self, version: str) -> None:
        self.tell(f"the engine starts {version}")
        self.engine.start(version)

    def drop(self) -> None:
        self.tell("the engine drops all connections")
        self.engine.drop()

    def hang(self) -> None:
        self.tell("the engine hangs")
        self.engine.hang()
        seconds = self.generator.choice((self._some_time(), self._some_time(), 70.0))
        self._later(seconds, self.resume)

    def resume(self) -> None:
        self.tell("the engine goes on")
        self.engine.resume()

    def refuse(self) -> None:
        self.tell("the engine refuses connections")
        self.engine.refuses = True
        self.engine.drop()
        self._later(self._some_time(), self.resume)

    def slow(self) -> None:
        self.engine.call_time = self.generator.choice((0.01, 0.1, 0.4, 1.5))
        self.tell(f"the engine takes {self.engine.call_time} s for a call")
        self._later(self._some_time(), self.quick)

    def quick(self) -> None:
        self.tell("the engine is quick again")
        self.engine.call_time = CALL_TIME

    def flake(self) -> None:
        self.flaky = self.generator.choice((0.005, 0.05, 0.3, 1.0))
        self._later(self._some_time(), self.steady)

    def steady(self) -> None:
        self.tell("calls are refused no more")
        self.flaky = 0.0

    def refuse_one(self) -> None:
        function = self._side_function()
        status = self.generator.choice((-12, -3, -17))
        self.tell(f"{function.name.lower()} is refused with {status} for a while")
        self._unwilling(function, CallFault(refused=status))

    def slow_one(self) -> None:
        function, seconds = self._side_function(), self.generator.choice((1.0, 45.0))
        self.tell(f"{function.name.lower()} takes {seconds} s for a while")
        self._unwilling(function, CallFault(delay=seconds))

    def _side_function(self) -> Function:
        """Draw a function; where there are instances, often the one that tells of them."""
        has_instances = self.engine.host is not None and self.engine.host.machine.instances
        if has_instances and self.generator.random() < 0.5:
            return Function.GET_GPU_INSTANCE_HIERARCHY
        return self.generator.choice(SIDE_FUNCTIONS)

    def _unwilling(self, function: Function, fault: CallFault) -> None:
        self.unwilling[function] = fault

        def willing_again() -> None:
            self.tell(f"{function.name.lower()} is answered again")
            self.unwilling.pop(function, None)

        self._later(HARDWARE_CHANGES + self._some_time(), willing_again)

    def garble(self) -> None:
        self.tampering = self.generator.choice(list(CHANGES)), self.generator.choice((0.1, 1.0))
        self._later(self._some_time(), self.clear)

    def clear(self) -> None:
        self.tampering = None

    def lose_bindings(self) -> None:
        self.tell("the bindings are gone")
        self.has_bindings = False
        self._later(self._some_time(), self.find_bindings)

    def find_bindings(self) -> None:
        self.tell("the bindings are back")
        self.has_bindings = True

    # The machine

    def _gpu(self, host: Host) -> int:
        return self.generator.randrange(host.machine.layout.gpus)

    def _some_entity(self, host: Host) -> Entity:
        machine = host.machine
        parts = [Entity(EntityGroup.GPU_I, n) for n in machine.entities(EntityGroup.GPU_I)]
        return self.generator.choice([Entity(EntityGroup.GPU, self._gpu(host)), *parts])

    def cut(self) -> None:
        if host := self.engine.host:
            gpu, cut = self._gpu(host), self.generator.choice(CUTS)
            self.tell(f"GPU {gpu} is cut into {list(cut)}")
            host.machine.cut(gpu, cut) if cut or gpu in host.machine.instances else None
            host.hardware.forget()
            host.cache.forget_missing()

    def lose(self) -> None:
        if host := self.engine.host:
            gpu = self._gpu(host)
            self.tell(f"GPU {gpu} is lost")
            host.faults.lose(gpu, host.clock())
            self.engine.were_lost.add(gpu)
            self._later(self._some_time(), lambda: self.restore(gpu))

    def restore(self, gpu: int) -> None:
        if host := self.engine.host:
            self.tell(f"GPU {gpu} is back")
            host.faults.restore(gpu, host.clock())

    def xid(self) -> None:
        if host := self.engine.host:
            for _ in range(self.generator.choice((1, 1, 3))):
                entity, code = self._some_entity(host), self.generator.choice(XID_CODES)
                self.tell(f"XID {code} on {EntityGroup(entity.group).name} {entity.id}")
                host.xids.report(entity, code, host.clock())

    def kill_driver(self) -> None:
        if host := self.engine.host:
            self.tell("XID 119: the engine asks the driver no more")
            times = host.xids.report(Entity(EntityGroup.GPU, 0), 119, host.clock())
            host.faults.kill_driver(times[-1])
            life = self.engine.life
            self._later(4 * self.interval, lambda: self.kill_if(life))

    def kill_if(self, life: int) -> None:
        if self.engine.life == life:
            self.kill()

    def spoil(self) -> None:
        if host := self.engine.host:
            entity, field_id = self._some_entity(host), self.generator.choice(FIELDS)
            known = host.cache.fields()[field_id]
            now = host.clock()
            override = self.generator.choice(
                (
                    Override(now, status=self.generator.choice(VALUE_STATUSES)),
                    Override(
                        now, value=sentinel(known.type, self.generator.choice(list(Sentinel)))
                    ),
                    Override(
                        now, value="" if known.type == "s" else 7.0 if known.type == "d" else 7
                    ),
                )
            )
            # No engine makes XIDs up, nor does one that has some say that there are none.
            if field_id != XID or override.status not in (Status.OK, Status.NO_DATA):
                self.tell(f"{entity} answers {override.status or override.value!r} to {field_id}")
                host.faults.override(entity, field_id, override)
                self._later(self._some_time(), lambda: self.answer_again(entity, field_id))

    def answer_again(self, entity: Entity, field_id: int) -> None:
        if host := self.engine.host:
            host.faults.release(entity, field_id, host.clock())

    def freeze(self) -> None:
        field_id = self.generator.choice([*(f for f in FIELDS if f != XID), *[LIFE_SIGN] * 5])
        self.tell(f"field {field_id} is sampled no more")
        self.engine.hold(field_id)
        seconds = self.generator.choice((3 * self._some_time(), 6 * self.interval))
        self._later(seconds, lambda: self.thaw(field_id))

    def thaw(self, field_id: int) -> None:
        self.tell(f"field {field_id} is sampled again")
        self.engine.stuck.pop(field_id, None)

    def stall(self) -> None:
        stuck = self.generator.random() < 0.5
        self.tell(f"nothing is sampled any more{', the driver is stuck' if stuck else ''}")
        self.engine.stall(driver_is_stuck=stuck)
        self._later(3 * self._some_time(), self.go_on)

    def go_on(self) -> None:
        self.tell("everything is sampled again")
        self.engine.go_on()

    def profiling(self) -> None:
        if host := self.engine.host:
            layout = host.machine.layout
            self.tell(f"profiling is {'away' if layout.profiling else 'back'}")
            host.machine.layout = replace(layout, profiling=not layout.profiling)

    def other_client(self) -> None:
        """Another exporter watches profiling as well, and goes some time later."""
        host = self.engine.host
        if host is None or not host.machine.layout.profiling:
            return
        self._clients += 1
        number, seconds = FIRST_CLIENT + self._clients, self.generator.choice((0.5, 1.0, 30.0))
        self.tell(f"another client watches profiling every {seconds} s")
        host.connect(number, host.behaviour.version)
        watch, now = Watch(round(seconds * 1e6), 0.0, 1), host.clock()
        for gpu in host.machine.gpus():
            for field_id in (1001, 1002):
                field = host.cache.fields()[field_id]
                host.cache.watch(number, Entity(EntityGroup.GPU, gpu), field, watch, now)
        host.cache.wake(now)

        def other_client_gone() -> None:
            self.tell("the other client goes")
            host.disconnect(number)

        self._later(self._some_time(), other_client_gone)

    def health(self) -> None:
        if host := self.engine.host:
            kind = self.generator.choice(("pass", "warn", "fail"))
            self.tell(f"health: {kind}")
            command_health(host, f"gpu:{self._gpu(host)}", 16, kind, 1, "simulated")

    # Clocks, configuration, endpoint

    def step(self) -> None:
        seconds = self.generator.choice(
            (-7200.123, -600.3, -90.7, -3.3, -0.4, 0.4, 3.3, 90.7, 600.3, 7200.123)
        )
        self.tell(f"the clock is set by {seconds} s")
        if seconds < 0 and self.generator.random() < 0.5:
            # An engine that goes by the wall clock samples nothing before it is that late again.
            self.engine.stall(driver_is_stuck=False)
            self._later(self._some_time(), self.go_on)
        self.clocks.step(seconds)
        if self.engine.host is not None:
            _set_back(self.engine.host, round(min(seconds, 0.0) * 1e6))

    def suspend(self) -> None:
        seconds = self.generator.choice((1.0, 30.0, 3600.0))
        self.tell(f"the machine sleeps for {seconds} s")
        self.clocks.sleep(seconds)

    def reconfigure(self) -> None:
        good = self.generator.random() < 0.7
        self.tell(f"a reload, {'good' if good else 'bad'}")
        self.bring_configuration(good)

    def change_endpoint(self) -> None:
        self.endpoint.behaviour = any_behaviour(self.generator)
        self.tell(f"the endpoint: {self.endpoint.behaviour}")

    # The end of it

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


def _set_back(host: Host, microseconds: int) -> None:
    """Let an engine go on where the wall clock was set back: it samples and fails as before."""
    host.xids.reset()
    for series in host.cache.series.values():
        for segment in series.segments:
            segment.start += microseconds
            segment.due = None
            segment.end += microseconds if segment.end != NEVER else 0
    for entity in host.cache.gpm.values():
        entity.shift(microseconds)
    faults = host.faults
    for spans in (*faults.lost.values(), *faults.overrides.values()):
        for span in spans:
            span.start += microseconds
    if faults.driver_dead:
        faults.driver_dead.start += microseconds
    faults.generation += 1


Trouble = Callable[[Troubles], None]

ALL_TROUBLES: tuple[Trouble, ...] = (
    Troubles.kill,
    Troubles.kill,
    Troubles.drop,
    Troubles.hang,
    Troubles.refuse,
    Troubles.slow,
    Troubles.flake,
    Troubles.refuse_one,
    Troubles.refuse_one,
    Troubles.slow_one,
    Troubles.garble,
    Troubles.lose_bindings,
    Troubles.cut,
    Troubles.lose,
    Troubles.lose,
    Troubles.xid,
    Troubles.xid,
    Troubles.kill_driver,
    Troubles.spoil,
    Troubles.freeze,
    Troubles.freeze,
    Troubles.stall,
    Troubles.profiling,
    Troubles.other_client,
    Troubles.other_client,
    Troubles.health,
    Troubles.step,
    Troubles.suspend,
    Troubles.reconfigure,
    Troubles.change_endpoint,
)
