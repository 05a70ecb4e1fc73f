"""Write the dashboards into examples/grafana, which is what Grafana imports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.dashboards.fleet import fleet
from tools.dashboards.host import host

DIRECTORY = Path(__file__).resolve().parents[2] / "examples" / "grafana"


def as_text(dashboard: Mapping[str, Any]) -> str:
    """Return a dashboard as its file has it."""
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, made in (("host", host()), ("fleet", fleet())):
        (DIRECTORY / f"{name}.json").write_text(as_text(made))
