"""What there is: GPUs, their instances, switches, links, processors, modules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

NOT_SUPPORTED, MODULE_NOT_LOADED, NVML_NOT_LOADED = -6, -33, -56
ONLY_SUPPORTED, STATUS_OK = 1, 1
GPU, VGPU, SWITCH, GPU_I, GPU_CI, LINK, CPU, CPU_CORE = range(1, 9)


def test_all_devices_are_gpu_ids_from_zero(target: Any, handle: Any) -> None:
    devices = target.agent.dcgmGetAllDevices(handle)
    assert devices == list(range(len(devices)))
    assert target.agent.dcgmGetAllSupportedDevices(handle) == devices


def test_gpus_are_entities_too(target: Any, handle: Any) -> None:
    devices = target.agent.dcgmGetAllDevices(handle)
    for flags in (0, ONLY_SUPPORTED):
        assert target.agent.dcgmGetEntityGroupEntities(handle, GPU, flags) == devices


def test_engines_of_4_find_sound_gpus_well_and_those_of_3_cannot_tell(
    target: Any, handle: Any
) -> None:
    if target.version < (4,):
        assert not hasattr(target.agent, "dcgmGetGpuStatus")
        return
    devices = target.agent.dcgmGetAllDevices(handle)
    assert {target.agent.dcgmGetGpuStatus(handle, gpu) for gpu in devices} == {STATUS_OK}


def test_attributes_identify_a_gpu(target: Any, handle: Any) -> None:
    attributes = target.agent.dcgmGetDeviceAttributes(handle, 0)
    assert attributes.version == target.structs.dcgmDeviceAttributes_version3
    assert attributes.identifiers.uuid.startswith("GPU-")
    assert attributes.memoryUsage.fbTotal > 0


def test_simulated_model_names_say_so(target: Any, handle: Any) -> None:
    if not target.is_simulated:
        pytest.skip("about the simulator")
    target.watch(handle, [(GPU, 0)], [50])
    attributes = target.agent.dcgmGetDeviceAttributes(handle, 0)
    assert attributes.identifiers.deviceName.endswith(" (simulated)")
    assert target.one(handle, 50).value.str == attributes.identifiers.deviceName


@pytest.mark.scenario("h100x8")
@pytest.mark.parametrize(
    ("kind", "status"),
    [(VGPU, NOT_SUPPORTED), (LINK, NOT_SUPPORTED), (CPU, MODULE_NOT_LOADED),
     (CPU_CORE, MODULE_NOT_LOADED)],
)  # fmt: skip
def test_kinds_the_machine_cannot_have_are_errors(
    target: Any, handle: Any, kind: int, status: int
) -> None:
    crashes = target.version < (4,) and not Path("/sys/class/hwmon").exists()
    if kind in (CPU, CPU_CORE) and crashes and not target.is_simulated:
        pytest.skip("DCGM 3 crashes when it looks for CPUs where there is no /sys/class/hwmon")
    with target.failing(status):
        target.agent.dcgmGetEntityGroupEntities(handle, kind, 0)


@pytest.mark.scenario("h100x8")
@pytest.mark.parametrize("kind", [SWITCH, GPU_I, GPU_CI])
def test_kinds_the_machine_merely_lacks_are_empty(target: Any, handle: Any, kind: int) -> None:
    assert target.agent.dcgmGetEntityGroupEntities(handle, kind, 0) == []
    assert target.agent.dcgmGetGpuInstanceHierarchy(handle).count == 0


@pytest.mark.scenario("h100x8-mig")
def test_instances_are_numbered_by_gpu_times_seven(target: Any, handle: Any) -> None:
    expected = [0, 1, 2, 3, 7, 8, 9, 10]
    assert target.agent.dcgmGetEntityGroupEntities(handle, GPU_I, 0) == expected
    assert target.agent.dcgmGetEntityGroupEntities(handle, GPU_CI, 0) == expected


@pytest.mark.scenario("h100x8-mig")
def test_hierarchy_lists_each_instance_under_its_gpu(target: Any, handle: Any) -> None:
    hierarchy = target.agent.dcgmGetGpuInstanceHierarchy(handle)
    rows = hierarchy.entityList[: hierarchy.count]
    assert len(rows) == 16
    instances = [row for row in rows if row.entity.entityGroupId == GPU_I]
    assert {row.entity.entityId // 7 for row in instances} == {0, 1}
    assert all(row.parent.entityId == row.entity.entityId // 7 for row in instances)
    assert len({row.info.nvmlInstanceId for row in instances[:4]}) == 4
    assert rows[1].parent == rows[0].entity


@pytest.mark.scenario("h100x8-mig")
def test_name_and_uuid_of_an_instance_are_its_own(target: Any, handle: Any) -> None:
    target.watch(handle, [(GPU_I, 3)], [50, 54, 67])
    name, uuid, mode = target.latest(handle, [(GPU_I, 3)], [50, 54, 67])
    assert (name.value.str, mode.value.i64) == ("3g.40gb", 1)
    assert uuid.value.str.startswith("MIG-")


@pytest.mark.scenario("h100x8-mig")
def test_cutting_a_gpu_anew_changes_the_entities(target: Any, faults: Any, handle: Any) -> None:
    faults.control("mig", "--gpu", "0", "4g.40gb,3g.40gb")
    assert target.agent.dcgmGetEntityGroupEntities(handle, GPU_I, 0) == [0, 1, 7, 8, 9, 10]
    faults.control("mig", "--gpu", "0", "off")
    assert target.agent.dcgmGetEntityGroupEntities(handle, GPU_I, 0) == [7, 8, 9, 10]
    assert target.one(handle, 150, (GPU_I, 0)).status == -16


def test_nvlink_status_has_a_row_per_gpu(target: Any, handle: Any) -> None:
    status = target.agent.dcgmGetNvLinkLinkStatus(handle)
    rows = [status.gpus[index] for index in range(status.numGpus)]
    assert [row.entityId for row in rows] == target.agent.dcgmGetAllDevices(handle)
    links = 36 if target.version >= (4, 6) else 18
    assert {len(row.linkState) for row in rows} == {links}


def test_a_link_that_is_down_is_told(target: Any, faults: Any, handle: Any) -> None:
    def states() -> list[int]:
        return [row.linkState[3] for row in target.agent.dcgmGetNvLinkLinkStatus(handle).gpus[:2]]

    assert states() == [3, 3]
    faults.control("nvlink", "--gpu", "1", "--link", "3", "down")
    assert states() == [3, 2]
    faults.control("nvlink", "--gpu", "1", "--link", "3", "up")
    assert states() == [3, 3]


def test_peer_to_peer_status_came_with_4_4_2(target: Any, handle: Any) -> None:
    if target.version < (4, 4, 2):
        assert not hasattr(target.agent, "dcgmGetNvLinkP2PStatus")
        return
    status = target.structs.c_dcgmNvLinkP2PStatus_v1()
    target.agent.dcgmGetNvLinkP2PStatus(handle, status)
    assert status.numGpus == len(target.agent.dcgmGetAllDevices(handle))


@pytest.mark.scenario("hgx")
def test_switches_and_their_links_are_entities(target: Any, handle: Any) -> None:
    assert target.agent.dcgmGetEntityGroupEntities(handle, SWITCH, 0) == [0, 1, 2, 3]
    links = target.agent.dcgmGetEntityGroupEntities(handle, LINK, 0)
    assert {link & 0xFF for link in links} == {SWITCH}
    assert {link >> 8 & 0xFF for link in links} == set(range(64))
    target.watch(handle, [(SWITCH, 1)], [858])
    assert 20 < target.one(handle, 858, (SWITCH, 1)).value.i64 < 100


@pytest.mark.scenario("grace")
def test_grace_cpus_own_their_cores(target: Any, handle: Any) -> None:
    hierarchy = target.agent.dcgmGetCpuHierarchy(handle)
    assert hierarchy.numCpus == 2
    owned = [
        sum(word.bit_count() for word in cpu.ownedCores.bitmask)
        for cpu in hierarchy.cpus[: hierarchy.numCpus]
    ]
    assert owned == [72, 72]
    assert len(target.agent.dcgmGetEntityGroupEntities(handle, CPU_CORE, 0)) == 144


@pytest.mark.scenario("no-nvml")
def test_without_the_driver_connecting_works_and_listing_does_not(target: Any, handle: Any) -> None:
    with target.failing(NVML_NOT_LOADED):
        target.agent.dcgmGetAllDevices(handle)
    with target.failing(NVML_NOT_LOADED):
        target.agent.dcgmGetAllSupportedDevices(handle)


@pytest.mark.scenario("h100x8")
def test_hopper_lists_all_profiling_fields_without_the_module(target: Any, handle: Any) -> None:
    groups = target.agent.dcgmProfGetSupportedMetricGroups(handle, 0)
    first = groups.metricGroups[0]
    assert {1001, 1004, 1012} <= set(first.fieldIds[: first.numFieldIds])


@pytest.mark.scenario("a100-no-prof")
def test_without_the_profiling_module_there_are_no_profiling_fields(
    target: Any, handle: Any
) -> None:
    with target.failing(MODULE_NOT_LOADED):
        target.agent.dcgmProfGetSupportedMetricGroups(handle, 0)


def test_module_statuses_include_the_core(target: Any, handle: Any) -> None:
    statuses = target.agent.dcgmModuleGetStatuses(handle)
    modules = {module.id: module.status for module in statuses.statuses[: statuses.numStatuses]}
    assert modules[target.structs.DcgmModuleIdCore] == target.structs.DcgmModuleStatusLoaded
