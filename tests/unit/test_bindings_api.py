"""What the exporter uses of NVIDIA's bindings exists in every release it supports.

What the modules of each release define lies in tests/data/bindings. Only
``dcgm/handle.py``, ``dcgm/connection.py`` and ``dcgm/bindings.py`` may use them.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import pytest
from tests.builders import DATA, REPOSITORY

from do_dcgm_exporter.dcgm.connection import HostEngine

SOURCE = REPOSITORY / "src" / "do_dcgm_exporter"
ROOM = SOURCE / "dcgm"
RELEASES = ("3.1.8", "3.3.9", "4.0.0", "4.2.3", "4.5.3", "4.6.0")
MODULES = {"agent": "dcgm_agent", "structs": "dcgm_structs"}
ADAPTER = ("handle", "connection")

# Functions that some supported release lacks: dcgmGetCpuHierarchy 3.1.8, dcgmGetGpuStatus all
# of 3.x, dcgmGetNvLinkP2PStatus everything before 4.4.2. Where they are missing, the adapter
# refuses the call by itself.
OPTIONAL_FUNCTIONS = {
    "dcgmConnect_v3",
    "dcgmGetCpuHierarchy",
    "dcgmGetGpuStatus",
    "dcgmGetNvLinkP2PStatus",
}

# Members that the adapter reads or fills, by the structure that has them.
MEMBERS = {
    "c_dcgmConnectV2Params_v2": {"persistAfterDisconnect", "timeoutMs", "addressIsUnixSocket"},
    "c_dcgmVersionInfo_v2": {"version", "rawBuildInfoString"},
    "c_dcgmGroupEntityPair_t": {"entityGroupId", "entityId"},
    "c_dcgmDeviceAttributes_v3": {"identifiers"},
    "c_dcgmDeviceIdentifiers_v1": {"uuid", "pciBusId", "deviceName"},
    "c_dcgmMigHierarchy_v2": {"count", "entityList"},
    "c_dcgmMigHierarchyInfo_v2": {"entity", "parent", "info"},
    "c_dcgmMigEntityInfo_t": {"nvmlInstanceId", "nvmlMigProfileId", "nvmlComputeInstanceId"},
    "c_dcgmFieldValue_v1": {"fieldId", "status", "ts", "value"},
    "c_dcgmFieldValue_v2": {"value"},
    "c_dcgmFieldSummaryRequest_v1": {"response"},
    "c_dcgmSummaryResponse_t": {"fieldType", "summaryCount", "values"},
    "c_dcgmProfGetMetricGroups_v3": {"metricGroups", "numMetricGroups"},
    "c_dcgmProfMetricGroupInfo_v2": {"fieldIds", "numFieldIds"},
}
# The structures of these have another name in each major release.
VERSIONED_MEMBERS = {
    *("entityId", "linkState", "linkStatus", "numGpus"),
    *("entityInfo", "incidentCount"),
    *("cpuId", "ownedCores", "numCpus"),
}
# Structures that only the functions of OPTIONAL_FUNCTIONS need.
OPTIONAL_STRUCTURES = {"c_dcgmConnectV3Params_v1", "c_dcgmNvLinkP2PStatus_v1"}


class Use(NamedTuple):
    """A name of a bindings module; ``arguments`` are those of a call, -1 where there is none."""

    module: str
    name: str
    arguments: int = -1


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse((ROOM / f"{name}.py").read_text(encoding="utf-8"))


def called(node: ast.Call) -> str:
    """The last part of what is called."""
    return getattr(node.func, "attr", "") or getattr(node.func, "id", "")


def text_in(node: ast.Call, place: int) -> str:
    """A literal text among the arguments."""
    argument = node.args[place] if len(node.args) > place else None
    value = argument.value if isinstance(argument, ast.Constant) else ""
    return value if isinstance(value, str) else ""


def module_of(node: ast.expr) -> str:
    """Which bindings module an expression such as ``self.bindings.agent`` is."""
    name = getattr(node, "attr", "") or getattr(node, "id", "")
    return MODULES.get(name, "")


def uses_in(name: str) -> Iterator[Use]:
    for node in ast.walk(tree_of(name)):
        if isinstance(node, ast.Attribute) and module_of(node.value):
            yield Use(module_of(node.value), node.attr)
        if not isinstance(node, ast.Call):
            continue
        function, given = called(node), len(node.args)
        if function == "_call" and text_in(node, 0):
            yield Use("dcgm_agent", text_in(node, 0), given)  # the handle for the name
        elif function == "_call_library" and text_in(node, 0):
            yield Use("dcgm_agent", text_in(node, 0), given - 1)
        elif function == "_constant":
            yield Use("dcgm_structs", text_in(node, 0))
        elif function in ("getattr", "hasattr") and module_of(node.args[0]) and text_in(node, 1):
            yield Use(module_of(node.args[0]), text_in(node, 1))
        elif isinstance(node.func, ast.Attribute) and module_of(node.func.value):
            yield Use(module_of(node.func.value), function, given)


USES = tuple(sorted({use for name in (*ADAPTER, "bindings") for use in uses_in(name)}))


@pytest.fixture(params=RELEASES)
def api(request: pytest.FixtureRequest) -> dict[str, dict[str, Any]]:
    """What the modules of one release define."""
    return api_of(request.param)


def api_of(release: str) -> dict[str, dict[str, Any]]:
    text = (DATA / "bindings" / f"{release}.json").read_text(encoding="utf-8")
    content: dict[str, dict[str, Any]] = json.loads(text)
    return content


def is_optional(use: Use) -> bool:
    return use.name in OPTIONAL_FUNCTIONS | OPTIONAL_STRUCTURES


def test_the_uses_are_found() -> None:
    """Whoever changes how the adapter calls the library must teach this test."""
    assert {
        Use("dcgm_agent", "dcgmConnect_v2", 2),
        Use("dcgm_agent", "dcgmDisconnect", 1),
        Use("dcgm_agent", "dcgmWatchFields", 6),
        Use("dcgm_agent", "dcgmGetNvLinkP2PStatus", 2),
        Use("dcgm_agent", "dcgmVersionInfo", 0),
        Use("dcgm_agent", "dcgmFieldValueEntityEnumeration_f", 1),
        Use("dcgm_structs", "DCGM_GROUP_EMPTY"),
        Use("dcgm_structs", "DCGMError"),
        Use("dcgm_structs", "c_dcgmFieldValue_v2"),
        Use("dcgm_structs", "_dcgmGetFunctionPointer", 1),
        Use("dcgm_structs", "_dcgmInit", 0),
    } <= set(USES)
    literals = {
        node.value
        for name in ADAPTER
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    functions = {text for text in literals if text.startswith("dcgm") and text.isidentifier()}
    # These are asked of the library itself, where they are the same in every release.
    assert {"dcgmHostengineVersionInfo", "dcgmEntitiesGetLatestValues"} == functions - {
        use.name for use in USES
    }


def test_every_name_exists_in_every_release_or_is_optional(
    api: dict[str, dict[str, Any]],
) -> None:
    missing = {use for use in USES if use.name not in api[use.module] and not is_optional(use)}
    assert set() == missing


def test_every_call_fits_the_signature(api: dict[str, dict[str, Any]]) -> None:
    for use in USES:
        signature = api[use.module].get(use.name, {}).get("function")
        if use.arguments < 0 or signature is None:
            continue
        parameters = ast.parse(f"def f{signature}: pass").body[0]
        assert isinstance(parameters, ast.FunctionDef)
        names = [argument.arg for argument in parameters.args.args]
        required = len(names) - len(parameters.args.defaults)
        assert required <= use.arguments <= len(names), f"{use} does not fit {signature}"


def test_optional_functions_are_those_that_some_release_lacks() -> None:
    """A guard that no release needs any more would hide a mistake."""
    agents = [api_of(release)["dcgm_agent"] for release in RELEASES]
    lacking = {use.name for use in USES for agent in agents if use.module == "dcgm_agent"
               and use.name not in agent}  # fmt: skip
    assert OPTIONAL_FUNCTIONS == lacking


def test_structures_have_the_members_that_are_used(api: dict[str, dict[str, Any]]) -> None:
    structs = api["dcgm_structs"]
    lacking = {
        (name, member)
        for name, members in MEMBERS.items()
        for member in members
        if member not in structs[name]["struct"]
    }
    assert set() == lacking


def test_every_member_that_is_used_is_one_of_a_structure() -> None:
    """Attributes in camel case are DCGM's, for ours are not."""
    attributes = {
        node.attr
        for name in ADAPTER
        for node in ast.walk(tree_of(name))
        if isinstance(node, ast.Attribute)
    }
    used = {name for name in attributes if re.match("[a-z]+[A-Z]", name)}
    known = {member for members in MEMBERS.values() for member in members} | VERSIONED_MEMBERS
    assert set() == used - known - {use.name for use in USES}


# Nobody else knows the bindings.

BINDINGS_MODULES = {"dcgm_structs", "dcgm_agent", "dcgm_fields", "dcgmvalue", "pydcgm"}
ELSEWHERE = sorted(path for path in SOURCE.rglob("*.py") if ROOM not in path.parents)


def names_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


@pytest.mark.parametrize("path", ELSEWHERE, ids=[str(p.relative_to(SOURCE)) for p in ELSEWHERE])
def test_no_other_room_imports_or_names_a_bindings_module(path: Any) -> None:
    named = set(names_in(ast.parse(path.read_text(encoding="utf-8"))))
    assert set() == named & BINDINGS_MODULES


def test_only_the_adapter_touches_a_loaded_module() -> None:
    users = {
        path.name
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in MODULES and "bindings" in ast.dump(node)
    }
    assert {f"{name}.py" for name in ADAPTER} == users


def test_the_exporter_never_imports_the_simulator_unless_it_is_asked_to() -> None:
    importing = {
        path.name
        for path in SOURCE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("dcgm_simulator")
    }
    assert {"simulate.py"} == importing


def test_this_test_reads_the_source_that_is_tested() -> None:
    assert str(ROOM / "connection.py") == inspect.getsourcefile(HostEngine)
