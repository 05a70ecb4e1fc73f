"""The simulated bindings offer nothing that NVIDIA's of the same version do not."""

from __future__ import annotations

import ctypes
import inspect
import json
import warnings
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from tests.builders import DATA

from dcgm_simulator.testing import Bindings

MODULES = ("dcgm_structs", "dcgm_agent", "dcgm_fields", "dcgmvalue", "pydcgm")
NOT_OF_THE_MODULE = ("annotations", "TYPE_CHECKING", "Any")
TUPLES = ("DCGM_ST_NVML_DRIVER_TIMEOUT",)
"""Constants the lists leave out because, before 4.5, a stray comma makes them tuples."""

EXPECTED_FUNCTIONS = [
    "dcgmInit",
    "dcgmShutdown",
    "dcgmConnect_v2",
    "dcgmDisconnect",
    "dcgmVersionInfo",
    "dcgmGetAllDevices",
    "dcgmGetAllSupportedDevices",
    "dcgmGetDeviceAttributes",
    "dcgmGetEntityGroupEntities",
    "dcgmGetGpuInstanceHierarchy",
    "dcgmGetNvLinkLinkStatus",
    "dcgmGroupCreate",
    "dcgmGroupDestroy",
    "dcgmGroupAddEntity",
    "dcgmGroupGetInfo",
    "dcgmFieldGroupCreate",
    "dcgmFieldGroupDestroy",
    "dcgmWatchFields",
    "dcgmUnwatchFields",
    "dcgmUpdateAllFields",
    "dcgmEntitiesGetLatestValues",
    "dcgmEntityGetLatestValues",
    "dcgmGetValuesSince_v2",
    "dcgmGetFieldSummary",
    "dcgmHealthSet",
    "dcgmHealthSet_v2",
    "dcgmHealthCheck",
    "dcgmProfGetSupportedMetricGroups",
    "dcgmGetCpuHierarchy",
    "dcgmModuleGetStatuses",
    "dcgmConnect_v3",
    "dcgmGetNvLinkP2PStatus",
    "dcgmGetCpuHierarchy_v2",
    "dcgmGetGpuStatus",
]


@pytest.fixture
def api(version: str) -> dict[str, dict[str, Any]]:
    """What the real bindings of the version define."""
    content: dict[str, dict[str, Any]] = json.loads(
        (DATA / "bindings" / f"{version}.json").read_text()
    )
    return content


def module_of(bindings: Bindings, name: str) -> ModuleType:
    attribute = {"dcgm_structs": "structs", "dcgm_agent": "agent", "dcgm_fields": "fields",
                 "dcgmvalue": "values", "pydcgm": "pydcgm"}[name]  # fmt: skip
    module = getattr(bindings, attribute)
    assert isinstance(module, ModuleType)
    return module


def offered(module: ModuleType) -> Iterator[tuple[str, Any]]:
    """Yield what a program would take for part of the module's interface."""
    for name, value in vars(module).items():
        if name.startswith("_") or name in (*NOT_OF_THE_MODULE, *TUPLES) or inspect.ismodule(value):
            continue
        origin = getattr(value, "__module__", "") or ""
        if origin.startswith(("dcgm_simulator.", "simulated_")) and not name.startswith(
            ("c_", "Dcgm", "dcgm")
        ):
            continue
        yield name, value


@pytest.mark.parametrize("name", MODULES)
def test_every_name_exists_in_the_real_module(
    api: dict[str, dict[str, Any]], bindings: Bindings, name: str
) -> None:
    extra = [offer for offer, _ in offered(module_of(bindings, name)) if offer not in api[name]]
    assert extra == []


@pytest.mark.parametrize("name", MODULES)
def test_importing_all_names_leaves_out_none(bindings: Bindings, name: str) -> None:
    module = module_of(bindings, name)
    exported = set(getattr(module, "__all__", vars(module)))
    assert {offer for offer, _ in offered(module)} <= exported <= set(vars(module))


@pytest.mark.parametrize("name", MODULES)
def test_every_constant_has_the_real_value(
    api: dict[str, dict[str, Any]], bindings: Bindings, name: str
) -> None:
    real = {key: entry["value"] for key, entry in api[name].items() if "value" in entry}
    own = dict(offered(module_of(bindings, name)))
    different = {key for key in own.keys() & real.keys() if own[key] != real[key]}
    assert different == set()


@pytest.mark.parametrize("name", ["dcgm_structs", "dcgm_fields", "dcgmvalue"])
def test_every_constant_of_the_real_module_is_there(
    api: dict[str, dict[str, Any]], bindings: Bindings, name: str
) -> None:
    real = {key for key, entry in api[name].items() if "value" in entry and key.startswith("DCGM_")}
    assert real <= set(vars(module_of(bindings, name)))


@pytest.mark.parametrize("name", MODULES)
def test_every_function_has_the_real_signature(
    api: dict[str, dict[str, Any]], bindings: Bindings, name: str
) -> None:
    for offer, value in offered(module_of(bindings, name)):
        if inspect.isfunction(value):
            parameters = [
                parameter.replace(annotation=inspect.Parameter.empty)
                for parameter in inspect.signature(value).parameters.values()
            ]
            own = str(inspect.Signature(parameters))
            assert {"function": own} == api[name][offer], offer


def test_every_function_the_exporter_needs_is_there_if_the_version_has_it(
    api: dict[str, dict[str, Any]], bindings: Bindings
) -> None:
    wanted = {name for name in EXPECTED_FUNCTIONS if name in api["dcgm_agent"]}
    assert wanted <= set(vars(bindings.agent))


@pytest.mark.parametrize("name", ["dcgm_structs", "dcgm_fields"])
def test_every_structure_has_the_real_members(
    api: dict[str, dict[str, Any]], bindings: Bindings, name: str
) -> None:
    for offer, value in offered(module_of(bindings, name)):
        if isinstance(value, type) and issubclass(value, (ctypes.Structure, ctypes.Union)):
            members = [member for member, *_ in getattr(value, "_fields_", [])]
            assert {"struct": members} == api[name][offer], offer


VERSIONED = [
    ("c_dcgmConnectV2Params_v2", "c_dcgmConnectV2Params_version2", 2),
    ("c_dcgmConnectV3Params_v1", "c_dcgmConnectV3Params_version1", 1),
    ("c_dcgmVersionInfo_v2", "dcgmVersionInfo_version2", 2),
    ("c_dcgmGroupInfo_v2", "c_dcgmGroupInfo_version2", 2),
    ("c_dcgmGroupInfo_v3", "c_dcgmGroupInfo_version3", 3),
    ("c_dcgmFieldGroupInfo_v1", "dcgmFieldGroupInfo_version1", 1),
    ("c_dcgmAllFieldGroup_v1", "dcgmAllFieldGroup_version1", 1),
    ("c_dcgmFieldValue_v1", "dcgmFieldValue_version1", 1),
    ("c_dcgmFieldValue_v2", "dcgmFieldValue_version2", 2),
    ("c_dcgmDeviceAttributes_v3", "dcgmDeviceAttributes_version3", 3),
    ("c_dcgmMigHierarchy_v2", "c_dcgmMigHierarchy_version2", 2),
    ("c_dcgmNvLinkStatus_v3", "dcgmNvLinkStatus_version3", 3),
    ("c_dcgmNvLinkStatus_v4", "dcgmNvLinkStatus_version4", 4),
    ("c_dcgmNvLinkStatus_v5", "dcgmNvLinkStatus_version5", 5),
    ("c_dcgmNvLinkP2PStatus_v1", "dcgmNvLinkP2PStatus_version1", 1),
    ("c_dcgmHealthResponse_v4", "dcgmHealthResponse_version4", 4),
    ("c_dcgmHealthResponse_v5", "dcgmHealthResponse_version5", 5),
    ("c_dcgmHealthSetParams_v2", "dcgmHealthSetParams_version2", 2),
    ("c_dcgmCpuHierarchy_v1", "dcgmCpuHierarchy_version1", 1),
    ("c_dcgmCpuHierarchy_v2", "dcgmCpuHierarchy_version2", 2),
    ("c_dcgmModuleGetStatuses_v1", "dcgmModuleGetStatuses_version1", 1),
    ("c_dcgmProfGetMetricGroups_v3", "dcgmProfGetMetricGroups_version3", 3),
]


@pytest.mark.parametrize(("structure", "constant", "number"), VERSIONED)
def test_the_size_of_a_structure_is_the_one_in_its_version_number(
    all_bindings: list[Bindings], structure: str, constant: str, number: int
) -> None:
    modules = [b.structs for b in all_bindings if hasattr(b.structs, structure)]
    assert modules
    for module in modules:
        made = module.make_dcgm_version(getattr(module, structure), number)
        assert getattr(module, constant) == made


def test_every_error_has_its_class(api: dict[str, dict[str, Any]], bindings: Bindings) -> None:
    real = {name for name in api["dcgm_structs"] if name.startswith("DCGMError_")}
    own = {name for name in vars(bindings.structs) if name.startswith("DCGMError_")}
    assert own == real
    error = bindings.structs.DCGMError(-33)
    assert type(error) is bindings.structs.dcgmExceptionClass(-33)
    assert (type(error).__name__, error.value) == ("DCGMError_ModuleNotLoaded", -33)


def test_46_still_answers_to_the_names_it_renamed(bindings: Bindings, version: str) -> None:
    if version != "4.6.0":
        assert bindings.fields.DCGM_FI_DEV_GPU_TEMP == 150
        return
    with pytest.warns(DeprecationWarning, match="DCGM_FI_DEV_GPU_TEMP_CELSIUS"):
        assert bindings.fields.DCGM_FI_DEV_GPU_TEMP == 150
    assert "DCGM_FI_DEV_GPU_TEMP" not in dir(bindings.fields)


def test_default_counters_that_python_lacks_are_lacking_here(
    bindings: Bindings, version: str
) -> None:
    missing = version != "4.6.0"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert hasattr(bindings.fields, "DCGM_FI_DEV_NVSWITCH_LINK_STATUS") is not missing


def test_metadata_of_a_field_is_known_without_a_connection(bindings: Bindings) -> None:
    meta = bindings.fields.DcgmFieldGetById(150)
    assert (meta.fieldId, meta.fieldType, meta.tag) == (150, "i", "gpu_temp")
    assert bindings.fields.DcgmFieldGetById(65000) is None
