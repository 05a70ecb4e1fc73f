"""What can change around engine and exporter: clients, bindings, clocks, reloads, the endpoint."""

from __future__ import annotations

from functools import partial

from tests.simulation.endpoint import any_behaviour
from tests.simulation.engine_troubles import go_on
from tests.simulation.troubles import Troubles

from dcgm_simulator.codes import EntityGroup
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity
from dcgm_simulator.series import NEVER, Watch

FIRST_CLIENT = 1_000_000
"""The number of the first connection of another client."""


def other_client(troubles: Troubles) -> None:
    """Another exporter watches profiling as well, and goes some time later."""
    host = troubles.engine.host
    if host is None or not host.machine.layout.profiling:
        return
    troubles.clients += 1
    number, seconds = FIRST_CLIENT + troubles.clients, troubles.generator.choice((0.5, 1.0, 30.0))
    troubles.tell(f"another client watches profiling every {seconds} s")
    host.connect(number, host.behaviour.version)
    watch, now = Watch(round(seconds * 1e6), 0.0, 1), host.clock()
    for gpu in host.machine.gpus():
        for field_id in (1001, 1002):
            field = host.cache.fields()[field_id]
            host.cache.watch(number, Entity(EntityGroup.GPU, gpu), field, watch, now)
    host.cache.wake(now)

    def other_client_gone() -> None:
        troubles.tell("the other client goes")
        host.disconnect(number)

    troubles.later(troubles.some_time(), other_client_gone)


def lose_bindings(troubles: Troubles) -> None:
    troubles.tell("the bindings are gone")
    troubles.has_bindings = False
    troubles.later(troubles.some_time(), partial(find_bindings, troubles))


def find_bindings(troubles: Troubles) -> None:
    troubles.tell("the bindings are back")
    troubles.has_bindings = True


def step(troubles: Troubles) -> None:
    seconds = troubles.generator.choice(
        (-7200.123, -600.3, -90.7, -3.3, -0.4, 0.4, 3.3, 90.7, 600.3, 7200.123)
    )
    troubles.tell(f"the clock is set by {seconds} s")
    if seconds < 0 and troubles.generator.random() < 0.5:
        # An engine that goes by the wall clock samples nothing before it is that late again.
        troubles.engine.stall(driver_is_stuck=False)
        troubles.later(troubles.some_time(), partial(go_on, troubles))
    troubles.clocks.step(seconds)
    if troubles.engine.host is not None:
        _set_back(troubles.engine.host, round(min(seconds, 0.0) * 1e6))


def suspend(troubles: Troubles) -> None:
    seconds = troubles.generator.choice((1.0, 30.0, 3600.0))
    troubles.tell(f"the machine sleeps for {seconds} s")
    troubles.clocks.sleep(seconds)


def reconfigure(troubles: Troubles) -> None:
    good = troubles.generator.random() < 0.7
    troubles.tell(f"a reload, {'good' if good else 'bad'}")
    troubles.bring_configuration(good)


def change_endpoint(troubles: Troubles) -> None:
    troubles.endpoint.behaviour = any_behaviour(troubles.generator)
    troubles.tell(f"the endpoint: {troubles.endpoint.behaviour}")


def _set_back(host: Host, microseconds: int) -> None:
    """Let an engine go on where the wall clock was set back: it samples and fails as before."""
    host.xids.reset()
    for series in host.cache.series.values():
        for segment in series.segments:
            segment.start += microseconds
            segment.due = None
            segment.end += microseconds if segment.end != NEVER else 0
    for entity in host.cache.sampler.gpm.values():
        entity.shift(microseconds)
    faults = host.faults
    for spans in (*faults.lost.values(), *faults.overrides.values()):
        for span in spans:
            span.start += microseconds
    if faults.driver_dead:
        faults.driver_dead.start += microseconds
    faults.generation += 1
