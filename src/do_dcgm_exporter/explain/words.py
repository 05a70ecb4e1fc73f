"""Spell numbers, times and names for people."""

from __future__ import annotations

import time
from collections.abc import Sequence

from do_dcgm_exporter.dcgm.entities import HOST, Entity, EntityKind
from do_dcgm_exporter.dcgm.topology import Topology

_WORDS = {
    EntityKind.GPU: "GPU",
    EntityKind.SWITCH: "NvSwitch",
    EntityKind.CONNECTX: "ConnectX adapter",
}
_PLURALS = {
    EntityKind.GPU: "GPUs",
    EntityKind.SWITCH: "NvSwitches",
    EntityKind.CONNECTX: "ConnectX adapters",
}

_UNITS = ((86400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def duration(seconds: float) -> str:
    """Spell a duration by its largest unit, rounded down: ``4 minutes``."""
    for size, unit in _UNITS:
        if seconds >= size:
            return counted(int(seconds // size), unit)
    return "0 seconds"


def ago(seconds: float) -> str:
    """Spell how long ago: ``4 minutes ago`` or ``just now``."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def counted(count: int, thing: str) -> str:
    """Spell a count: ``1 GPU``, ``8 GPUs``."""
    return f"{count} {thing}{'' if count == 1 else 's'}"


def joined(words: Sequence[str]) -> str:
    """Join words: ``a, b and c``."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def numbers(values: Sequence[int]) -> str:
    """Join sorted numbers: ``1, 2 and 5``, or ``0 to 7`` if none is left out."""
    first, last = values[0], values[-1]
    if len(values) > 2 and last - first == len(values) - 1:
        return f"{first} to {last}"
    return joined([str(value) for value in values])


def capitalized(sentence: str) -> str:
    """Begin ``sentence`` with a capital and end it with a full stop."""
    return sentence[:1].upper() + sentence[1:].rstrip(".") + "."


def utc(unix_time: float) -> str:
    """Spell a time in UTC: ``2026-11-24 05:41:36``."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(unix_time))


def gibibytes(mebibytes: float) -> str:
    """Spell MiB as GiB with one decimal."""
    return f"{mebibytes / 1024:.1f}"


def watts(watts: float) -> str:
    """Spell a power: ``495 W``, ``3.2 kW``."""
    return f"{watts / 1000:.1f} kW" if watts >= 1000 else f"{watts:.0f} W"


def link_states(states: Sequence[int]) -> str:
    """Count NVLinks by their state: ``16 up, 2 down``; empty if there are none."""
    named = ((3, "up"), (2, "down"), (1, "disabled"))  # dcgmNvLinkLinkState_t
    return ", ".join(f"{states.count(n)} {word}" for n, word in named if n in states)


def instance_name(entity: Entity, topology: Topology) -> str:
    """Name an instance by NVML's number, like ``GPU_I_ID``: ``instance 7``."""
    known = {instance.id: instance for instance in topology.gpu_instances}
    instance = known.get(topology.shown_entity(entity).id)
    return f"instance {instance.instance_id}" if instance else "an instance that is gone"


def device_name(entity: Entity, topology: Topology) -> str:
    """Name a device: ``GPU 3``, ``GPU 0 instance 7``, ``NvSwitch 1`` or ``this host``."""
    if entity == HOST:
        return "this host"
    if entity.kind in _WORDS:
        return f"{_WORDS[entity.kind]} {entity.id}"
    return f"GPU {topology.gpu_id_of(entity)} {instance_name(entity, topology)}"


def names(entities: Sequence[Entity], topology: Topology) -> str:
    """Name devices briefly: ``GPUs 0, 1 and 5``, ``GPU 0 instance 7 and GPU 1 instance 2``."""
    kinds = {entity.kind for entity in entities}
    if len(entities) > 1 and len(kinds) == 1 and kinds <= set(_PLURALS):
        return f"{_PLURALS[kinds.pop()]} {numbers(sorted(entity.id for entity in entities))}"
    if len(entities) > 3:
        gpus = sorted({topology.gpu_id_of(entity) or 0 for entity in entities})
        return f"{len(entities)} instances of GPU{'s' * (len(gpus) > 1)} {numbers(gpus)}"
    return joined([device_name(entity, topology) for entity in entities])
