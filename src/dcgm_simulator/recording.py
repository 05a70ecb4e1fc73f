"""A file with what an engine answered: tests/data/recordings, or one made with --record."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from dcgm_simulator.codes import EntityGroup, Status, Value, is_sentinel
from dcgm_simulator.fields import EVENT_FIELDS
from dcgm_simulator.machine import Entity
from dcgm_simulator.versions import ALL_VERSIONS

GZIP_MAGIC = b"\x1f\x8b"
POISONED = "latest of field "
LOST_STATUSES = (4, 7)
"""DcgmEntityStatus_t: lost, detached."""


class BadRecording(Exception):
    """Raised if a file is not a recording; the text is one sentence that names it."""


class Recorded(NamedTuple):
    """A value as it was answered last."""

    status: int
    age: int
    """Microseconds since it was sampled, or since the event."""
    value: Value


@dataclass(frozen=True)
class Recording:
    """A recording, taken apart. What was refused has the status it was refused with."""

    version: str
    """The one to imitate: the newest known that is no newer than the recorded one."""
    devices: tuple[int, ...]
    lost: frozenset[int]
    unsupported: frozenset[int]
    attributes: Mapping[int, dict[str, Any]]
    entities: Mapping[EntityGroup, list[int] | Status]
    hierarchy: list[dict[str, Any]]
    nvlinks: Mapping[int, list[int]]
    peers: list[list[Any]]
    profiling: Mapping[int, list[dict[str, Any]] | Status]
    cpus: list[list[Any]]
    incidents: list[dict[str, Any]]
    values: Mapping[tuple[Entity, int], Recorded]
    events: list[tuple[Entity, int, Recorded]]
    poisoned: frozenset[int]
    """Fields with which a call failed."""
    refused: Mapping[str, int]
    """Status by the DCGM function that was refused whatever it was asked."""
    needs_root: bool
    """Whether profiling was refused for want of rights."""


def read_recording(path: Path) -> Recording:
    """Read a recording.

    Raises BadRecording.
    """
    content = _content(path)
    for section in ("dcgm_version", "cycles"):
        if not content.get(section):
            message = f"{path} is not a recording of an engine: it has no {section!r}"
            raise BadRecording(message)
    try:
        return _recording(content)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        reason = f"{type(error).__name__}: {error}"
        message = f"{path} cannot be played because a part of it has the wrong form ({reason})"
        raise BadRecording(message) from error


def _content(path: Path) -> dict[str, Any]:
    try:
        data = path.read_bytes()
        text = gzip.decompress(data) if data.startswith(GZIP_MAGIC) else data
        content = json.loads(text)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}"
        raise BadRecording(message) from None
    except (EOFError, ValueError, zlib.error):
        message = f"{path} is not a recording of an engine: it is not JSON, compressed or not"
        raise BadRecording(message) from None
    if not isinstance(content, dict):
        message = f"{path} is not a recording of an engine: it is not a JSON object"
        raise BadRecording(message)
    return content


def nearest_version(version: str) -> str:
    """Return the newest version that can be imitated and is no newer than this one.

    The oldest where all are newer. Raises ValueError where it is no version.
    """
    wanted = _numbers(version)
    older = [known for known in ALL_VERSIONS if _numbers(known) <= wanted]
    return older[-1] if older else ALL_VERSIONS[0]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _recording(content: dict[str, Any]) -> Recording:
    values, events = _values(content["cycles"][-1])
    errors = content.get("errors", {})
    attributes = {int(gpu): told for gpu, told in content.get("attributes", {}).items()}
    devices = tuple(content.get("all_devices", content.get("supported_devices", ())))
    lost = frozenset(_lost(content, attributes)).intersection(devices)
    supported = content.get("supported_devices", devices)
    refusals = [error["code"] for error in content.get("watch_refused", {}).values()]
    return Recording(
        version=nearest_version(content["dcgm_version"]),
        devices=devices,
        lost=lost,
        unsupported=frozenset(devices) - set(supported) - lost,
        attributes={gpu: told for gpu, told in attributes.items() if "identifiers" in told},
        entities=dict(_entities(content.get("entities", {}))),
        hierarchy=content.get("gpu_instance_hierarchy", []),
        nvlinks=dict(_nvlinks(content.get("nvlink_status", {}))),
        peers=[
            [gpu["entityId"], gpu["linkStatus"][: len(content["p2p_status"])]]
            for gpu in content.get("p2p_status", [])
        ],
        profiling={
            int(gpu): _or_status(told)
            for gpu, told in content.get("prof_metric_groups", {}).items()
        },
        cpus=list(_cpus(content.get("cpu_hierarchy", []))),
        incidents=list(_incidents(content.get("health", {}))),
        values=values,
        events=events,
        poisoned=frozenset(
            int(name.removeprefix(POISONED)) for name in errors if name.startswith(POISONED)
        ),
        refused={name: error["code"] for name, error in errors.items() if name.startswith("dcgm")},
        needs_root=Status.REQUIRES_ROOT in refusals,
    )


def _or_status(told: Any) -> Any:
    """Return what was answered, or the status it was refused with."""
    return Status(told["code"]) if isinstance(told, dict) and "code" in told else told


def _values(
    cycle: dict[str, Any],
) -> tuple[dict[tuple[Entity, int], Recorded], list[tuple[Entity, int, Recorded]]]:
    values: dict[tuple[Entity, int], Recorded] = {}
    events, now = [], cycle["time_us"]
    for group, number, field, kind, status, stamp, told in cycle["values"]:
        if kind == "b":
            continue  # blobs cannot be simulated
        value = 0 if status else _value(kind, told)
        recorded = Recorded(status, now - stamp, value)
        values[Entity(group, number), field] = recorded
        if field in EVENT_FIELDS and not status and not is_sentinel(value):
            events.append((Entity(group, number), field, recorded))
    return values, events


def _value(kind: str, told: Any) -> Value:
    value: Value = float(told) if kind == "d" else told
    if not isinstance(value, str if kind == "s" else (int, float)):
        message = f"{told!r} is not a value of type {kind!r}"
        raise TypeError(message)
    return value


def _lost(content: dict[str, Any], attributes: dict[int, dict[str, Any]]) -> Iterator[int]:
    """Yield the GPUs that the driver has lost, some more than once."""
    statuses = content.get("gpu_status", {})
    yield from (int(gpu) for gpu, status in statuses.items() if status in LOST_STATUSES)
    for gpu, told in attributes.items():
        if is_sentinel(told.get("identifiers", {}).get("uuid", "")):
            yield gpu
    for name, refusal in content.get("group_refused", {}).items():
        group, number = map(int, name.split(":"))
        if group == EntityGroup.GPU and refusal["code"] == Status.GPU_IS_LOST:
            yield number


def _entities(told: dict[str, Any]) -> Iterator[tuple[EntityGroup, list[int] | Status]]:
    yield from ((EntityGroup[name], _or_status(ids)) for name, ids in told.items())


def _nvlinks(told: dict[str, Any]) -> Iterator[tuple[int, list[int]]]:
    yield from ((gpu["entityId"], gpu["linkState"]) for gpu in told.get("gpus", []))


def _cpus(told: list[dict[str, Any]]) -> Iterator[list[Any]]:
    """Yield per CPU its id, its first and last core, and its serial."""
    for cpu in told:
        words = enumerate(cpu["ownedCores"]["bitmask"])
        cores = [i * 64 + bit for i, word in words for bit in range(64) if word >> bit & 1]
        yield [cpu["cpuId"], min(cores), max(cores), cpu.get("serial", "")]


def _incidents(told: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for incident in told.get("incidents", []):
        entity = incident["entityInfo"]
        yield {
            "entity": [entity["entityGroupId"], entity["entityId"]],
            "system": incident["system"],
            "health": incident["health"],
            "code": incident["error"]["code"],
            "message": incident["error"]["msg"],
        }
