"""The calls that the exporter makes to an engine, one method for each.

handle.py makes them and interprets their failures. If the engine hangs, a call blocks for a
minute or for ever (observed on 3.3.9, 4.2.3 and 4.5.3), so nothing that serves, forwards or
handles signals may make one.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from do_dcgm_exporter.dcgm.answers import DeviceIdentity, HealthIncident, MigNode, Watch
from do_dcgm_exporter.dcgm.decoding import RawValue, decode_values
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, ReturnCode
from do_dcgm_exporter.dcgm.handle import Handle, text_of
from do_dcgm_exporter.dcgm.health_errors import HealthError
from do_dcgm_exporter.dcgm.summaries import SUMMARY_MASK, Summary, read_summary
from do_dcgm_exporter.dcgm.value_buffer import ValueBuffer

# Fields per field group and per latest-values call: the check in DcgmApi.cpp is `>= 128`.
FIELDS_PER_CALL = 127

# Names of field groups must be unique among all clients of an engine, and clients in
# containers may share a process id.
_NAME_PREFIX = f"do-dcgm-exporter-{os.getpid()}-{time.monotonic_ns()}"
_serial_numbers = itertools.count(1)

_KINDS = {int(kind): kind for kind in EntityKind}

_SUPPORTED_ONLY = 1  # DCGM_GEGE_FLAG_ONLY_SUPPORTED
_LIVE_DATA = 1  # DCGM_FV_FLAG_LIVE_DATA


@dataclass(slots=True)
class HostEngine(Handle):
    """A connection to an engine. ``connect`` makes one."""

    values: ValueBuffer = field(default_factory=ValueBuffer)

    # Discovery

    def gpu_ids(self) -> tuple[int, ...]:
        """Return DCGM's ids of all GPUs it has found since it started."""
        return tuple(self._call("dcgmGetAllDevices"))

    def supported_gpu_ids(self) -> tuple[int, ...]:
        """Return DCGM's ids of the GPUs it supports; since 4.5, lost ones are not among them."""
        return tuple(self._call("dcgmGetAllSupportedDevices"))

    def gpu_status(self, gpu_id: int) -> int:
        """Return the ``DcgmEntityStatus_t`` of a GPU. Raises CallRefused before 4.0."""
        return int(self._call("dcgmGetGpuStatus", gpu_id))

    def device_identity(self, gpu_id: int) -> DeviceIdentity:
        """Return a GPU's names; those that the driver no longer reports are sentinel texts."""
        identifiers = self._call("dcgmGetDeviceAttributes", gpu_id).identifiers
        return DeviceIdentity(
            text_of(identifiers, "uuid"),
            text_of(identifiers, "pciBusId"),
            text_of(identifiers, "deviceName"),
        )

    def mig_hierarchy(self) -> tuple[MigNode, ...]:
        """Return all GPU instances and compute instances; none without MIG."""
        answer = self._call("dcgmGetGpuInstanceHierarchy")
        return tuple(
            MigNode(
                _entity(node.entity),
                _entity(node.parent),
                int(node.info.nvmlInstanceId),
                int(node.info.nvmlMigProfileId),
                int(node.info.nvmlComputeInstanceId),
            )
            for node in answer.entityList[: answer.count]
        )

    def entity_ids(self, kind: EntityKind) -> tuple[int, ...]:
        """Return the ids of the supported entities of ``kind``.

        Raises CallRefused if the engine has no such kind.
        """
        answer = self._call("dcgmGetEntityGroupEntities", int(kind), _SUPPORTED_ONLY)
        return tuple(answer)

    def cores_by_cpu(self) -> Mapping[int, tuple[int, ...]]:
        """Return the ids of the cores of each CPU."""
        hierarchy = self._call("dcgmGetCpuHierarchy")
        return {
            int(cpu.cpuId): tuple(_bits(cpu.ownedCores.bitmask))
            for cpu in hierarchy.cpus[: hierarchy.numCpus]
        }

    def profiling_field_ids(self, gpu_id: int) -> frozenset[int]:
        """Return the profiling fields in a GPU's metric groups."""
        answer = self._call("dcgmProfGetSupportedMetricGroups", gpu_id)
        return frozenset(
            int(field_id)
            for group in answer.metricGroups[: answer.numMetricGroups]
            for field_id in group.fieldIds[: group.numFieldIds]
        )

    def nvlink_states(self) -> Mapping[int, tuple[int, ...]]:
        """Return each GPU's link states: 0 not supported, 1 disabled, 2 down, 3 up."""
        answer = self._call("dcgmGetNvLinkLinkStatus")
        return {int(gpu.entityId): tuple(gpu.linkState) for gpu in answer.gpus[: answer.numGpus]}

    def p2p_states(self) -> Mapping[tuple[int, int], int]:
        """Return the NvLink P2P state, as in dcgm_structs.h, of each ordered pair of GPUs."""
        if not hasattr(self.bindings.agent, "dcgmGetNvLinkP2PStatus"):
            raise CallRefused(
                "these bindings have no dcgmGetNvLinkP2PStatus", ReturnCode.NOT_SUPPORTED
            )
        answer = self.bindings.structs.c_dcgmNvLinkP2PStatus_v1()
        self._call("dcgmGetNvLinkP2PStatus", answer)
        gpus = answer.gpus[: answer.numGpus]
        return {
            (int(gpu.entityId), int(peer.entityId)): int(gpu.linkStatus[index])
            for gpu in gpus
            for index, peer in enumerate(gpus)
            if gpu.entityId != peer.entityId
        }

    # Watching

    @property
    def entities_per_call(self) -> int:
        """The most entities that fit into a group or a latest-values call."""
        return 64 if self.versions.client_major < 4 else 1024

    def create_group(self, entities: Iterable[Entity]) -> tuple[Any, tuple[Entity, ...]]:
        """Create a group; return it and its entities, without any that are lost or unsupported."""
        group = self._call("dcgmGroupCreate", self._constant("DCGM_GROUP_EMPTY"), _unique_name())
        taken = []
        for entity in entities:
            try:
                self._call("dcgmGroupAddEntity", group, int(entity.kind), entity.id)
            except CallRefused:
                continue
            taken.append(entity)
        return group, tuple(taken)

    def destroy_group(self, group: Any) -> None:
        """Destroy a group; watches that began with it go on (observed)."""
        self._call("dcgmGroupDestroy", group)

    def create_field_group(self, field_ids: Sequence[int]) -> Any:
        """Create a field group. Raises CallRefused if the engine does not know one of the ids."""
        return self._call("dcgmFieldGroupCreate", list(field_ids), _unique_name())

    def destroy_field_group(self, field_group: Any) -> None:
        """Destroy a field group; an engine has 64, for all its clients together."""
        self._call("dcgmFieldGroupDestroy", field_group)

    def watch(self, watch: Watch, interval: float, keep_seconds: float, keep_samples: int) -> None:
        """Sample ``watch`` every ``interval`` seconds; this replaces an earlier interval."""
        self._call(
            "dcgmWatchFields",
            watch.group,
            watch.field_group,
            int(interval * 1e6),
            keep_seconds,
            keep_samples,
        )

    def unwatch(self, watch: Watch) -> None:
        """End ``watch`` on this connection; earlier samples stay readable.

        Fields of the host are watched on no entity. The engine ends everything else, and then says
        "not watched" (RemoveEntityFieldWatch in DcgmCacheManager.cpp, 3.1.8 to 4.6.0).
        """
        try:
            self._call("dcgmUnwatchFields", watch.group, watch.field_group)
        except CallRefused as error:
            if error.code != ReturnCode.NOT_WATCHED:
                raise

    def update(self) -> None:
        """Sample all fields that are due and wait for the samples, if the engine allows it."""
        try:
            self._call("dcgmUpdateAllFields", 1)
        except CallRefused:
            pass  # the engine samples them anyway, only later

    # Reading

    def latest(self, entities: Sequence[Entity], field_ids: Sequence[int]) -> list[RawValue]:
        """Return the newest cached value of every field on every entity."""
        return self._latest(entities, field_ids, 0)

    def live(self, entities: Sequence[Entity], field_ids: Sequence[int]) -> list[RawValue]:
        """Return values straight from the driver, watched or not; slow, so only for discovery."""
        return self._latest(entities, field_ids, _LIVE_DATA)

    def _latest(
        self, entities: Sequence[Entity], field_ids: Sequence[int], flags: int
    ) -> list[RawValue]:
        count = len(entities) * len(field_ids)
        answer = self.values.cleared(count)
        self._call_c(
            "dcgmEntitiesGetLatestValues",
            self._pairs(entities),
            len(entities),
            (ctypes.c_uint16 * len(field_ids))(*field_ids),
            len(field_ids),
            flags,
            answer,
        )
        return list(decode_values(answer, count))

    def since(self, watch: Watch, timestamp: int) -> list[RawValue]:
        """Return all samples of ``watch`` that the engine keeps, from ``timestamp`` (µs) on.

        For an entity and field without any, there is one value whose status says so (tried on
        four releases).
        """
        collected: list[RawValue] = []

        def take(kind: int, entity_id: int, values: Any, count: int, _: Any) -> int:
            # C calls this; an exception would be printed and lost.
            if kind in _KINDS:
                entity = Entity(_KINDS[kind], entity_id)
                collected.extend(
                    RawValue(entity, value.fieldId, value.status, value.ts, _number_of(value))
                    for value in values[:count]
                )
            return 0

        callback = self.bindings.agent.dcgmFieldValueEntityEnumeration_f(take)
        self._call(
            "dcgmGetValuesSince_v2", watch.group, watch.field_group, timestamp, callback, None
        )
        return collected

    def summary(self, entity: Entity, field_id: int, start: int, end: int) -> Summary:
        """Return what the samples from ``start`` to ``end`` (µs), both included, come to.

        Raises CallRefused, with NO_DATA if there is none.
        """
        answer = self._call(
            "dcgmGetFieldSummary", field_id, int(entity.kind), entity.id, SUMMARY_MASK, start, end
        ).response
        member = "dbl" if answer.fieldType == ord("d") else "i64"
        numbers = [getattr(value, member) for value in answer.values[: answer.summaryCount]]
        return read_summary(entity, field_id, numbers, end - start)

    # Health

    def watch_health(self, group: Any, interval: float, keep_seconds: float) -> None:
        """Turn on all of DCGM's health watches for ``group``.

        Every release takes the mask of all; it stands for those that the release has.
        """
        systems = self._constant("DCGM_HEALTH_WATCH_ALL")
        self._call("dcgmHealthSet_v2", group, systems, int(interval * 1e6), keep_seconds)

    def health_incidents(self, group: Any) -> list[HealthIncident]:
        """Return what the health watches of ``group`` have found."""
        answer = self._call("dcgmHealthCheck", group)
        return [
            HealthIncident(
                _entity(incident.entityInfo),
                int(incident.system),
                int(incident.health),
                int(incident.error.code),
            )
            for incident in answer.incidents[: answer.incidentCount]
        ]

    def health_error(self, code: int) -> HealthError:
        """Return what DCGM says about an error of its health checks."""
        return self.bindings.health_errors.get(code, HealthError(f"DCGM_FR_{code}"))

    def _pairs(self, entities: Sequence[Entity]) -> Any:
        pairs = (self.bindings.structs.c_dcgmGroupEntityPair_t * len(entities))()
        for pair, entity in zip(pairs, entities, strict=True):
            pair.entityGroupId, pair.entityId = entity
        return pairs


def _entity(pair: Any) -> Entity:
    kind = int(pair.entityGroupId)
    return Entity(_KINDS.get(kind, EntityKind.NONE), int(pair.entityId))


def _bits(words: Sequence[int]) -> Iterator[int]:
    for index, word in enumerate(words):
        yield from (index * 64 + bit for bit in range(64) if word >> bit & 1)


def _number_of(value: Any) -> int | float:
    number: int | float = value.value.dbl if value.fieldType == ord("d") else value.value.i64
    return number


def _unique_name() -> str:
    return f"{_NAME_PREFIX}-{next(_serial_numbers)}"
