"""Write down what an engine answers, in the format of tests/data/recordings.

The simulator plays such a file. Nothing is asked for its sake: it holds the last answer to each
question that the exporter asked.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import RawValue
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import EngineError
from do_dcgm_exporter.dcgm.handle import text_of

# How recordings spell the kinds whose names differ here.
_KIND_NAMES = {EntityKind.GPU_INSTANCE: "GPU_I", EntityKind.COMPUTE_INSTANCE: "GPU_CI"}
# The type of a field by that of its payload, which is all the exporter decodes; None is a blob.
_FIELD_TYPES: Mapping[type, str] = {int: "i", float: "d", str: "s"}
_TIMESTAMP = 5  # its place in the row of a value
# The clocks a GPU could run at: hundreds of lines that no page needs.
_LEFT_OUT = frozenset({"clockSets"})


@dataclass(slots=True)
class Recording:
    """The last answer to each question, by section of the file. Several threads may add."""

    told: dict[str, Any] = field(default_factory=dict)
    values: dict[tuple[int, int, int, int], list[Any]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, section: str, answer: Any, key: str = "") -> None:
        """Put ``answer`` into ``section``, under ``key`` if it has several."""
        with self._lock:
            if key:
                self.told.setdefault(section, {})[key] = answer
            else:
                self.told[section] = answer

    def tell_values(self, values: Iterable[RawValue], *, events: bool = False) -> None:
        """Keep the last value of each field, and each of the ``events``."""
        with self._lock:
            for raw in values:
                kind = _FIELD_TYPES.get(type(raw.payload))
                key = *raw.entity, raw.field_id, raw.timestamp if events else 0
                if kind is not None:
                    row = [*key[:3], kind, raw.status, raw.timestamp, raw.payload]
                    self.values[key] = row

    def content(self, time_us: int) -> dict[str, Any]:
        """Return all that was told until ``time_us``, as one cycle; nothing if there is nothing.

        No value is of the future, also where the engine's clock is ahead of ours.
        """
        with self._lock:
            rows = sorted(self.values.values(), key=_place)
            now = max([time_us, *(row[_TIMESTAMP] for row in rows)])
            cycle = {"time_us": now, "values": rows}
            # A call that was not waited for may yet add to a section.
            told = {k: dict(v) if isinstance(v, dict) else v for k, v in self.told.items()}
            return {**told, "cycles": [cycle]} if told else {}


def _place(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(row[:3]), row[_TIMESTAMP]


class _Place(NamedTuple):
    """Where the answer to a call goes: ``key`` is made of the call's arguments."""

    section: str
    plain: Callable[[Any], Any]
    key: Callable[[Any], str] | None = None


def _plain(value: Any) -> Any:
    """Return a ctypes value as what JSON can hold."""
    if isinstance(value, ctypes.Structure):
        return {
            name: text_of(value, name) if _is_text(kind) else _plain(getattr(value, name))
            for name, kind, *_ in value._fields_
            if name not in _LEFT_OUT
        }
    if isinstance(value, (ctypes.Array, list, tuple)):
        return [_plain(part) for part in value]
    return value


def _is_text(kind: Any) -> bool:
    return issubclass(kind, ctypes.Array) and kind._type_ is ctypes.c_char


def _rows(counted: str, rows: str) -> Callable[[Any], Any]:
    """Return what takes the array ``rows`` of a structure that counts them in ``counted``."""
    return lambda answer: [_plain(row) for row in getattr(answer, rows)[: getattr(answer, counted)]]


def _links(answer: Any) -> dict[str, Any]:
    gpus = _rows("numGpus", "gpus")(answer)
    return {"numGpus": len(gpus), "gpus": gpus, "numNvSwitches": answer.numNvSwitches}


def _health(answer: Any) -> dict[str, Any]:
    incidents = _rows("incidentCount", "incidents")(answer)
    return {"overallHealth": int(answer.overallHealth), "incidents": incidents}


def _metric_groups(answer: Any) -> list[dict[str, Any]]:
    groups = _rows("numMetricGroups", "metricGroups")(answer)
    return [group | {"fieldIds": group["fieldIds"][: group["numFieldIds"]]} for group in groups]


def _kind_name(kind: int) -> str:
    return _KIND_NAMES.get(EntityKind(kind), EntityKind(kind).name)


_PLACES: dict[str, _Place] = {
    "dcgmGetAllDevices": _Place("all_devices", _plain),
    "dcgmGetAllSupportedDevices": _Place("supported_devices", _plain),
    "dcgmGetGpuStatus": _Place("gpu_status", int, str),
    "dcgmGetDeviceAttributes": _Place("attributes", _plain, str),
    "dcgmGetEntityGroupEntities": _Place("entities", _plain, _kind_name),
    "dcgmGetGpuInstanceHierarchy": _Place("gpu_instance_hierarchy", _rows("count", "entityList")),
    "dcgmGetNvLinkLinkStatus": _Place("nvlink_status", _links),
    "dcgmGetNvLinkP2PStatus": _Place("p2p_status", _rows("numGpus", "gpus")),
    "dcgmProfGetSupportedMetricGroups": _Place("prof_metric_groups", _metric_groups, str),
    "dcgmGetCpuHierarchy": _Place("cpu_hierarchy", _rows("numCpus", "cpus")),
    "dcgmHealthCheck": _Place("health", _health),
}
_FILLS_ARGUMENT = "dcgmGetNvLinkP2PStatus"
# Their refusals are due to the release or to one field, not to the machine.
_NOT_OF_THE_MACHINE = frozenset({"dcgmFieldGroupCreate", "dcgmGetFieldSummary", "dcgmWatchFields"})


@dataclass(slots=True)
class RecordingEngine(HostEngine):
    """An engine whose answers are written down."""

    recording: Recording = field(default_factory=Recording)

    def _call(self, function: str, *arguments: Any) -> Any:
        try:
            answer = HostEngine._call(self, function, *arguments)
        except EngineError as error:
            self._note_refusal(function, arguments, _refusal(error))
            raise
        if place := _PLACES.get(function):
            told = arguments[0] if function == _FILLS_ARGUMENT else answer
            self.recording.tell(place.section, place.plain(told), _key(place, arguments))
        return answer

    def _note_refusal(self, function: str, arguments: Sequence[Any], refusal: Any) -> None:
        place = _PLACES.get(function)
        if function == "dcgmGroupAddEntity":
            self.recording.tell("group_refused", refusal, f"{arguments[1]}:{arguments[2]}")
        elif place is not None and place.key is not None:
            self.recording.tell(place.section, refusal, _key(place, arguments))
        elif function not in _NOT_OF_THE_MACHINE:
            self.recording.tell("errors", refusal, function)

    def watch(self, watch: Watch, interval: float, keep_seconds: float, keep_samples: int) -> None:
        """Write down what is refused; otherwise as in HostEngine."""
        try:
            HostEngine.watch(self, watch, interval, keep_seconds, keep_samples)
        except EngineError as error:
            first, last = min(watch.field_ids), max(watch.field_ids)
            fields = str(first) if first == last else f"{first}..{last}"
            self.recording.tell("watch_refused", _refusal(error), fields)
            raise

    def _latest(
        self, entities: Sequence[Entity], field_ids: Sequence[int], flags: int
    ) -> list[RawValue]:
        try:
            values = HostEngine._latest(self, entities, field_ids, flags)
        except EngineError as error:
            if len(field_ids) == 1:
                name = f"latest of field {field_ids[0]}"
                self.recording.tell("errors", _refusal(error), name)
            raise
        self.recording.tell_values(values)
        return values

    def since(self, watch: Watch, timestamp: int) -> list[RawValue]:
        """Write down the samples, which only events are read as; otherwise as in HostEngine."""
        values = HostEngine.since(self, watch, timestamp)
        self.recording.tell_values(values, events=True)
        return values


def _key(place: _Place, arguments: Sequence[Any]) -> str:
    return place.key(arguments[0]) if place.key else ""


def _refusal(error: EngineError) -> dict[str, Any]:
    cause = error.__cause__ or error
    return {"error": type(cause).__name__, "code": error.code, "text": str(cause)}
