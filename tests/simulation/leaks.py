"""Nothing leaks: connections, groups, field groups, watches, threads, sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dcgm_simulator.host import Host
from do_dcgm_exporter.agent import Agent

if TYPE_CHECKING:
    from tests.simulation.engine import Wire
    from tests.simulation.world import World

# How many groups one session may make: one for each kind of fields and of entities.
GROUPS_OF_A_SESSION = 24


def between_cycles(world: World, agent: Agent) -> None:
    """One connection at most, and nothing on it that no watch needs."""
    handles = world.bindings.structs._LIBRARY._connections
    sessions = 0 if agent._session is None else 1
    assert agent._retired is None or sessions, "a retired session is kept"
    allowed = sessions + (agent._retired is not None)
    assert len(handles) == allowed, f"{len(handles)} connections for {allowed} sessions"
    host = world.engine.host
    if host is None:
        return
    wires = world.engine.wires
    assert len(wires) <= allowed, f"the engine has {len(wires)} connections"
    hastens = agent._session is not None and agent._session.profiling.warming_up
    for wire in wires:
        _nothing_unused(host, wire, hastens)
    owners = {wire.number for wire in wires}
    groups = [*host.registry.groups.values(), *host.registry.field_groups.values()]
    assert {group.owner for group in groups} <= owners, "groups of a connection that is gone"


def _nothing_unused(host: Host, wire: Wire, hastens: bool) -> None:
    registry = host.registry
    groups = [number for number, group in registry.groups.items() if group.owner == wire.number]
    assert len(groups) <= GROUPS_OF_A_SESSION, f"{len(groups)} groups on one connection"
    owned = {
        number for number, group in registry.field_groups.items() if group.owner == wire.number
    }
    assert len(owned) <= GROUPS_OF_A_SESSION, f"{len(owned)} field groups on one connection"
    if wire.was_refused:
        return
    unused = owned - set(wire.watched)
    assert not unused, f"{len(unused)} field groups that nothing watches"
    watched: set[tuple[object, int]] = set()
    for field_group in owned:
        fields = registry.field_groups[field_group].fields
        entities = registry.groups[wire.watched[field_group]].entities
        pairs = {(entity, number) for entity in entities for number in fields}
        # Profiling of single entities is sampled faster by a second watch for a while.
        profiling = all(1001 <= number < 1100 for number in fields)
        assert not pairs & watched or (hastens and profiling), "two watches of one field"
        watched |= pairs


def after_the_end(world: World) -> None:
    """The service has stopped."""
    threads = [name for name in world.scheduler.running if name != "main"]
    assert not threads, f"threads that do not end: {threads}"
    handles = world.bindings.structs._LIBRARY._connections
    assert not handles, f"{len(handles)} connections are left"
    assert not world.engine.wires, "the engine has connections"
    assert world.endpoint.handles == 0, f"{world.endpoint.handles} sockets are open"
