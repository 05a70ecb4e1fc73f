"""What the tests of the simulator share."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from dcgm_simulator import VERSIONS
from dcgm_simulator.testing import Bindings, load_bindings

REPOSITORY = Path(__file__).resolve().parents[3]


@functools.cache
def _bindings(version: str) -> Bindings:
    return load_bindings(version)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The directory with facts and recordings, beside the repository."""
    path = REPOSITORY.parent / "shared"
    if not (path / "facts").is_dir():
        pytest.skip(f"no facts at {path}")
    return path


@pytest.fixture(params=VERSIONS)
def version(request: pytest.FixtureRequest) -> str:
    """Each version that can be imitated."""
    return str(request.param)


@pytest.fixture
def bindings(version: str) -> Bindings:
    """The simulated bindings of that version."""
    return _bindings(version)
