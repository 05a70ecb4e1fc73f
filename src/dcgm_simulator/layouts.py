"""The C structures of the bindings, with the layouts of each version (dcgm_structs.h)."""

from __future__ import annotations

from ctypes import (
    c_byte,
    c_char,
    c_double,
    c_int,
    c_int64,
    c_short,
    c_uint,
    c_uint16,
    c_uint32,
    c_uint64,
    c_ushort,
    c_void_p,
)
from typing import Any

from dcgm_simulator.structures import DcgmStructure, DcgmUnion, PrintableStructure
from dcgm_simulator.versions import Behaviour

TEXT = c_char * 256
DEVICES = 32
SWITCHES = 12
INSTANCES = 32 * 14


Fields = list[tuple[str, Any]]


class Layouts:
    """Builds the structures of one version, by name."""

    def __init__(self, behaviour: Behaviour) -> None:
        self.all: dict[str, Any] = {
            "_DcgmStructure": DcgmStructure,
            "_PrintableStructure": PrintableStructure,
            "DcgmUnion": DcgmUnion,
        }
        self._connecting(behaviour)
        self._groups(behaviour)
        self._values()
        self._device()
        self._mig()
        self._links(behaviour)
        self._health(behaviour)
        self._processors(behaviour)
        self._modules()

    def _add(self, name: str, fields: Fields) -> Any:
        made = type(name, (PrintableStructure,), {"_fields_": fields})
        made.__module__ = "dcgm_structs"
        self.all[name] = made
        return made

    def _connecting(self, behaviour: Behaviour) -> None:
        first: Fields = [("version", c_uint), ("persistAfterDisconnect", c_uint)]
        self._add("c_dcgmConnectV2Params_v1", first)
        second: Fields = [*first, ("timeoutMs", c_uint), ("addressIsUnixSocket", c_uint)]
        self._add("c_dcgmConnectV2Params_v2", second)
        if behaviour.index >= 2:
            self._add("c_dcgmConnectV3Params_v1", [*first, ("timeoutMs", c_uint)])
        self._add(
            "c_dcgmVersionInfo_v2", [("version", c_uint32), ("rawBuildInfoString", c_char * 512)]
        )

    def _groups(self, behaviour: Behaviour) -> None:
        pair = self._add(
            "c_dcgmGroupEntityPair_t", [("entityGroupId", c_uint32), ("entityId", c_uint32)]
        )
        pair.__eq__ = _same_entity
        pair.__hash__ = None
        self._add(
            f"c_dcgmGroupInfo_v{2 if behaviour.major == 3 else 3}",
            [
                ("version", c_uint),
                ("count", c_uint),
                ("groupName", TEXT),
                ("entityList", pair * behaviour.entity_limit),
            ],
        )
        info = self._add(
            "c_dcgmFieldGroupInfo_v1",
            [
                ("version", c_uint32),
                ("numFieldIds", c_uint32),
                ("fieldGroupId", c_void_p),
                ("fieldGroupName", TEXT),
                ("fieldIds", c_uint16 * 128),
            ],
        )
        self._add(
            "c_dcgmAllFieldGroup_v1",
            [("version", c_uint32), ("numFieldGroups", c_uint32), ("fieldGroups", info * 64)],
        )

    def _values(self) -> None:
        value: Fields = [
            ("i64", c_int64),
            ("dbl", c_double),
            ("str", TEXT),
            ("blob", c_byte * 4096),
        ]
        union = type("c_dcgmFieldValue_v1_value", (DcgmUnion,), {"_fields_": value})
        self.all["c_dcgmFieldValue_v1_value"] = union
        common: Fields = [("fieldId", c_ushort), ("fieldType", c_short), ("status", c_int)]
        stamped: Fields = [("ts", c_int64), ("value", union)]
        self._add("c_dcgmFieldValue_v1", [("version", c_uint), *common, *stamped])
        entity: Fields = [("version", c_uint), ("entityGroupId", c_uint), ("entityId", c_uint)]
        self._add("c_dcgmFieldValue_v2", [*entity, *common, ("unused", c_uint), *stamped])

    def _device(self) -> None:
        def numbers(*names: str) -> Fields:
            return [(name, c_uint) for name in ("version", *names)]

        clock = self._add("c_dcgmClockSet_v1", numbers("memClock", "smClock"))
        clocks = self._add(
            "c_dcgmDeviceSupportedClockSets_v1", [*numbers("count"), ("clockSet", clock * 256)]
        )
        thermals = self._add("c_dcgmDeviceThermals_v1", numbers("slowdownTemp", "shutdownTemp"))
        limits = ("cur", "default", "enforced", "min", "max")
        power = self._add(
            "c_dcgmDevicePowerLimits_v1", numbers(*(f"{name}PowerLimit" for name in limits))
        )
        texts = (
            "brandName",
            "deviceName",
            "pciBusId",
            "serial",
            "uuid",
            "vbios",
            "inforomImageVersion",
        )
        identifiers = self._add(
            "c_dcgmDeviceIdentifiers_v1",
            [
                ("version", c_uint),
                *((name, TEXT) for name in texts),
                ("pciDeviceId", c_uint32),
                ("pciSubSystemId", c_uint32),
                ("driverVersion", TEXT),
                ("virtualizationMode", c_uint32),
            ],
        )
        memory = self._add(
            "c_dcgmDeviceMemoryUsage_v1", numbers("bar1Total", "fbTotal", "fbUsed", "fbFree")
        )
        modes = ("persistenceModeEnabled", "migModeEnabled", "confidentialComputeMode")
        settings = self._add("c_dcgmDeviceSettings_v2", numbers(*modes))
        self._add(
            "c_dcgmDeviceAttributes_v3",
            [
                ("version", c_uint),
                ("clockSets", clocks),
                ("thermalSettings", thermals),
                ("powerLimits", power),
                ("identifiers", identifiers),
                ("memoryUsage", memory),
                ("settings", settings),
            ],
        )

    def _mig(self) -> None:
        ids = (
            "nvmlGpuIndex",
            "nvmlInstanceId",
            "nvmlComputeInstanceId",
            "nvmlMigProfileId",
            "nvmlProfileSlices",
        )
        info = self._add(
            "c_dcgmMigEntityInfo_t", [("gpuUuid", c_char * 128), *((name, c_uint) for name in ids)]
        )
        pair = self.all["c_dcgmGroupEntityPair_t"]
        entry = self._add(
            "c_dcgmMigHierarchyInfo_v2", [("entity", pair), ("parent", pair), ("info", info)]
        )
        self._add(
            "c_dcgmMigHierarchy_v2",
            [("version", c_uint), ("count", c_uint), ("entityList", entry * INSTANCES)],
        )

    def _links(self, behaviour: Behaviour) -> None:
        number, gpu_version = {3: (3, 3), 4: (4, 3)}[behaviour.major]
        if behaviour.is_46:
            number, gpu_version = 5, 4
        gpu = self._add(
            f"c_dcgmNvLinkGpuLinkStatus_v{gpu_version}",
            [("entityId", c_uint32), ("linkState", c_uint32 * behaviour.nvlinks_per_gpu)],
        )
        links = 64 if behaviour.major == 3 else 256
        switch = self._add(
            "c_dcgmNvLinkNvSwitchLinkStatus_v2",
            [("entityId", c_uint32), ("linkState", c_uint32 * links)],
        )
        self._add(
            f"c_dcgmNvLinkStatus_v{number}",
            [
                ("version", c_uint32),
                ("numGpus", c_uint32),
                ("gpus", gpu * DEVICES),
                ("numNvSwitches", c_uint32),
                ("nvSwitches", switch * SWITCHES),
            ],
        )
        if behaviour.index >= 2:
            peers = self._add(
                "c_dcgmNvLinkGpuP2PStatus_v1",
                [("entityId", c_uint), ("linkStatus", c_uint * DEVICES)],
            )
            self._add(
                "c_dcgmNvLinkP2PStatus_v1",
                [("version", c_uint), ("numGpus", c_uint), ("gpus", peers * DEVICES)],
            )

    def _health(self, behaviour: Behaviour) -> None:
        detail = self._add("c_dcgmDiagErrorDetail_t", [("msg", c_char * 1024), ("code", c_uint)])
        incident = self._add(
            "c_dcgmIncidentInfo_t",
            [
                ("system", c_uint),
                ("health", c_uint32),
                ("error", detail),
                ("entityInfo", self.all["c_dcgmGroupEntityPair_t"]),
            ],
        )
        self._add(
            f"c_dcgmHealthResponse_v{4 if behaviour.major == 3 else 5}",
            [
                ("version", c_uint32),
                ("overallHealth", c_uint32),
                ("incidentCount", c_uint32),
                ("incidents", incident * behaviour.entity_limit),
            ],
        )
        self._add(
            "c_dcgmHealthSetParams_v2",
            [
                ("version", c_uint32),
                ("groupId", c_void_p),
                ("systems", c_uint32),
                ("updateInterval", c_int64),
                ("maxKeepAge", c_double),
            ],
        )

    def _processors(self, behaviour: Behaviour) -> None:
        cores = self._add(
            "c_dcgmCpuHierarchyOwnedCores_v1", [("version", c_uint32), ("bitmask", c_uint64 * 16)]
        )
        first: Fields = [("cpuId", c_uint32), ("ownedCores", cores)]
        kinds = [(1, first), (2, [*first, ("serial", TEXT)])]
        for number, fields in kinds[: 1 if behaviour.major == 3 else 2]:
            cpu = self._add(f"c_dcgmCpuHierarchyCpu_v{number}", fields)
            self._add(
                f"c_dcgmCpuHierarchy_v{number}",
                [("version", c_uint32), ("numCpus", c_uint32), ("cpus", cpu * 8)],
            )

    def _modules(self) -> None:
        module = self._add(
            "c_dcgmModuleGetStatusesModule_t", [("id", c_uint32), ("status", c_uint32)]
        )
        self._add(
            "c_dcgmModuleGetStatuses_v1",
            [("version", c_uint), ("numStatuses", c_uint32), ("statuses", module * 16)],
        )
        group = self._add(
            "c_dcgmProfMetricGroupInfo_v2",
            [
                ("majorId", c_ushort),
                ("minorId", c_ushort),
                ("numFieldIds", c_uint32),
                ("fieldIds", c_ushort * 64),
            ],
        )
        self._add(
            "c_dcgmProfGetMetricGroups_v3",
            [
                ("version", c_uint32),
                ("unused", c_uint32),
                ("gpuId", c_uint32),
                ("numMetricGroups", c_uint32),
                ("metricGroups", group * 10),
            ],
        )


def _same_entity(one: Any, other: Any) -> bool:
    return bool(one.entityGroupId == other.entityGroupId and one.entityId == other.entityId)
