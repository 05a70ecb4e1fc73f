"""The simulated engine itself: connections, and the calls they make."""

from __future__ import annotations

import itertools
import struct
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from dcgm_simulator import skew
from dcgm_simulator.answers import Hardware
from dcgm_simulator.cache import Cache
from dcgm_simulator.codes import EntityGroup, Status, StatusError
from dcgm_simulator.discovery import Discovery
from dcgm_simulator.engine_log import EngineLog
from dcgm_simulator.faults import Faults
from dcgm_simulator.fields import Field
from dcgm_simulator.groups import Group, Registry
from dcgm_simulator.machine import Entity, Machine
from dcgm_simulator.recorded import RecordedHardware, RecordedMachine, inject
from dcgm_simulator.recording import Recording
from dcgm_simulator.series import Watch
from dcgm_simulator.summaries import ALL_SUMMARIES, summarize
from dcgm_simulator.versions import FIELDS_PER_CALL, Behaviour, behaviour, build_information
from dcgm_simulator.wire import Function, join_records, pack_json, pack_record, unpack_json
from dcgm_simulator.xids import Xids

LATEST_HEAD = struct.Struct("<IHH")
"""flags, number of entities, number of fields."""
LIVE_DATA = 1
"""DCGM_FV_FLAG_LIVE_DATA: ask the hardware, not the cache."""


def now_in_microseconds() -> int:
    """Return the time as DCGM stamps samples."""
    return time.time_ns() // 1000


def standing_clock() -> Callable[[], int]:
    """Return a clock that stands still at this moment."""
    moment = now_in_microseconds()
    return lambda: moment


@dataclass
class Connection:
    """One connected client."""

    id: int
    client: Behaviour
    """The version of its bindings."""


class Host:
    """An engine: one machine, one cache, the groups and connections of its clients."""

    def __init__(
        self,
        scenario: str,
        version: str,
        seed: int = 0,
        clock: Callable[[], int] = now_in_microseconds,
        *,
        still: bool = False,
        recording: Recording | None = None,
    ) -> None:
        self.scenario = scenario
        self._recording = recording
        self.seed = seed
        self._clock = clock
        self._ahead = 0
        self._still = still
        self.connections: dict[int, Connection] = {}
        self.calls: Counter[str] = Counter()
        self.incidents: list[dict[str, Any]] = []
        self._load(version)

    def _load(self, version: str) -> None:
        self.behaviour = behaviour(version)
        self._make_machine()
        self.faults = Faults()
        self.log = EngineLog(self.behaviour)
        self.cache = Cache(self.machine, self.hardware, self.faults, self.log)
        if self._recording is not None:
            inject(self._recording, self.faults, self.cache, self.clock())
            self.incidents = list(self._recording.incidents)
        self.xids = Xids(self.cache)
        self.registry = Registry(self.machine, self.faults, self.clock)
        self.discovery = Discovery(self.machine, self.faults, self.log, self.clock)

    def _make_machine(self) -> None:
        self.machine: Machine
        self.hardware: Hardware
        if self._recording is None:
            self.machine = Machine(self.scenario, self.behaviour, self.seed)
            self.hardware = Hardware(self.machine, self.seed, self.clock(), still=self._still)
        else:
            recorded = RecordedMachine(self._recording, self.behaviour)
            self.machine = recorded
            self.hardware = RecordedHardware(recorded, self.clock())

    def clock(self) -> int:
        """Return the time as samples are stamped, in µs."""
        return self._clock() + self._ahead

    def pass_time(self, seconds: float) -> None:
        """Advance the clock."""
        self._ahead += round(seconds * 1e6)

    def skew(self, version: str) -> None:
        """Behave like another version from now on, as if upgraded and restarted.

        Raises ValueError for a version that cannot be imitated.
        """
        behaviour(version)
        self._load(version)

    # --- connections ---------------------------------------------------------------------

    def connect(self, number: int, version: str) -> None:
        """Accept a client with bindings of a version."""
        self.connections[number] = Connection(number, behaviour(version))

    def disconnect(self, number: int) -> None:
        """Forget a client, its watches and its groups."""
        if self.connections.pop(number, None) is not None:
            self.cache.unwatch_all(number, self.clock())
            self.registry.drop_owner(number)

    def call(self, number: int, function: Function, body: bytes) -> bytes:
        """Answer a call.

        Raises StatusError if the call fails, ValueError if it makes no sense.
        """
        connection = self.connections[number]
        self.calls[function.name.lower()] += 1
        self.cache.events.settle(self.clock())
        refused = self.faults.refused.get(function.name.lower())
        refused = refused or skew.refusal(function, connection.client, self.behaviour)
        if refused is not None:
            raise StatusError(refused)
        if function in _PACKED:
            return _PACKED[function](self, body)
        if function in _PLAIN:
            return pack_json(_PLAIN[function](self))
        asked = unpack_json(body)
        if function in _ASKING:
            return pack_json(_ASKING[function](self, asked))
        return pack_json(_OWNING[function](self, connection, asked))

    # --- reading -------------------------------------------------------------------------

    def latest_values(self, body: bytes) -> bytes:
        """Return the newest values of some entities and fields, entity by entity."""
        flags, entity_count, field_count = LATEST_HEAD.unpack_from(body)
        numbers = struct.unpack_from(f"<{2 * entity_count}I{field_count}H", body, LATEST_HEAD.size)
        if (
            not 0 < entity_count <= self.behaviour.entity_limit
            or not 0 < field_count <= FIELDS_PER_CALL
        ):
            raise StatusError(Status.BADPARAM)
        fields = numbers[2 * entity_count :]
        now, latest, live = self.clock(), self.cache.latest_packed, bool(flags & LIVE_DATA)
        entities = [Entity(*numbers[i : i + 2]) for i in range(0, 2 * entity_count, 2)]
        return join_records(
            [latest(entity, field, now, live) for entity in entities for field in fields]
        )

    def values_since(self, body: bytes) -> bytes:
        """Return all samples since a time, and the time to ask from next."""
        group, field_group, since = struct.unpack("<QQq", body)
        now, fields = self.clock(), self.cache.fields()
        numbers = self.registry.field_group(field_group).fields
        known = [fields[number] for number in numbers if number in fields]
        records = [
            pack_record(record)
            for entity in self.registry.group(group).entities
            for field in known
            for record in self.cache.history(entity, field, since, now)
        ]
        return struct.pack("<q", now + 1) + join_records(records)

    def field_summary(self, asked: list[int]) -> list[Any]:
        """Return the type of a field, and what its samples between two times come to.

        Raises StatusError, -1 for an unknown field and -32 for what is no number
        (DcgmHostEngineHandler::HelperGetFieldSummary).
        """
        group, entity_id, number, mask, start, end = asked
        field = self.cache.fields().get(number)
        if field is None:
            raise StatusError(Status.BADPARAM)
        if field.type not in "id":
            raise StatusError(Status.FIELD_UNSUPPORTED_BY_API)
        if not mask & ALL_SUMMARIES:
            raise StatusError(Status.BADPARAM)
        entity = Entity(group, entity_id)
        samples = self.cache.between(entity, field, start, end, self.clock())
        return [ord(field.type), summarize(samples, field.type, mask)]

    # --- watching ------------------------------------------------------------------------

    def watch_fields(self, connection: Connection, asked: list[Any]) -> None:
        """Watch all fields of a field group on all entities of a group."""
        group, field_group, interval, keep_age, keep_samples = asked
        entities, fields = self._pairs(group, field_group)
        if interval <= 0:
            raise StatusError(Status.BADPARAM)
        if any(self._refuses_to_watch(entity, field) for entity in entities for field in fields):
            # The engine undoes all watches of the call (DcgmHostEngineHandler.cpp).
            self._end_watches(connection, entities, fields)
            raise StatusError(Status.GPU_IS_LOST)
        if self.faults.profiling_needs_root and any(field.is_profiling for field in fields):
            self._end_watches(connection, entities, fields)
            raise StatusError(Status.REQUIRES_ROOT)
        watch, now = Watch(interval, keep_age, keep_samples), self.clock()
        profiling, wakes = self.machine.layout.profiling, self.cache.next_wake(now)
        at_once = [
            self.cache.watch(connection.id, entity, field, watch, now, wakes)
            for entity in entities
            for field in fields
            if profiling or not field.is_profiling
        ]
        if any(at_once):
            self.cache.wake(now)
        if not profiling and any(field.is_profiling for field in fields):
            # The other fields of the group are watched all the same (observed on 4.2.3).
            raise StatusError(Status.MODULE_NOT_LOADED)

    def _refuses_to_watch(self, entity: Entity, field: Field) -> bool:
        """Return whether a field is of a lost GPU and new, so that the engine asks the driver.

        Engines that notice lost GPUs do not ask (DcgmCacheManager::NvmlPreWatch).
        """
        if self.behaviour.notices_lost_gpus or entity.group != EntityGroup.GPU or field.is_global:
            return False
        series = self.cache.series.get((entity, field.id))
        is_lost = self.faults.lost_since(entity.id, self.clock()) is not None
        return is_lost and (series is None or not series.watches)

    def unwatch_fields(self, connection: Connection, asked: list[Any]) -> None:
        """End this connection's watches of a field group on a group.

        Raises StatusError in the end if something was never watched, as fields of the host are not
        on any entity (DcgmCacheManager::RemoveEntityFieldWatch; tried on 4.6.0).
        """
        if not self._end_watches(connection, *self._pairs(*asked)):
            raise StatusError(Status.NOT_WATCHED)

    def _end_watches(
        self, connection: Connection, entities: list[Entity], fields: list[Field]
    ) -> bool:
        """End a connection's watches; return whether everything was ever watched."""
        now, were_watched = self.clock(), True
        for entity, field in itertools.product(entities, fields):
            if not field.is_global and self.cache.is_watched(entity, field):
                self.cache.unwatch(connection.id, entity, field, now)
            else:
                were_watched = False
        return were_watched

    def update_all_fields(self) -> None:
        """Sample all fields that are due."""
        self.cache.wake(self.clock())

    def _pairs(self, group: int, field_group: int) -> tuple[list[Entity], list[Field]]:
        known = self.cache.fields()
        numbers = self.registry.field_group(field_group).fields
        return self.registry.group(group).entities, [known[number] for number in numbers]

    # --- health --------------------------------------------------------------------------

    def health_set(self, asked: list[Any]) -> None:
        """Set which systems of a group's entities are watched.

        No release refuses a bit that it does not know (DcgmHealthWatch::SetWatches).
        """
        self.registry.group(asked[0]).health_systems = asked[1]

    def health_check(self, group: int) -> list[Any]:
        """Return overall health and incidents; a lost GPU is no incident (observed)."""
        watched: Group = self.registry.group(group)
        found = [
            incident
            for incident in self.incidents
            if self._is_checked(Entity(*incident["entity"]), watched)
            and incident["system"] & watched.health_systems
        ]
        return [max((incident["health"] for incident in found), default=0), found]

    def _is_checked(self, entity: Entity, group: Group) -> bool:
        """Return whether checking a group looks at an entity.

        ConnectX adapters are looked at since 4.5.3. So is IMEX, which is no entity's, if a GPU
        has NvLinks (DcgmHealthWatch::MonitorWatches).
        """
        if entity.group in (EntityGroup.NONE, EntityGroup.CONNECTX) and self.behaviour.index < 2:
            return False
        if entity.group == EntityGroup.NONE:
            return self.machine.has_nvlinks
        return entity in group.entities

    def version_info(self) -> str:
        """Return the engine's build information, as dcgmVersionInfo words it."""
        return build_information(self.behaviour.version, self.machine.architecture)


_PACKED: dict[Function, Callable[[Host, bytes], bytes]] = {
    Function.LATEST_VALUES: Host.latest_values,
    Function.LATEST_VALUES_OF_ENTITY: Host.latest_values,
    Function.VALUES_SINCE: Host.values_since,
}
_PLAIN: dict[Function, Callable[[Host], Any]] = {
    Function.UPDATE_ALL_FIELDS: Host.update_all_fields,
    Function.GET_ALL_DEVICES: lambda host: host.discovery.devices(),
    Function.GET_ALL_SUPPORTED_DEVICES: lambda host: host.discovery.supported_devices(),
    Function.GET_GPU_INSTANCE_HIERARCHY: lambda host: host.discovery.hierarchy(),
    Function.GET_NVLINK_LINK_STATUS: lambda host: host.discovery.nvlink_status(),
    Function.GET_NVLINK_P2P_STATUS: lambda host: host.discovery.p2p_status(),
    Function.GET_CPU_HIERARCHY: lambda host: host.discovery.cpu_hierarchy(),
    Function.GET_CPU_HIERARCHY_V2: lambda host: host.discovery.cpu_hierarchy(),
    Function.MODULE_GET_STATUSES: lambda host: host.discovery.module_statuses(),
    Function.HOSTENGINE_VERSION_INFO: Host.version_info,
    Function.GROUP_GET_ALL_IDS: lambda host: host.registry.group_ids(),
    Function.FIELD_GROUP_GET_ALL: lambda host: host.registry.all_field_groups(),
}
_ASKING: dict[Function, Callable[[Host, Any], Any]] = {
    Function.GROUP_DESTROY: lambda host, asked: host.registry.destroy_group(asked),
    Function.GROUP_ADD_ENTITY: lambda host, asked: host.registry.add_entity(
        asked[0], Entity(*asked[1:])
    ),
    Function.GROUP_REMOVE_ENTITY: lambda host, asked: host.registry.remove_entity(
        asked[0], Entity(*asked[1:])
    ),
    Function.GROUP_GET_INFO: lambda host, asked: host.registry.group_info(asked),
    Function.FIELD_GROUP_DESTROY: lambda host, asked: host.registry.destroy_field_group(asked),
    Function.FIELD_GROUP_GET_INFO: lambda host, asked: host.registry.field_group_info(asked),
    Function.GET_FIELD_SUMMARY: Host.field_summary,
    Function.GET_DEVICE_ATTRIBUTES: lambda host, asked: host.discovery.attributes(asked),
    Function.GET_ENTITY_GROUP_ENTITIES: lambda host, asked: host.discovery.entities(*asked),
    Function.GET_GPU_STATUS: lambda host, asked: host.discovery.gpu_status(asked),
    Function.HEALTH_SET: Host.health_set,
    Function.HEALTH_GET: lambda host, asked: host.registry.group(asked).health_systems,
    Function.HEALTH_CHECK: Host.health_check,
    Function.PROF_GET_SUPPORTED_METRIC_GROUPS: lambda host, asked: host.discovery.profiling_groups(
        asked
    ),
}
_OWNING: dict[Function, Callable[[Host, Connection, Any], Any]] = {
    Function.WATCH_FIELDS: Host.watch_fields,
    Function.UNWATCH_FIELDS: Host.unwatch_fields,
    Function.GROUP_CREATE: lambda host, who, asked: host.registry.create_group(who.id, *asked),
    Function.FIELD_GROUP_CREATE: lambda host, who, asked: host.registry.create_field_group(
        who.id, *asked
    ),
}
