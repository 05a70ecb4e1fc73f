"""What the simulated bindings have in common: the version they imitate, and the library.

The version is that of the environment variable DCGM_SIMULATOR_VERSION when the
bindings are imported.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any


def _find_package() -> None:
    """Make `dcgm_simulator` importable where only this directory is on the path."""
    package = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(
        "dcgm_simulator", package / "__init__.py", submodule_search_locations=[str(package)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"no package at {package}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["dcgm_simulator"] = module
    spec.loader.exec_module(module)


if importlib.util.find_spec("dcgm_simulator") is None:
    _find_package()

# After the path is known.
from dcgm_simulator.client import Library
from dcgm_simulator.fields import load
from dcgm_simulator.structures import structures
from dcgm_simulator.versions import VERSION_VARIABLE, VERSIONS, behaviour, history_at

BEHAVIOUR = behaviour(os.environ.get(VERSION_VARIABLE, VERSIONS[-1]))
LIBRARY = Library(BEHAVIOUR)
STRUCTURES = structures(BEHAVIOUR.version)


def constants(module: str) -> dict[str, Any]:
    """Return the constants that module of NVIDIA's bindings has in the imitated version."""
    known = load("constants.json")[module]
    values = {name: history_at(rows, BEHAVIOUR.index) for name, rows in known.items()}
    return {name: value for name, value in values.items() if value is not None}


def number(value: Any) -> int:
    """Return the number in a handle, an id or an argument, which may be of a C type."""
    return getattr(value, "value", value) or 0
