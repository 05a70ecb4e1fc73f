"""The dashboards in examples/grafana as files: what Grafana would trip over."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import DEFAULT_COUNTERS, REPOSITORY, counter_set
from tools.dashboards.__main__ import DIRECTORY, files, of_49
from tools.dashboards.blocks import WIDTH
from tools.dashboards.fleet import fleet
from tools.dashboards.host import host

from do_dcgm_exporter.config.counter_files import group_files
from do_dcgm_exporter.config.counters import read_counter_set
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry

# Of those that @grafana/data lists (getValueFormats).
UNITS = {"Bps", "celsius", "hertz", "none", "percentunit", "s", "short", "watt"}
KINDS = {"stat", "table", "timeseries"}
MADE = {
    "host": host(),
    "fleet": fleet(),
    "host-4.9": of_49(host()),
    "fleet-4.9": of_49(fleet()),
}
CELL = tuple[int, int]


@pytest.fixture(params=MADE)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def dashboard(name: str) -> dict[str, Any]:
    made: dict[str, Any] = json.loads((DIRECTORY / f"{name}.json").read_text())
    return made


def cells(panel: dict[str, Any]) -> set[CELL]:
    place = panel["gridPos"]
    return {
        (x, y)
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    }


def values_of(key: str, tree: Any) -> Iterator[Any]:
    """All values that ``key`` has anywhere in a tree."""
    if isinstance(tree, dict):
        for name, value in tree.items():
            if name == key:
                yield value
            yield from values_of(key, value)
    elif isinstance(tree, list):
        for item in tree:
            yield from values_of(key, item)


@pytest.mark.parametrize("path", files(), ids=lambda path: path.name)
def test_the_file_is_what_the_program_writes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == files()[path], "run make dashboards"


def test_dashboards_of_both_generations_can_be_imported() -> None:
    assert len({made["uid"] for made in MADE.values()}) == len(MADE)
    assert len({made["title"] for made in MADE.values()}) == len(MADE)


def test_it_is_a_dashboard_that_grafana_knows_how_to_import(dashboard: dict[str, Any]) -> None:
    assert dashboard["schemaVersion"] == 38  # Grafana 10
    assert re.fullmatch("[a-z-]{1,40}", dashboard["uid"])
    assert dashboard["title"]
    assert "id" not in dashboard  # an import without one makes a new dashboard


def test_panels_have_an_id_each_and_cover_every_cell_once(dashboard: dict[str, Any]) -> None:
    panels = dashboard["panels"]
    assert [panel["id"] for panel in panels] == list(range(1, len(panels) + 1))
    covered: set[CELL] = set()
    for panel in panels:
        assert not covered & cells(panel), panel["title"]
        covered |= cells(panel)
    height = max(y for _, y in covered) + 1
    assert len(covered) == WIDTH * height


def test_a_panel_says_what_it_shows_and_is_of_a_kind_every_grafana_has(
    dashboard: dict[str, Any],
) -> None:
    titles = [panel["title"] for panel in dashboard["panels"]]
    assert len(titles) == len(set(titles))
    for panel in dashboard["panels"]:
        assert panel["type"] in KINDS
        assert panel["description"].endswith(".")
        references = [target["refId"] for target in panel["targets"]]
        assert references == sorted(set(references))


def test_units_are_grafanas(dashboard: dict[str, Any]) -> None:
    named = set(values_of("unit", dashboard))
    named |= {
        value["value"]
        for properties in values_of("properties", dashboard)
        for value in properties
        if value["id"] == "unit"
    }
    assert named <= UNITS


def test_every_source_is_the_chosen_one(dashboard: dict[str, Any]) -> None:
    sources = list(values_of("datasource", dashboard))
    assert len(sources) > len(dashboard["panels"])
    assert all(source == {"type": "prometheus", "uid": "${datasource}"} for source in sources)


def test_there_is_a_choice_of_source_host_and_gpu(dashboard: dict[str, Any]) -> None:
    names = [variable["name"] for variable in dashboard["templating"]["list"]]
    assert names == ["datasource", "instance", "gpu"]
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(list(values_of("expr", dashboard)))))
    assert used == {"instance", "gpu", "__rate_interval"}


def test_queries_name_default_counters_and_the_exporters_own_metrics(
    dashboard: dict[str, Any], name: str
) -> None:
    own = {metric.name for metric in Telemetry(CallCount(), ForwardStatistics()).collect()}
    known = own | {f"{metric}_total" for metric in own}
    is_new = name.endswith("-4.9")
    new = read_counter_set(DEFAULT_COUNTERS.with_name("counters-4.9.csv"), ())
    peaks = read_counter_set(*group_files(["peaks"]), ())
    for counters in (new if is_new else counter_set(), peaks):
        known |= {counter.name for counter in counters.counters}
    asked = [*values_of("expr", dashboard), *values_of("definition", dashboard)]
    used = set(re.findall(r"\b(?:DCGM_(?:FI|EXP)|do_dcgm_exporter)_\w+", " ".join(asked)))
    assert used
    assert used <= known


def test_its_links_lead_to_pages_that_exist(dashboard: dict[str, Any], name: str) -> None:
    for link in dashboard["links"]:
        page = link["url"].rpartition("/blob/main/")[2]
        assert (REPOSITORY / Path(page)).is_file(), page
    drill_downs = [url for url in values_of("url", dashboard) if url.startswith("/d/")]
    of_the_host = MADE[name.replace("fleet", "host")]["uid"]
    assert all(f"/d/{of_the_host}?" in url for url in drill_downs)
