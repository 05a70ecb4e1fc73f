"""Bindings of several versions in one process, for tests."""

from __future__ import annotations

import importlib
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dcgm_simulator import bindings_directory
from dcgm_simulator.versions import VERSION_VARIABLE

FLAT_MODULES = (
    *("dcgm_structs", "dcgm_agent", "dcgm_fields", "dcgmvalue", "pydcgm"),
    "dcgm_errors",
)
"""The modules of a bindings directory; their names are global to a process."""
CLASS_MODULES = (
    *("DcgmHandle", "DcgmSystem", "DcgmGroup", "DcgmFieldGroup", "DcgmStatus"),
    *("DcgmReader", "dcgm_field_helpers"),
)
"""What pydcgm and programs built on it load."""
PRIVATE_MODULES = (
    "simulated_callbacks",
    "simulated_dictionaries",
    "simulated_exceptions",
    "simulated_groups",
    "simulated_library",
    "simulated_c_functions",
    "simulated_calls",
    "simulated_entities",
    "simulated_samples",
)  # fmt: skip


@dataclass(frozen=True)
class Bindings:
    """The modules of one bindings directory, loaded separately."""

    structs: Any
    agent: Any
    fields: Any
    values: Any
    pydcgm: Any
    errors: Any

    @property
    def version(self) -> str:
        """Return the version the bindings say they have."""
        text: str = self.agent.dcgmVersionInfo().rawBuildInfoString
        return dict(pair.split(":", 1) for pair in text.split(";") if ":" in pair)["version"]


def load_bindings(version: str = "", directory: Path | None = None) -> Bindings:
    """Load a bindings directory, whatever was loaded before.

    The simulated one imitates `version`. The modules stay usable after the next load, because
    each refers to its own siblings; only `sys.modules` forgets them.
    """
    _forget()
    path = str(directory or bindings_directory())
    if version:
        os.environ[VERSION_VARIABLE] = version
    sys.path.insert(0, path)
    try:
        loaded = {name: importlib.import_module(name) for name in reversed(FLAT_MODULES)}
        loaded["dcgm_structs"]._dcgmInit()
        loaded["dcgm_agent"].dcgmInit()
    finally:
        sys.path.remove(path)
        os.environ.pop(VERSION_VARIABLE, None)
        _forget()
    return Bindings(*(loaded[name] for name in FLAT_MODULES))


def _forget() -> None:
    for name in (*FLAT_MODULES, *CLASS_MODULES, *PRIVATE_MODULES):
        sys.modules.pop(name, None)
