"""Programs written with NVIDIA's classes run against the simulator: what they call, and how."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from dcgm_simulator import bindings_directory
from dcgm_simulator.process import SimulatedEngine
from dcgm_simulator.versions import VERSION_VARIABLE

GROUPS = """
import pydcgm, dcgm_fields, dcgm_structs
handle = pydcgm.DcgmHandle(None, ADDRESS)
group = pydcgm.DcgmGroup(handle, groupName="g", groupType=dcgm_structs.DCGM_GROUP_DEFAULT_INSTANCES)
fields = pydcgm.DcgmFieldGroup(handle, name="f", fieldIds=[54, 252])
group.samples.WatchFields(fields, 1000000, 2.0, 5)
handle.GetSystem().UpdateAllFields(True)
instances = group.samples.GetLatest_v2(fields).values[dcgm_fields.DCGM_FE_GPU_I]
assert len(instances) == len(group.GetEntities()) == 8
assert all(those[54].values[0].value.startswith("MIG-") for those in instances.values())
assert group.samples.GetLatest(fields).values == {}
group.Delete()
"""
READER = """
from DcgmReader import DcgmReader
class Own(DcgmReader):
    seen = []
    def CustomFieldHandler(self, gpuId, fieldId, fieldTag, val):
        self.seen.append((gpuId, fieldId, fieldTag))
reader = Own(hostname=ADDRESS, fieldIds=[54, 150], ignoreList=[54], gpuIds=[1, 3])
reader.Process()
assert reader.seen == [(1, 150, "gpu_temp"), (3, 150, "gpu_temp")]
assert reader.m_gpuIdToUUId[3].startswith("GPU-")
assert reader.GetLatestGpuValuesAsFieldNameDict()[1]["gpu_temp"] > 0
assert reader.GetAllGpuValuesAsFieldIdDictSinceLastCall() == {}
assert reader.GetAllGpuValuesAsFieldIdDictSinceLastCall()[3][150][-1].value > 0
"""
WATCHER = """
import pydcgm, dcgm_field_helpers, dcgm_structs
handle = pydcgm.DcgmHandle(ipAddress=ADDRESS)
fields = pydcgm.DcgmFieldGroup(handle, "watched", [150])
assert handle.GetSystem().GetFieldGroupIdByName("watched").value == fields.fieldGroupId.value
for kind in ("DcgmFieldGroupWatcher", "DcgmFieldGroupEntityWatcher"):
    watcher = getattr(dcgm_field_helpers, kind)(
        handle.handle, dcgm_structs.DCGM_GROUP_ALL_GPUS, fields,
        dcgm_structs.DCGM_OPERATION_MODE_AUTO, 100000, 3600.0, 0, 0)
    assert len(watcher.values if kind == "DcgmFieldGroupWatcher" else watcher.values[1]) == 8
"""
ABSENT = """
import pydcgm
system = pydcgm.DcgmHandle(ipAddress=ADDRESS).GetSystem()
group = system.GetDefaultGroup()
assert system.discovery.GetGpuStatus(0) == 1
assert not hasattr(system.modules, "Misspelt")
for wrong in (
    pydcgm.DcgmHandle, pydcgm.DcgmStatus, lambda: group.policy.Register(1),
    lambda: system.modules.Denylist(8), lambda: system.discovery.GetGpuTopology(gpuId=0),
    lambda: system.discovery.SelectGpusByTopology(3, 1, 0), lambda: system.PauseTelemetryForDiag(),
    lambda: system.ResumeTelemetryForDiag(), lambda: system.profiling.Pause(),
):
    try:
        wrong()
    except NotImplementedError as error:
        assert "not simulated" in str(error)
    else:
        raise AssertionError(wrong)
"""
PROGRAMS = {"groups": GROUPS, "reader": READER, "watcher": WATCHER, "absent": ABSENT}


@pytest.fixture(scope="module")
def engine() -> Iterator[SimulatedEngine]:
    with SimulatedEngine.start("h100x8-mig", "4.2.3") as started:
        yield started


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_finds_what_it_expects(engine: SimulatedEngine, name: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(bindings_directory()), VERSION_VARIABLE: "4.2.3"}
    program = f"ADDRESS = {engine.address!r}\n{PROGRAMS[name]}"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
