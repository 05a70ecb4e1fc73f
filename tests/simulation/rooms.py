"""The real rooms of the exporter, put on a run's clocks, threads, wires and sockets."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import urllib3.util.connection
from tests.simulation.invariants import Invariants
from tests.simulation.scheduler import threading_of

from do_dcgm_exporter.dcgm import side_call
from do_dcgm_exporter.dcgm.bindings import Bindings, BindingsError
from do_dcgm_exporter.forward import endpoint as forward_attempt
from do_dcgm_exporter.forward import forwarder
from do_dcgm_exporter.page import own_metrics as telemetry
from do_dcgm_exporter.page import publisher
from do_dcgm_exporter.page.publication import Page, Publication
from do_dcgm_exporter.service import agent, service, supervisor

if TYPE_CHECKING:
    from tests.simulation.world import World


@contextmanager
def installed(world: World) -> Iterator[None]:
    """Give the rooms this run's clocks, threads, wires and sockets."""
    clocks = {"clock": world.clocks.monotonic, "wall_clock": world.clocks.wall}
    threads = threading_of(world.scheduler)
    library = world.bindings.structs._LIBRARY
    forwarders = partial(
        forwarder.Forwarder,
        clock=world.clocks.monotonic,
        unix_time=world.clocks.wall,
        jitter=world.generator.uniform,
    )
    with ExitStack() as stack:

        def put(room: object, **names: object) -> None:
            stack.enter_context(mock.patch.multiple(room, **names))

        for room in (agent, supervisor, forwarder, side_call):
            put(room, threading=threads)
        put(forward_attempt, threading=threads, boot_time=world.clocks.true)
        put(urllib3.util.connection, socket=world.endpoint.sockets())
        put(agent, load_bindings=partial(_load_bindings, world), random=world.generator)
        put(library, dial=world.engine.dial, _connections={}, _initialized=True)
        put(
            service,
            Agent=partial(_agent_class(world), **clocks, boot_clock=world.clocks.true),
            Publisher=partial(_publisher_class(world), **clocks, boot_clock=world.clocks.true),
            Supervisor=partial(supervisor.Supervisor, clock=world.clocks.monotonic),
            Forwarder=forwarders,
            MetricsServer=_Server,
            set_up_logging=lambda _: None,
        )
        put(publisher, Publication=_publication_class(world))
        put(telemetry, ProcessCollector=lambda registry: None)  # this process is the test's
        stack.callback(library._connections.clear)
        stack.enter_context(_logs_watched(world.invariants))
        yield


@contextmanager
def _logs_watched(invariants: Invariants) -> Iterator[None]:
    """Show the invariants what is logged, and nobody else."""
    watcher, log = _LogWatcher(invariants), logging.getLogger("do_dcgm_exporter")
    propagates, log.propagate = log.propagate, False
    log.addHandler(watcher)
    try:
        yield
    finally:
        log.removeHandler(watcher)
        log.propagate = propagates


def _load_bindings(world: World, _directory: Path | None) -> Bindings:
    if not world.troubles.has_bindings:
        raise BindingsError("there are no bindings: install datacenter-gpu-manager-4-core")
    return world.bindings


def _agent_class(world: World) -> type[agent.Agent]:
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


def _publisher_class(world: World) -> type[publisher.Publisher]:
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


def _publication_class(world: World) -> type[Publication]:
    class ObservedPublication(Publication):
        def publish(self, page: Page) -> None:
            super().publish(page)
            world.hold(world.invariants.published, page)

    return ObservedPublication


class _Server:
    """Replaces the web server: pages are looked at directly."""

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


class _LogWatcher(logging.Handler):
    """Shows the invariants what is logged."""

    def __init__(self, invariants: Invariants) -> None:
        super().__init__()
        self._invariants = invariants

    def emit(self, record: logging.LogRecord) -> None:
        self._invariants.logged(record)
