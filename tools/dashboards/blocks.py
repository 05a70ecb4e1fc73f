"""What dashboards are made of: panels, variables, places.

A panel is a title, a sentence, what it asks, and how it is drawn; `place` lays panels out
from left to right in rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.dashboards.queries import GPUS, HOSTS

DOCS = "https://github.com/digitalocean/do-dcgm-exporter/blob/main/docs"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
WIDTH = 24

Json = dict[str, Any]
Steps = Sequence[tuple[str, float | None]]

GOOD: Steps = (("green", None),)
NONE_IS_GOOD: Steps = (("green", None), ("red", 1))
SOME_IS_ODD: Steps = (("green", None), ("orange", 1))
COOL_IS_GOOD: Steps = (("red", None), ("orange", 5), ("green", 15))
FRESH_IS_GOOD: Steps = (("green", None), ("orange", 60), ("red", 300))


def target(expr: str, legend: str = "", *, table: bool = False) -> Json:
    """Return a query; a table shows it as it is now."""
    now = {"instant": True, "range": False, "format": "table"} if table else {"range": True}
    return {"datasource": SOURCE, "expr": expr, "legendFormat": legend, "editorMode": "code"} | now


def panel(
    kind: str, title: str, text: str, targets: Sequence[Json], width: int, height: int, **more: Any
) -> Json:
    """Return a panel without its place; ``more`` are fieldConfig defaults."""
    named = [query | {"refId": chr(ord("A") + number)} for number, query in enumerate(targets)]
    return {
        "type": kind,
        "title": title,
        "description": text,
        "datasource": SOURCE,
        "targets": named,
        "gridPos": {"w": width, "h": height},
        "fieldConfig": {"defaults": more, "overrides": []},
        "options": {},
    }


def thresholds(steps: Steps) -> Json:
    """Return colours and the values from which they hold."""
    return {
        "mode": "absolute",
        "steps": [{"color": color, "value": value} for color, value in steps],
    }


def stat(title: str, text: str, expr: str, unit: str, steps: Steps, **more: Any) -> Json:
    """Return one number with a colour; eight fill a row."""
    drawn = panel(
        "stat", title, text, [target(expr)], 3, 4, unit=unit, thresholds=thresholds(steps), **more
    )
    calculation = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    drawn["options"] = {"reduceOptions": calculation, "colorMode": "value", "graphMode": "area"}
    return drawn


def graph(
    title: str, text: str, targets: Sequence[Json], unit: str, *, stack: bool = False, **more: Any
) -> Json:
    """Return lines over time; two fill a row. Limits are drawn as red dashes."""
    custom: Json = {"lineWidth": 1, "fillOpacity": 40 if stack else 6, "showPoints": "never"}
    if stack:
        custom["stacking"] = {"mode": "normal", "group": "A"}
    defaults = {"unit": unit, "min": 0, "custom": custom} | more
    known = {key: value for key, value in defaults.items() if value is not None}
    drawn = panel("timeseries", title, text, targets, 12, 8, **known)
    drawn["options"] = {
        "legend": {
            "showLegend": True,
            "displayMode": "table",
            "placement": "right",
            "calcs": ["lastNotNull", "max"],
        },
        "tooltip": {"mode": "multi", "sort": "desc"},
    }
    dashes = {"fill": "dash", "dash": [8, 8]}
    drawn["fieldConfig"]["overrides"] = [
        {
            "matcher": {"id": "byRegexp", "options": "/limit/"},
            "properties": [
                {"id": "color", "value": {"mode": "fixed", "fixedColor": "red"}},
                {"id": "custom.lineStyle", "value": dashes},
                {"id": "custom.fillOpacity", "value": 0},
            ],
        }
    ]
    return drawn


@dataclass(frozen=True)
class Column:
    """A column of a table: what it asks and how its cells look."""

    expr: str
    unit: str = "none"
    steps: Steps | None = None


def table(
    title: str,
    text: str,
    key: str,
    height: int,
    columns: Mapping[str, Column],
    labels: Sequence[str] = (),
    hidden: Sequence[str] = (),
) -> Json:
    """Return a table with a row per value of the label ``key`` and a column per query.

    ``labels`` of the first query stand after its value.
    """
    queries = [target(column.expr, table=True) for column in columns.values()]
    drawn = panel("table", title, text, queries, WIDTH, height)
    drawn["options"] = {"showHeader": True}
    values = [f"Value #{chr(ord('A') + number)}" for number in range(len(columns))]
    order = [key, values[0], *labels, *values[1:]]
    times = ["Time", *(f"Time {number}" for number in range(1, len(columns) + 1))]
    drawn["transformations"] = [
        {"id": "joinByField", "options": {"byField": key, "mode": "outer"}},
        {
            "id": "organize",
            "options": {
                "excludeByName": dict.fromkeys([*times, *hidden], True),
                "indexByName": {name: number for number, name in enumerate(order)},
                "renameByName": dict(zip(values, columns, strict=True)),
            },
        },
    ]
    drawn["fieldConfig"]["overrides"] = [override(name, column) for name, column in columns.items()]
    return drawn


def override(name: str, column: Column) -> Json:
    """Return how the cells of a column look."""
    properties: list[Json] = [{"id": "unit", "value": column.unit}]
    if column.steps:
        properties += [
            {"id": "thresholds", "value": thresholds(column.steps)},
            {"id": "custom.cellOptions", "value": {"type": "color-text"}},
        ]
    return {"matcher": {"id": "byName", "options": name}, "properties": properties}


def place(panels: Sequence[Json]) -> list[Json]:
    """Give every panel an id and a place: left to right, a new row where one is full."""
    column = row = tallest = 0
    placed = []
    for number, drawn in enumerate(panels, 1):
        size = drawn["gridPos"]
        if column + size["w"] > WIDTH:
            column, row, tallest = 0, row + tallest, 0
        placed.append({"id": number} | drawn | {"gridPos": size | {"x": column, "y": row}})
        column += size["w"]
        tallest = max(tallest, size["h"])
    return placed


def variable(name: str, label: str, query: str, *, several: bool) -> Json:
    """Return a choice among the values of a label."""
    everything = {"allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return {
        "type": "query", "name": name, "label": label, "datasource": SOURCE,
        "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 3,
        "multi": several, "includeAll": several, "options": [],
        **(everything if several else {}),
    }  # fmt: skip


def annotation(name: str, color: str, expr: str, title: str) -> Json:
    """Return marks on all graphs at the times at which a query has series."""
    return {
        "name": name, "datasource": SOURCE, "enable": True, "iconColor": color, "expr": expr,
        "titleFormat": title, "step": "60s", "useValueForTime": False,
    }  # fmt: skip


def _links() -> list[Json]:
    pages = {
        "Runbooks": "alerts.md",
        "When something is wrong": "operations.md",
        "Metrics": "metrics.md",
    }
    return [
        {
            "type": "link", "title": name, "url": f"{DOCS}/{page}", "targetBlank": True,
            "icon": "doc", "tooltip": "", "tags": [], "asDropdown": False,
            "includeVars": False, "keepTime": False,
        }
        for name, page in pages.items()
    ]  # fmt: skip


def dashboard(uid: str, title: str, text: str, several: bool, panels: Sequence[Json]) -> Json:
    """Return a whole dashboard."""
    source = {
        "type": "datasource", "name": "datasource", "label": "Prometheus", "query": "prometheus",
        "refresh": 1, "options": [], "multi": False, "includeAll": False,
    }  # fmt: skip
    instances = "label_values(do_dcgm_exporter_hostengine_up, instance)"
    gpus = f"label_values(do_dcgm_exporter_gpu_up{{{HOSTS}}}, gpu)"
    marks = [
        annotation(
            "Alerts", "red", f'ALERTS{{alertstate="firing",{HOSTS}}}', "{{alertname}} GPU {{gpu}}"
        ),
        annotation(
            "XIDs",
            "orange",
            f'DCGM_EXP_XID_ERRORS_COUNT{{{GPUS},xid!=""}} > 0',
            "XID {{xid}} GPU {{gpu}}",
        ),
    ]
    return {
        "uid": uid, "title": title, "description": text, "tags": ["gpu", "dcgm"],
        "schemaVersion": 38, "version": 1, "editable": True, "graphTooltip": 1,
        "refresh": "30s", "time": {"from": "now-3h", "to": "now"}, "timezone": "",
        "templating": {
            "list": [
                source,
                variable("instance", "Host", instances, several=several),
                variable("gpu", "GPU", gpus, several=True),
            ]
        },
        "annotations": {"list": marks}, "links": _links(), "panels": place(panels),
    }  # fmt: skip
