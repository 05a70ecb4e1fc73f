"""What the control commands do to a simulated engine; commands.py has their names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from dcgm_simulator.codes import EntityGroup, Sentinel, Value, sentinel
from dcgm_simulator.faults import Override
from dcgm_simulator.fields import EVENT_FIELDS, Field, field_table, parse_field
from dcgm_simulator.host import Host
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.sampler import NOWHERE
from dcgm_simulator.signals import elapsed
from dcgm_simulator.xids import DRIVER_GONE

SENTINELS = {
    "blank": Sentinel.BLANK,
    "not-found": Sentinel.NOT_FOUND,
    "not-supported": Sentinel.NOT_SUPPORTED,
    "no-permission": Sentinel.NO_PERMISSION,
}
STATUS_PREFIX = "status:"
ELAPSED = "elapsed"
"""A value that tells the seconds since then."""
HEALTH = {"pass": 0, "warn": 10, "fail": 20}


class ControlError(Exception):
    """Raised when a command cannot be carried out; the text says why."""


def parse_entity(text: str, machine: Machine) -> Entity:
    """Return the entity meant by text like gpu:0, gpu_i:7 or switch:1.

    Raises ControlError when there is no such entity.
    """
    kind, _, number = text.partition(":")
    try:
        entity = Entity(EntityGroup[kind.upper().replace("-", "_")], int(number))
    except (KeyError, ValueError):
        kinds = ", ".join(group.name.lower() for group in EntityGroup)
        message = f"{text!r} is not an entity; write KIND:ID, where KIND is one of {kinds}"
        raise ControlError(message) from None
    if entity != NOWHERE and not machine.has(entity):
        message = f"this machine has no entity {text}"
        raise ControlError(message)
    return entity


def parse_value(text: str, field: Field) -> Value:
    """Return the value meant for a field: a number, text or the name of a sentinel.

    Raises ControlError when the field cannot have it.
    """
    if text in SENTINELS:
        return sentinel(field.type, SENTINELS[text])
    if field.type in "sb":
        return "" if text == "empty" else text
    try:
        return float(text) if field.type == "d" else int(text, 0)
    except ValueError:
        message = f"{text!r} is not a value for field {field.id}, which is a number"
        raise ControlError(message) from None


def parse_integer(text: str) -> int:
    """Return the integer that a text means.

    Raises ControlError if it is not one.
    """
    try:
        return int(text)
    except ValueError:
        message = f"{text!r} is not an integer"
        raise ControlError(message) from None


def find_field(text: str, host: Host) -> Field:
    """Return the field meant by an id or a name.

    Raises ControlError when the simulated version has none.
    """
    try:
        return field_table(host.behaviour.version)[parse_field(text)]
    except (KeyError, ValueError):
        message = f"DCGM {host.behaviour.version} has no field {text}"
        raise ControlError(message) from None


def command_xid(host: Host, entity: str, code: int) -> dict[str, Any]:
    """Report an XID on an entity."""
    times = host.xids.report(parse_entity(entity, host.machine), code, host.clock())
    if code == DRIVER_GONE:
        host.faults.kill_driver(times[-1])
    return {"timestamps": times}


def command_xid119(host: Host) -> dict[str, Any]:
    """Report the XID after which the engine no longer asks the driver."""
    return command_xid(host, "gpu:0", DRIVER_GONE)


def command_set(host: Host, entity: str, field: str, value: str) -> None:
    """Replace what a field of an entity answers, from its next sample on."""
    target, known, now = parse_entity(entity, host.machine), find_field(field, host), host.clock()
    if value == "unset":
        host.faults.release(target, known.id, now)
    elif value.startswith(STATUS_PREFIX):
        status = parse_integer(value.removeprefix(STATUS_PREFIX))
        host.faults.override(target, known.id, Override(now, status=status))
    elif value == ELAPSED:
        host.faults.override(target, known.id, Override(now, source=elapsed(now)))
    elif known.id in EVENT_FIELDS:
        host.xids.report(target, parse_integer(value), now)
    else:
        host.faults.override(target, known.id, Override(now, value=parse_value(value, known)))


def command_freeze(host: Host, field: str) -> None:
    """Stop sampling a field on all entities."""
    host.faults.freeze(find_field(field, host).id, host.clock())


def command_thaw(host: Host, field: str) -> None:
    """Sample a frozen field again."""
    host.faults.thaw(find_field(field, host).id, host.clock())


def command_stall(host: Host, gpu: int | None) -> None:
    """Sample nothing of a GPU, or of any; lists and values are answered as before."""
    number = None if gpu is None else parse_entity(f"gpu:{gpu}", host.machine).id
    host.faults.stall(number, host.clock())


def command_unstall(host: Host) -> None:
    """Sample again what was stalled."""
    host.faults.go_on(host.clock())


def command_job(host: Host, gpu: int, state: str) -> None:
    """Let the job on a GPU end, so that the GPU is idle, or the next one begin."""
    number = parse_entity(f"gpu:{gpu}", host.machine).id
    if not host.hardware.loads:
        raise ControlError("a recorded machine stands still")
    load = host.hardware.loads[number]
    (load.rest if state == "end" else load.go_on)(host.clock())


def command_lose_gpu(host: Host, gpu: int) -> None:
    """Let a GPU fall off the bus; report XID 79 yourself if you want it."""
    host.faults.lose(parse_entity(f"gpu:{gpu}", host.machine).id, host.clock())


def command_restore_gpu(host: Host, gpu: int) -> None:
    """Bring a lost GPU back."""
    host.faults.restore(gpu, host.clock())


def command_fail_library(host: Host) -> None:
    """Let all fail that NVML does without a device: what is of the host, and profiling."""
    host.faults.fail_library(host.clock())


def command_mig(host: Host, gpu: int, profiles: list[str]) -> None:
    """Cut a GPU into instances, or make it whole with no profiles."""
    try:
        host.machine.cut(gpu, tuple(profiles))
    except ValueError as error:
        raise ControlError(str(error)) from None
    host.hardware.forget()
    host.cache.forget_missing()


def command_nvlink(host: Host, gpu: int, link: int, state: str) -> None:
    """Take an NvLink of a GPU down, or up again."""
    states = host.machine.link_states(parse_entity(f"gpu:{gpu}", host.machine).id)
    if not (0 <= link < len(states) and states[link]):
        message = f"GPU {gpu} has no NvLink {link}"
        raise ControlError(message)
    change = host.machine.down_links.add if state == "down" else host.machine.down_links.discard
    change((gpu, link))


def command_skew(host: Host, version: str) -> None:
    """Behave like an engine of another version; connections stay."""
    try:
        host.skew(version)
    except ValueError as error:
        raise ControlError(str(error)) from None


def command_health(
    host: Host, entity: str, system: int, health: str, code: int, message: str
) -> None:
    """Let dcgmHealthCheck report an incident, or none of this system with 'pass'."""
    target = parse_entity(entity, host.machine)
    same = [*target], system
    host.incidents = [i for i in host.incidents if (i["entity"], i["system"]) != same]
    if health != "pass":
        incident = {"entity": [*target], "system": system, "health": HEALTH[health]}
        host.incidents.append(incident | {"code": code, "message": message})


def command_refuse_call(host: Host, function: str, status: int) -> None:
    """Fail all calls of a function with a status, until it is 0."""
    host.faults.refused.pop(function, None)
    if status:
        host.faults.refused[function] = status


def command_slow_call(host: Host, function: str, seconds: float) -> None:
    """Delay the answers of a function; other calls are answered in the meantime."""
    host.faults.slow.pop(function, None)
    if seconds:
        host.faults.slow[function] = seconds


def command_profiling_needs_root(host: Host) -> None:
    """Refuse to watch profiling fields, as an engine without the rights to does."""
    host.faults.profiling_needs_root = True


def command_no_hwmon(host: Host) -> None:
    """Take /sys/class/hwmon away, without which 3.3.9 crashes when it is asked for CPUs."""
    host.faults.lacks_hwmon = True


def command_pass_time(host: Host, seconds: float) -> None:
    """Let time pass at once: samples are taken and stamped as if it had."""
    host.pass_time(seconds)


def command_reset(host: Host) -> None:
    """End all faults, forget all events, and undo changes to MIG instances and links."""
    host.incidents.clear()
    for load in host.hardware.loads:
        load.go_on(host.clock())
    host.machine.down_links.clear()
    host.faults.clear()
    host.machine.restore()
    host.hardware.forget()
    host.xids.reset()
    host.cache.events.clear()
    host.cache.forget_missing()


def command_status(host: Host) -> dict[str, Any]:
    """Return what clients have and do, for tests that look for leaks."""
    registry = host.registry
    return {
        "scenario": host.scenario,
        "dcgm_version": host.behaviour.version,
        "seed": host.seed,
        "time_us": host.clock(),
        "connections": [
            {"id": c.id, "client_version": c.client.version} for c in host.connections.values()
        ],
        "groups": [
            {"id": n, "name": g.name, "owner": g.owner, "entities": len(g.entities)}
            for n, g in registry.groups.items()
        ],
        "field_groups": [
            {"id": n, "name": g.name, "owner": g.owner, "fields": g.fields}
            for n, g in registry.field_groups.items()
        ],
        "watches": list(_watches(host)),
        "calls": dict(host.calls),
        "log_lines": dict(host.cache.log_lines(host.clock())),
    }


def _watches(host: Host) -> Iterator[dict[str, Any]]:
    for (entity, field), series in host.cache.series.items():
        for owner, watch in series.watches.items():
            yield {
                "entity": f"{EntityGroup(entity.group).name.lower()}:{entity.id}",
                "field": field,
                "interval_us": watch.interval,
                "owner": owner,
            }
