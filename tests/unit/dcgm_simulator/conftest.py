"""What the tests of the simulator share."""

from __future__ import annotations

import functools

import pytest

from dcgm_simulator import VERSIONS
from dcgm_simulator.testing import Bindings, load_bindings


@functools.cache
def _bindings(version: str) -> Bindings:
    return load_bindings(version)


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Each version that can be imitated."""
    return str(request.param)


@pytest.fixture
def all_bindings() -> list[Bindings]:
    """The simulated bindings of every version."""
    return [_bindings(version) for version in VERSIONS]


@pytest.fixture
def bindings(version: str) -> Bindings:
    """The simulated bindings of that version."""
    return _bindings(version)
