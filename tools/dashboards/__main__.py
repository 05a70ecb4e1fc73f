"""Write the dashboards into examples/grafana, which is what Grafana imports.

Dashboards, alerts and recording rules of dcgm-exporter 4.9's names are made of the others.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tools.dashboards.fleet import fleet
from tools.dashboards.generations import in_names_of_49
from tools.dashboards.host import host

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
DIRECTORY = EXAMPLES / "grafana"
RULES = EXAMPLES / "prometheus"


def as_text(dashboard: Mapping[str, Any]) -> str:
    """Return a dashboard as its file has it."""
    return json.dumps(dashboard, indent=1, ensure_ascii=False) + "\n"


def of_49(dashboard: Mapping[str, Any]) -> dict[str, Any]:
    """Return a dashboard of the names of 4.9; it may stand beside the other."""
    text = in_names_of_49(json.dumps(dashboard))
    # Its own id and, in links between the two dashboards, the other's.
    text = text.replace("do-dcgm-exporter-host", "do-dcgm-exporter-host-base-units")
    text = text.replace("do-dcgm-exporter-fleet", "do-dcgm-exporter-fleet-base-units")
    made: dict[str, Any] = json.loads(text)
    return made | {"title": f"{made['title']} (base units)"}


def rules_of_49(name: str) -> str:
    """Return a file of rules under the names of 4.9."""
    text = (RULES / f"{name}.yml").read_text(encoding="utf-8")
    made = f"# Made of {name}.yml by make dashboards: do not edit. For counters-4.9.csv.\n"
    return made + in_names_of_49(text)


def files() -> dict[Path, str]:
    """Return the text of every file that is made."""
    dashboards = {"host": host(), "fleet": fleet()}
    return {
        **{DIRECTORY / f"{name}.json": as_text(made) for name, made in dashboards.items()},
        **{
            DIRECTORY / f"{name}-4.9.json": as_text(of_49(made))
            for name, made in dashboards.items()
        },
        **{RULES / f"{name}-4.9.yml": rules_of_49(name) for name in ("alerts", "recording-rules")},
    }


if __name__ == "__main__":
    for path, text in files().items():
        path.write_text(text, encoding="utf-8")
