"""Every query of the dashboards draws something, on whole GPUs and on MIG instances.

A real Prometheus scrapes simulated machines with the default counters under both their names.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import ROOT
from tests.e2e.prometheus import Labels, Prometheus, needs_prometheus
from tests.waiting import wait_until

EXAMPLES = ROOT / "examples"
DASHBOARDS = {
    name: json.loads((EXAMPLES / "grafana" / f"{name}.json").read_text())
    for name in ("host", "fleet")
}
MACHINES = {"whole": "h100x8", "mig": "h100x8-mig", "unprofiled": "a100-no-prof"}
PROFILED = ("whole", "mig")
NEW_NAMES = ROOT / "etc" / "do-dcgm-exporter" / "counters-4.9.csv"
NEW = {
    name: json.loads((EXAMPLES / "grafana" / f"{name}-4.9.json").read_text()) for name in DASHBOARDS
}

# What NVIDIA's dashboard 12239 asks for: names, labels and arithmetic.
OF_12239 = (
    "DCGM_FI_DEV_GPU_TEMP{%s}",
    "avg(DCGM_FI_DEV_GPU_TEMP{%s})",
    "DCGM_FI_DEV_POWER_USAGE{%s}",
    "sum(DCGM_FI_DEV_POWER_USAGE{%s})",
    "DCGM_FI_DEV_SM_CLOCK{%s} * 1000000",
    "DCGM_FI_DEV_GPU_UTIL{%s}",
    "DCGM_FI_DEV_FB_USED{%s}",
    "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE{%s}",
)

CONFIG = """\
global: {scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms}
rule_files: ["%s"]
scrape_configs:
- {job_name: whole, static_configs: [{targets: ["127.0.0.1:%d"]}]}
- {job_name: mig, static_configs: [{targets: ["127.0.0.1:%d"]}]}
- {job_name: unprofiled, static_configs: [{targets: ["127.0.0.1:%d"]}]}
"""

pytestmark = needs_prometheus


def queries(name: str) -> Iterator[tuple[str, str]]:
    for panel in DASHBOARDS[name]["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]


def needs_profiling(expr: str) -> bool:
    """Whether a query asks for profiling alone; most have something else to fall back on."""
    return "_PROF_" in expr and "DEV_" not in expr


CASES = [
    pytest.param(machine, expr, id=f"{machine}-{name}-{title}")
    for machine in MACHINES
    for name in DASHBOARDS
    for title, expr in queries(name)
    if machine in PROFILED or not needs_profiling(expr)
]


class Grafana:
    """Fills in what was chosen, as Grafana does, and asks Prometheus."""

    def __init__(self, prometheus: Prometheus, instances: dict[str, str]) -> None:
        self.prometheus = prometheus
        self._instances = instances

    def ask(
        self, expr: str, machine: str, gpu: str = ".*", at: float | None = None
    ) -> list[tuple[Labels, float]]:
        """Ask for a panel's query on one machine, at a Unix time if not now."""
        chosen = {"instance": re.escape(self._instances[machine]).replace("\\", "\\\\"), "gpu": gpu}
        filled = expr.replace("$__rate_interval", "1m")
        for name, value in chosen.items():
            filled = filled.replace(f"${name}", value)
        assert "$" not in filled
        return self.prometheus.query(filled, at)

    def draws(self, expr: str, machine: str) -> bool:
        """Whether a query has a series with a number."""
        return any(value == value for _, value in self.ask(expr, machine))  # noqa: PLR0124  # NaN


@pytest.fixture(scope="module")
def grafana(shared_stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Grafana]:
    engines = {name: shared_stage.engine(scenario) for name, scenario in MACHINES.items()}
    peaks = shared_stage.directory / "peaks.csv"
    peaks.write_text("DCGM_FI_DEV_POWER_USAGE_MAX, gauge, Highest power.\n")
    exporters = {
        name: shared_stage.exporter(engine, collectors=f"[{NEW_NAMES}, {peaks}]")
        for name, engine in engines.items()
    }
    instances = {name: f"127.0.0.1:{exporter.port}" for name, exporter in exporters.items()}
    for name in PROFILED:
        exporter = exporters[name]
        wait_until(lambda e=exporter: e.has("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), "all families")
    config = CONFIG % (
        EXAMPLES / "prometheus" / "alerts.yml", *(e.port for e in exporters.values())
    )  # fmt: skip
    with Prometheus(tmp_path_factory.mktemp("prometheus"), config) as prometheus:
        # A rate takes two scrapes.
        enough = "count_over_time(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[1m]) > 1"
        wait_until(lambda: len(prometheus.query(enough)) == 8 + 14 + 2, "two scrapes of each")
        yield Grafana(prometheus, instances)
        engines["whole"].control("reset")


@pytest.mark.parametrize(("machine", "expr"), CASES)
def test_a_query_draws_something(grafana: Grafana, machine: str, expr: str) -> None:
    assert grafana.draws(expr, machine), expr


def test_a_panel_that_needs_profiling_says_so() -> None:
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            needed = [needs_profiling(target["expr"]) for target in panel["targets"]]
            said = re.search("(?i)needs? profiling", panel["description"])
            assert any(needed) == bool(said), panel["title"]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_of_the_new_names_shows_the_same(
    grafana: Grafana, name: str, machine: str
) -> None:
    at = time.time()
    differing = 0
    for old, new in zip(DASHBOARDS[name]["panels"], NEW[name]["panels"], strict=True):
        for target, renamed in zip(old["targets"], new["targets"], strict=True):
            shown = [
                grafana.ask(expr.replace("time()", str(at)), machine, at=at)
                for expr in (target["expr"], renamed["expr"])
            ]
            differing += target["expr"] != renamed["expr"]
            assert by_labels(shown[1]) == pytest.approx(by_labels(shown[0])), old["title"]
    assert differing > 5


def by_labels(series: list[tuple[Labels, float]]) -> dict[str, float]:
    """Values by all labels but the name, as Grafana matches them; no NaN."""
    return {
        str(sorted(item for item in labels.items() if item[0] != "__name__")): value
        for labels, value in series
        if value == value  # noqa: PLR0124
    }


@pytest.mark.parametrize("machine", PROFILED)
@pytest.mark.parametrize("expr", OF_12239)
def test_nvidias_dashboard_12239_finds_its_metrics(
    grafana: Grafana, machine: str, expr: str
) -> None:
    assert grafana.draws(expr % 'instance=~"$instance", gpu=~"$gpu"', machine)


def test_nvidias_dashboard_12239_finds_its_hosts_and_gpus(grafana: Grafana) -> None:
    found = grafana.ask('DCGM_FI_DEV_GPU_TEMP{instance=~"$instance"}', "whole")
    assert {labels["gpu"] for labels, _ in found} == set("01234567")
    assert all(labels["instance"] for labels, _ in found)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_choice_of_gpus_narrows_all_that_is_about_gpus(grafana: Grafana, name: str) -> None:
    for title, expr in queries(name):
        if "$gpu" in expr:
            shown = {labels.get("gpu") for labels, _ in grafana.ask(expr, "whole", "2|5")}
            assert shown <= {"2", "5", None}, title


@pytest.mark.parametrize("machine", MACHINES)
def test_no_graph_has_two_lines_of_one_name(grafana: Grafana, machine: str) -> None:
    for dashboard in DASHBOARDS.values():
        for panel in dashboard["panels"]:
            if panel["type"] == "timeseries":
                names = [
                    legend(target["legendFormat"], labels)
                    for target in panel["targets"]
                    for labels, _ in grafana.ask(target["expr"], machine)
                ]
                assert all(names), panel["title"]
                assert len(names) == len(set(names)), panel["title"]


def legend(text: str, labels: Labels) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda label: labels.get(label[1], ""), text).strip()


@pytest.mark.parametrize("machine", MACHINES)
def test_a_table_has_a_row_per_gpu_or_host_in_every_column(grafana: Grafana, machine: str) -> None:
    gpus = 2 if machine == "unprofiled" else 8
    for name, key, rows in (("host", "gpu", gpus), ("fleet", "instance", 1)):
        (table,) = [panel for panel in DASHBOARDS[name]["panels"] if panel["type"] == "table"]
        for target in table["targets"]:
            keys = [labels[key] for labels, _ in grafana.ask(target["expr"], machine)]
            assert len(keys) == len(set(keys)) == rows, target["expr"]


def test_the_power_of_a_cut_gpu_counts_once(grafana: Grafana) -> None:
    """Its four instances each have all of it, and a sum of these is four times too much."""
    (power,) = [e for title, e in queries("host") if title == "Power now"]
    ((_, shown),) = grafana.ask(power, "mig")
    ((_, naive),) = grafana.ask('sum(DCGM_FI_DEV_POWER_USAGE{instance=~"$instance"})', "mig")
    assert 0 < shown < 0.9 * naive


def test_xids_and_alerts_are_marked_on_the_graphs(shared_stage: Stage, grafana: Grafana) -> None:
    shared_stage.engines[0].control("xid", "--gpu", "3", "13")
    for mark in DASHBOARDS["host"]["annotations"]["list"]:
        wait_until(lambda m=mark: grafana.draws(m["expr"], "whole"), mark["name"])
