"""The engine of a simulated run: the simulator's own, behind a wire that can fail at every call."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation import reads
from tests.simulation.clocks import Clocks
from tests.simulation.ledger import FIELD, Ledger, places_in
from tests.simulation.scheduler import Scheduler, Task

from dcgm_simulator.client import CALL_TIMEOUT, Address
from dcgm_simulator.codes import Status, StatusError
from dcgm_simulator.discovery import EngineDies
from dcgm_simulator.fields import XID
from dcgm_simulator.host import Host
from dcgm_simulator.layouts import LAYOUTS, Layout
from dcgm_simulator.wire import RECORD_SIZE, Function, unpack_json

SCENARIO = "simulation"
"""The name of this run's layout among those of the simulator."""
CONNECT_TIME = 0.001
CALL_TIME = 0.0003
NEED_THE_DRIVER = frozenset(
    {
        Function.UPDATE_ALL_FIELDS,
        Function.GET_DEVICE_ATTRIBUTES,
        Function.GET_NVLINK_LINK_STATUS,
        Function.GET_NVLINK_P2P_STATUS,
        Function.HEALTH_CHECK,
        Function.PROF_GET_SUPPORTED_METRIC_GROUPS,
    }
)
"""Calls that hang with the driver (tried on 3.3.9 and 4.6.0)."""

Tampering = Callable[[bytes], bytes]


@dataclass
class CallFault:
    """What befalls one call: it takes ``delay`` seconds, then ``strike`` happens to the engine
    (before or ``after`` it answers), then the call is ``refused`` with a status or its answer
    ``tampered`` with."""

    delay: float = 0.0
    strike: Callable[[], None] | None = None
    after: bool = False
    refused: int = 0
    tampered: Tampering | None = None


@dataclass
class Engine:
    """A process that lives, dies, hangs and comes back as another release."""

    scheduler: Scheduler
    clocks: Clocks
    ledger: Ledger
    layout: Layout
    version: str
    seed: int
    tell: Callable[[str], None]
    fault_at: Callable[[Function], CallFault | None]
    note_summary: Callable[[Host, list[int]], None]
    note_samples: Callable[[bytes], None]
    host: Host | None = None
    life: int = 0
    is_hung: bool = False
    is_stalled: bool = False
    """Whether nothing is sampled any more."""
    driver_is_stuck: bool = False
    """Whether calls that need the driver hang."""
    refuses: bool = False
    call_time: float = CALL_TIME
    calls: int = 0
    answered_at: float = 0.0
    """When it last answered a call, by the monotonic clock."""
    spoiled_at: float = -math.inf
    """When it last refused a call or changed an answer (true time)."""
    stuck: dict[int, dict[bytes, bytes]] = field(default_factory=dict)
    """Fields that are no longer sampled, with each entity's last record."""
    last: dict[int, dict[bytes, bytes]] = field(default_factory=lambda: defaultdict(dict))
    """The newest record of each field and entity."""
    were_lost: set[int] = field(default_factory=set)
    """The GPUs that have been lost in its life."""
    _wires: dict[int, Wire] = field(default_factory=dict)
    _serial: int = 0
    _held: list[Task] = field(default_factory=list)

    # What happens to it

    def start(self, version: str = "") -> None:
        """Start or restart it, without its past."""
        self.kill()
        self.version = version or self.version
        LAYOUTS[SCENARIO] = self.layout
        self.host = Host(SCENARIO, self.version, self.seed, self.clocks.wall_microseconds)
        self.host.faults.lacks_hwmon = True
        self.life += 1
        self.is_hung = self.refuses = False
        self.is_stalled = self.driver_is_stuck = False
        self.call_time = CALL_TIME
        self.stuck.clear()
        self.last.clear()
        self.were_lost.clear()

    def kill(self) -> None:
        """End the process as SIGKILL does."""
        self.host = None
        self.drop()
        self.let_go()

    def drop(self) -> None:
        """Close all connections."""
        for wire in list(self._wires.values()):
            wire.close()
        self.let_go()

    def hang(self) -> None:
        """Answer nobody until ``resume``."""
        self.is_hung = True

    def resume(self) -> None:
        """Answer again, including pending calls."""
        self.is_hung = self.refuses = False
        self.let_go()

    def let_go(self) -> None:
        """Wake everybody who waits for an answer."""
        for task in self._held:
            self.scheduler.wake(task)
        self._held.clear()

    # What it has

    @property
    def wires(self) -> list[Wire]:
        """The connections that it has."""
        return list(self._wires.values())

    # What clients see

    def dial(self, _address: Address, timeout: float) -> Wire:
        """Connect as the library does: it tries again until ``timeout``."""
        deadline = self.clocks.monotonic() + timeout
        self.scheduler.sleep(CONNECT_TIME)
        while self.host is None or self.refuses:
            if self.clocks.monotonic() + 0.05 >= deadline:
                raise StatusError(Status.CONNECTION_NOT_VALID)
            self.scheduler.sleep(0.05)
        self._serial += 1
        self._wires[self._serial] = Wire(self, self._serial)
        return self._wires[self._serial]

    def forget(self, wire: Wire) -> None:
        """End a connection, whichever side closed it."""
        if self._wires.pop(wire.number, None) and self.host is not None:
            self.host.disconnect(wire.number)

    def stall(self, *, driver_is_stuck: bool) -> None:
        """Stop sampling until ``go_on``."""
        self.is_stalled, self.driver_is_stuck = True, driver_is_stuck
        for field_id in list(self.last):
            if field_id != XID:
                self.hold(field_id)

    def go_on(self) -> None:
        """Sample everything again."""
        self.is_stalled = self.driver_is_stuck = False
        self.stuck.clear()
        self.let_go()

    def hold(self, field_id: int) -> None:
        """Stop sampling a field: its last value stays."""
        self.stuck[field_id] = dict(self.last[field_id])

    def as_sampled(self, body: bytes) -> bytes:
        """The reply to a latest-values call, as it is when some fields are sampled no more."""
        changed = bytearray(body)
        for place in places_in(body):
            who, record = body[place + 4 : place + 12], body[place : place + RECORD_SIZE]
            (field_id,) = FIELD.unpack_from(record, 12)
            if self.is_stalled and field_id != XID:
                self.stuck.setdefault(field_id, {})
            if field_id in self.stuck:
                record = self.stuck[field_id].setdefault(who, record)
                changed[place : place + RECORD_SIZE] = record
            self.last[field_id][who] = record
        return bytes(changed)

    def hold_while_hung(
        self, wire: Wire, seconds: float, function: Function = Function.HELLO
    ) -> None:
        """Keep the caller waiting while the engine hangs; raises StatusError after ``seconds``."""
        deadline = self.clocks.monotonic() + seconds
        while self._keeps_waiting(function) and not wire.is_dead:
            self._held.append(self.scheduler.current)
            if not self.scheduler.wait(deadline - self.clocks.monotonic()) and (
                self.clocks.monotonic() >= deadline
            ):
                raise StatusError(Status.TIMEOUT)

    def note(self, fault: CallFault) -> None:
        """Note when an answer is not what it would be in health."""
        if fault.refused or fault.tampered:
            self.spoiled_at = self.clocks.true()

    def _keeps_waiting(self, function: Function) -> bool:
        return self.is_hung or (self.driver_is_stuck and function in NEED_THE_DRIVER)


@dataclass
class Wire:
    """One connection of the simulated library, without a socket."""

    engine: Engine
    number: int
    is_dead: bool = False
    was_refused: bool = False
    """Whether a call was refused that an engine in health would have answered."""
    watched: dict[int, int] = field(default_factory=dict)
    """The group that each field group was last watched on."""

    def greet(self, version: str) -> None:
        """Log in; waits while the engine hangs, and leaves a dead wire if it dies."""
        self.engine.hold_while_hung(self, math.inf)
        if not self.is_dead and self.engine.host is not None:
            self.engine.host.connect(self.number, version)

    def call(self, function: Function, body: bytes, *, forever: bool = False) -> bytes:
        """Make a call; raises StatusError."""
        engine = self.engine
        engine.calls += 1
        fault = engine.fault_at(function) or CallFault()
        if fault.strike and not fault.after:
            fault.strike()
        delay = engine.call_time + fault.delay
        if delay > CALL_TIME or fault.strike:
            engine.scheduler.sleep(delay)
        engine.hold_while_hung(self, math.inf if forever else CALL_TIMEOUT, function)
        if self.is_dead or engine.host is None:
            raise StatusError(Status.CONNECTION_NOT_VALID)
        engine.note(fault)
        try:
            if fault.refused:
                self.was_refused = True
                raise StatusError(fault.refused)
            answer = self._ask(engine.host, function, body)
            if function is Function.LATEST_VALUES:
                answer = engine.as_sampled(answer)
            if fault.tampered:
                answer = fault.tampered(answer)
        finally:
            if fault.strike and fault.after:
                fault.strike()
        if self.is_dead:
            raise StatusError(Status.CONNECTION_NOT_VALID)
        engine.answered_at = engine.clocks.monotonic()
        self._note(function, body, answer, fault.tampered is not None)
        return answer

    def _note(self, function: Function, asked: bytes, answer: bytes, is_tampered: bool) -> None:
        """Remember what a call that was answered is about."""
        engine = self.engine
        if function is Function.WATCH_FIELDS:
            group, field_group, *_ = unpack_json(asked)
            self.watched[field_group] = group
        elif function is Function.LATEST_VALUES:
            if engine.host is not None and self.number in engine.host.connections:
                reads.only_what_is_watched(engine.host, asked, engine.were_lost, self.was_refused)
            engine.ledger.note_values(engine.life, answer, is_tampered)
        elif function is Function.VALUES_SINCE:
            engine.ledger.note_history(engine.life, answer[8:])
            engine.note_samples(answer[8:])

    def _ask(self, host: Host, function: Function, body: bytes) -> bytes:
        try:
            answer = host.call(self.number, function, body)
        except StatusError:
            raise
        except EngineDies:
            self.engine.kill()
            raise StatusError(Status.CONNECTION_NOT_VALID) from None
        except Exception as error:
            raise StatusError(Status.GENERIC_ERROR) from error
        if function is Function.GET_FIELD_SUMMARY:
            self.engine.note_summary(host, unpack_json(body))
        return answer

    def close(self) -> None:
        """End the connection; a second time does nothing."""
        self.is_dead = True
        self.engine.forget(self)
        self.engine.let_go()
