"""One connection to one engine: the only file that calls a bindings module.

Every call goes through ``HostEngine._call``, which counts it and turns DCGM's errors
into ours. Calls may block for a minute or for ever when the engine hangs (observed on
3.3.9, 4.2.3 and 4.5.3), so only the agent's thread may make them.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from do_dcgm_exporter.dcgm.answers import DeviceIdentity, HealthIncident, MigNode, Watch
from do_dcgm_exporter.dcgm.bindings import Bindings
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.decoding import RawValue, decode_values
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import (
    CallRefused,
    EngineError,
    EngineUnavailable,
    ReturnCode,
    VersionSkew,
    engine_error,
)
from do_dcgm_exporter.dcgm.value_buffer import ValueBuffer
from do_dcgm_exporter.dcgm.versions import Versions, version_in

# Functions that some supported release lacks: dcgmGetCpuHierarchy 3.1.8, dcgmGetGpuStatus all
# of 3.x, dcgmGetNvLinkP2PStatus everything before 4.4.2, dcgmConnect_v3 before 4.5.
OPTIONAL_FUNCTIONS = frozenset(
    {"dcgmConnect_v3", "dcgmGetCpuHierarchy", "dcgmGetGpuStatus", "dcgmGetNvLinkP2PStatus"}
)

# Fields per field group and per latest-values call: the check in DcgmApi.cpp is `>= 128`.
FIELDS_PER_CALL = 127

# Field groups' names must be unique over all clients of an engine, and clients in
# containers may have the same process id.
_NAME_PREFIX = f"do-dcgm-exporter-{os.getpid()}-{time.monotonic_ns()}"
_serial_numbers = itertools.count(1)

_KINDS = {int(kind): kind for kind in EntityKind}

_SUPPORTED_ONLY = 1  # DCGM_GEGE_FLAG_ONLY_SUPPORTED
_LIVE_DATA = 1  # DCGM_FV_FLAG_LIVE_DATA


@dataclass(slots=True)
class HostEngine:
    """A live connection. Make one with ``connect``; never share it between threads."""

    bindings: Bindings
    handle: Any
    count: CallCount
    versions: Versions = field(default_factory=Versions)
    values: ValueBuffer = field(default_factory=ValueBuffer)

    @classmethod
    def connect(
        cls, bindings: Bindings, address: EngineAddress, timeout: float, count: CallCount
    ) -> HostEngine:
        """Connect and prove that the connection works.

        ``dcgmConnect_v2`` can answer OK with a dead handle (DcgmApi.cpp), hence the probe.
        ``timeout`` (seconds) bounds a refused connection only. Raises EngineUnavailable,
        VersionSkew or NvmlNotLoaded.
        """
        client = version_in(_text_of(bindings.agent.dcgmVersionInfo(), "rawBuildInfoString"))
        _check_address(address, bindings, Versions(client))
        engine = cls(bindings, None, count, Versions(client))
        try:
            engine.handle = engine._dial(address, int(timeout * 1000))
        except EngineError as error:
            raise EngineUnavailable(
                f"no engine answers at {address} ({error})", error.code
            ) from error
        try:
            engine._probe()
        except EngineError as error:
            engine.disconnect()
            error.versions = engine.versions
            raise
        return engine

    def _dial(self, address: EngineAddress, timeout: int) -> Any:
        """Connect within ``timeout`` (milliseconds) and return the handle."""
        agent, structs = self.bindings.agent, self.bindings.structs
        parameters = (
            structs.c_dcgmConnectV3Params_v1()
            if address.is_vsock
            else structs.c_dcgmConnectV2Params_v2()
        )
        parameters.persistAfterDisconnect = 0
        parameters.timeoutMs = timeout
        if address.is_vsock:
            with self._counted("dcgmConnect_v3"):
                return agent.dcgmConnect_v3(str(address), parameters)
        parameters.addressIsUnixSocket = 1 if address.socket_path else 0
        with self._counted("dcgmConnect_v2"):
            return agent.dcgmConnect_v2(address.socket_path or str(address), parameters)

    def disconnect(self) -> None:
        """End the connection; the engine drops its groups, field groups and watches."""
        try:
            self._call("dcgmDisconnect")
        except EngineError:
            pass  # a dead connection has nothing left to give back

    def _probe(self) -> None:
        self.versions = Versions(self.versions.client, self._engine_version())
        if self.versions.engine_release[0] not in (0, self.versions.client_major):
            raise VersionSkew(self.versions.remedy(), ReturnCode.VERSION_MISMATCH)
        self.supported_gpu_ids()

    def _engine_version(self) -> str:
        """Ask for the engine's release; the bindings do not wrap this function."""
        structs = self.bindings.structs
        answer = structs.c_dcgmVersionInfo_v2()
        answer.version = structs.dcgmVersionInfo_version2
        with self._counted("dcgmHostengineVersionInfo"):
            ask = structs._dcgmGetFunctionPointer("dcgmHostengineVersionInfo")
            code = ask(self.handle, ctypes.byref(answer))
        if code == ReturnCode.CONNECTION_NOT_VALID:
            raise engine_error(code, "dead handle", "dcgmHostengineVersionInfo")
        return version_in(_text_of(answer, "rawBuildInfoString")) if code == ReturnCode.OK else ""

    # Discovery

    def gpu_ids(self) -> tuple[int, ...]:
        """DCGM's ids of all GPUs that it has found since it started."""
        return tuple(self._call("dcgmGetAllDevices"))

    def supported_gpu_ids(self) -> tuple[int, ...]:
        """DCGM's ids of the GPUs it supports; since 4.5 a lost one is not among them."""
        return tuple(self._call("dcgmGetAllSupportedDevices"))

    def gpu_status(self, gpu_id: int) -> int:
        """DCGM's ``DcgmEntityStatus_t`` of a GPU; CallRefused before 4.0."""
        return int(self._call("dcgmGetGpuStatus", gpu_id))

    def device_identity(self, gpu_id: int) -> DeviceIdentity:
        """Return who GPU ``gpu_id`` is; parts the driver no longer tells are sentinel texts."""
        identifiers = self._call("dcgmGetDeviceAttributes", gpu_id).identifiers
        return DeviceIdentity(
            _text_of(identifiers, "uuid"),
            _text_of(identifiers, "pciBusId"),
            _text_of(identifiers, "deviceName"),
        )

    def mig_hierarchy(self) -> tuple[MigNode, ...]:
        """All GPU instances and compute instances, empty without MIG."""
        answer = self._call("dcgmGetGpuInstanceHierarchy")
        return tuple(
            MigNode(
                _entity(node.entity),
                _entity(node.parent),
                int(node.info.nvmlInstanceId),
                int(node.info.nvmlMigProfileId),
            )
            for node in answer.entityList[: answer.count]
        )

    def entity_ids(self, kind: EntityKind) -> tuple[int, ...]:
        """Return the supported entities of ``kind``. Raises CallRefused if it has no such kind."""
        answer = self._call("dcgmGetEntityGroupEntities", int(kind), _SUPPORTED_ONLY)
        return tuple(answer)

    def cores_by_cpu(self) -> Mapping[int, tuple[int, ...]]:
        """Core ids by CPU id."""
        hierarchy = self._call("dcgmGetCpuHierarchy")
        return {
            int(cpu.cpuId): tuple(_bits(cpu.ownedCores.bitmask))
            for cpu in hierarchy.cpus[: hierarchy.numCpus]
        }

    def profiling_field_ids(self, gpu_id: int) -> frozenset[int]:
        """Profiling fields that GPU ``gpu_id``'s own metric groups offer."""
        answer = self._call("dcgmProfGetSupportedMetricGroups", gpu_id)
        return frozenset(
            int(field_id)
            for group in answer.metricGroups[: answer.numMetricGroups]
            for field_id in group.fieldIds[: group.numFieldIds]
        )

    def nvlink_states(self) -> Mapping[int, tuple[int, ...]]:
        """Per GPU its links' states: 0 not supported, 1 disabled, 2 down, 3 up."""
        answer = self._call("dcgmGetNvLinkLinkStatus")
        return {int(gpu.entityId): tuple(gpu.linkState) for gpu in answer.gpus[: answer.numGpus]}

    def p2p_states(self) -> Mapping[tuple[int, int], int]:
        """NvLink peer-to-peer state by ordered pair of GPUs, numbered as in dcgm_structs.h."""
        if not hasattr(self.bindings.agent, "dcgmGetNvLinkP2PStatus"):
            raise CallRefused("these bindings have no dcgmGetNvLinkP2PStatus")
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
        """Most entities in a group and in one latest-values call."""
        return 64 if self.versions.client_major < 4 else 1024

    def create_group(self, entities: Iterable[Entity]) -> tuple[Any, tuple[Entity, ...]]:
        """Make a group and return it with the entities it took, not lost or unsupported ones."""
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
        """Give a group back; what is watched through it stays watched (observed)."""
        self._call("dcgmGroupDestroy", group)

    def create_field_group(self, field_ids: Sequence[int]) -> Any:
        """Make a field group. Raises CallRefused when the engine does not know one of the ids."""
        return self._call("dcgmFieldGroupCreate", list(field_ids), _unique_name())

    def destroy_field_group(self, field_group: Any) -> None:
        """Give a field group back; an engine has 64 for all its clients together."""
        self._call("dcgmFieldGroupDestroy", field_group)

    def watch(self, watch: Watch, interval: float, keep_seconds: float, keep_samples: int) -> None:
        """Sample ``watch`` every ``interval`` seconds; replaces its former interval."""
        self._call(
            "dcgmWatchFields",
            watch.group,
            watch.field_group,
            int(interval * 1e6),
            keep_seconds,
            keep_samples,
        )

    def unwatch(self, watch: Watch) -> None:
        """End ``watch`` on this connection; what was sampled stays readable."""
        self._call("dcgmUnwatchFields", watch.group, watch.field_group)

    def update(self) -> None:
        """Have every field that is due sampled now, and wait for it."""
        self._call("dcgmUpdateAllFields", 1)

    # Reading

    def latest(self, entities: Sequence[Entity], field_ids: Sequence[int]) -> list[RawValue]:
        """Return the newest cached value of every field on every entity."""
        return self._latest(entities, field_ids, 0)

    def live(self, entities: Sequence[Entity], field_ids: Sequence[int]) -> list[RawValue]:
        """Values asked from the driver now, watched or not; slow, so only for discovery."""
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
        """All kept samples of ``watch`` at or after ``timestamp`` (microseconds)."""
        collected: list[RawValue] = []

        def take(kind: int, entity_id: int, values: Any, count: int, _: Any) -> int:
            # Called from C: an exception here would be printed and lost.
            entity = Entity(EntityKind(kind), entity_id)
            collected.extend(
                RawValue(entity, value.fieldId, value.status, value.ts, value.value.i64)
                for value in values[:count]
            )
            return 0

        callback = self.bindings.agent.dcgmFieldValueEntityEnumeration_f(take)
        self._call(
            "dcgmGetValuesSince_v2", watch.group, watch.field_group, timestamp, callback, None
        )
        return collected

    # Health

    def watch_health(self, group: Any, interval: float, keep_seconds: float) -> None:
        """Turn on all of DCGM's health watches for ``group``."""
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

    def health_error_name(self, code: int) -> str:
        """DCGM's name of a health error, such as ``DCGM_FR_PCI_REPLAY_RATE``."""
        return self.bindings.health_errors.get(code, f"DCGM_FR_{code}")

    # The seam

    def _call(self, function: str, *arguments: Any) -> Any:
        """Call ``function`` of the bindings on this connection."""
        call = getattr(self.bindings.agent, function, None)
        if call is None:
            raise CallRefused(f"these bindings have no {function}", ReturnCode.NOT_SUPPORTED)
        with self._counted(function):
            return call(self.handle, *arguments)

    def _call_c(self, function: str, *arguments: Any) -> None:
        """Call ``function`` of libdcgm itself, past what the bindings do around it."""
        structs = self.bindings.structs
        with self._counted(function):
            status = structs._dcgmGetFunctionPointer(function)(self.handle, *arguments)
            structs._dcgmCheckReturn(status)

    @contextmanager
    def _counted(self, function: str) -> Iterator[None]:
        """Count a call, and raise DCGM's errors as ours."""
        self.count.calls += 1
        try:
            yield
        except self.bindings.structs.DCGMError as error:
            raise self._translated(error, function) from error
        finally:
            self.count.ended += 1

    def _translated(self, error: Any, function: str) -> EngineError:
        ours = engine_error(int(error.value), str(error), function)
        if not isinstance(ours, VersionSkew):
            return ours
        if function in OPTIONAL_FUNCTIONS:
            return CallRefused(str(ours), ours.code)
        return VersionSkew(self.versions.remedy(), ours.code)

    def _constant(self, name: str) -> int:
        return int(getattr(self.bindings.structs, name))

    def _pairs(self, entities: Sequence[Entity]) -> Any:
        pairs = (self.bindings.structs.c_dcgmGroupEntityPair_t * len(entities))()
        for pair, entity in zip(pairs, entities, strict=True):
            pair.entityGroupId, pair.entityId = entity
        return pairs


def _check_address(address: EngineAddress, bindings: Bindings, versions: Versions) -> None:
    if address.is_vsock and not hasattr(bindings.agent, "dcgmConnect_v3"):
        raise EngineUnavailable(
            f"DCGM {versions.client} cannot connect to {address}:"
            " vsock needs DCGM 4.5 or newer, here and where the engine runs"
        )
    if ":" in address.host and versions.client_major == 3:
        raise EngineUnavailable(
            f"DCGM {versions.client} cannot connect to an IPv6 address ({address}):"
            " use 127.0.0.1 or install DCGM 4"
        )
    path = Path(address.socket_path)
    if address.socket_path and path.parent.is_dir() and not os.access(path.parent, os.X_OK):
        raise EngineUnavailable(
            f"this user may not look into {path.parent} for the socket {path.name}:"
            " use TCP, or let the group of the service look into that directory"
        )
    if address.socket_path and not path.exists():
        raise EngineUnavailable(
            f"there is no socket at {path}: nv-hostengine listens there only if it is started"
            f" with --domain-socket {path}"
        )
    if address.socket_path and not os.access(path, os.W_OK):
        raise EngineUnavailable(
            f"this user may not connect to the socket {path}:"
            " use TCP, or give the socket's group write permission"
        )


def _text_of(structure: Any, name: str) -> str:
    """Decode a char array; the bindings' own access decodes strictly and may raise."""
    descriptor = getattr(type(structure), name)
    raw = ctypes.string_at(ctypes.addressof(structure) + descriptor.offset, descriptor.size)
    return raw.split(b"\0", 1)[0].decode("utf-8", "replace")


def _entity(pair: Any) -> Entity:
    kind = int(pair.entityGroupId)
    return Entity(_KINDS.get(kind, EntityKind.NONE), int(pair.entityId))


def _bits(words: Sequence[int]) -> Iterator[int]:
    for index, word in enumerate(words):
        yield from (index * 64 + bit for bit in range(64) if word >> bit & 1)


def _unique_name() -> str:
    return f"{_NAME_PREFIX}-{next(_serial_numbers)}"
