from __future__ import annotations

from pathlib import Path

import pytest
from tests.unit.usage.machine import Proc


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)
