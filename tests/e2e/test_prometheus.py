"""Debian's Prometheus really scrapes, and gives back what the page said."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import ROOT, Exporter
from tests.e2e.prometheus import Prometheus, needs_prometheus
from tests.waiting import wait_until

TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"

pytestmark = needs_prometheus

CONFIG = """\
global: {scrape_interval: 500ms, scrape_timeout: 500ms}
scrape_configs:
- {job_name: whole, static_configs: [{targets: ["127.0.0.1:%d"]}]}
- {job_name: mig, static_configs: [{targets: ["127.0.0.1:%d"]}]}
- {job_name: dying, static_configs: [{targets: ["127.0.0.1:%d"]}]}
"""


def has_scraped(prometheus: Prometheus) -> bool:
    """Whether it has scraped all exporters."""
    return len(prometheus.query(TEMPERATURE)) > 8 and prometheus.scrapes(3)


@pytest.fixture(scope="module")
def exporters(shared_stage: Stage) -> dict[str, Exporter]:
    scenarios = {"whole": "h100x8", "mig": "h100x8-mig", "dying": "h100x1"}
    engines = {job: shared_stage.engine(scenario) for job, scenario in scenarios.items()}
    started = {
        job: shared_stage.exporter(engine, hostname_label="hostname")
        for job, engine in engines.items()
    }
    for exporter in started.values():
        wait_until(lambda e=exporter: e.has("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), "all families")
    return started


@pytest.fixture(scope="module")
def prometheus(
    exporters: dict[str, Exporter], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    ports = tuple(exporter.port for exporter in exporters.values())
    with Prometheus(tmp_path_factory.mktemp("prometheus"), CONFIG % ports) as prometheus:
        wait_until(lambda: has_scraped(prometheus), "all are scraped")
        yield prometheus


@pytest.mark.parametrize("job", ["whole", "mig"])
def test_prometheus_has_every_series_of_the_page(
    prometheus: Prometheus, exporters: dict[str, Exporter], job: str
) -> None:
    page = exporters[job].page()
    count = sum(len(family.samples) for family in page.families.values())

    def scraped() -> float:
        return prometheus.query(f'scrape_samples_post_metric_relabeling{{job="{job}"}}')[0][1]

    wait_until(lambda: scraped() == count, f"{count} samples")
    series = prometheus.query(f'{TEMPERATURE}{{job="{job}"}}')
    labels = [
        {
            name: value
            for name, value in metric.items()
            if name not in ("__name__", "job", "instance")
        }
        for metric, _ in series
    ]
    on_page = [sample.labels for sample in page.samples(TEMPERATURE)]
    assert sorted(map(sorted, map(dict.items, labels))) == sorted(
        map(sorted, map(dict.items, on_page))
    )


def test_instances_add_up_to_what_the_page_says(prometheus: Prometheus) -> None:
    query = f'count by (gpu) ({TEMPERATURE}{{job="mig"}})'
    counts = {metric["gpu"]: value for metric, value in prometheus.query(query)}
    assert counts == {"0": 4, "1": 4} | dict.fromkeys("234567", 1)


def test_counters_are_counters_and_gauges_are_gauges(prometheus: Prometheus) -> None:
    """A scraper that also takes OpenMetrics gets the format in which types survive."""
    metadata = prometheus.ask("metadata")
    for name in (
        "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION",
        "DCGM_EXP_XID_ERRORS_TOTAL",
        "do_dcgm_exporter_engine_calls_total",
    ):
        assert metadata[name][0]["type"] == "counter", name
    for name in (TEMPERATURE, "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL", "process_open_fds"):
        assert metadata[name][0]["type"] == "gauge", name
    wait_until(
        lambda: prometheus.query("rate(DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION[10s]) > 0"), "a rate"
    )


def test_its_request_is_answered_compressed_in_the_text_format(
    exporters: dict[str, Exporter],
) -> None:
    """The headers are those of Prometheus 2.42."""
    headers = {
        "Accept": "application/openmetrics-text;version=1.0.0,"
        "application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
        "Accept-Encoding": "gzip",
    }
    answer = exporters["whole"].get(headers=headers)
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["Content-Encoding"] == "gzip"


def test_series_end_when_the_engine_does_and_the_target_stays_up(
    shared_stage: Stage, prometheus: Prometheus, exporters: dict[str, Exporter]
) -> None:
    series = f'{TEMPERATURE}{{job="dying"}}'
    assert len(prometheus.query(series)) == 1
    shared_stage.engines[-1].kill()
    wait_until(lambda: not prometheus.query(series), "the series have ended")
    assert prometheus.query('up{job="dying"} == 1')
    assert prometheus.query('do_dcgm_exporter_hostengine_up{job="dying"} == 0')


def test_the_status_page_knows_prometheus(
    prometheus: Prometheus, exporters: dict[str, Exporter]
) -> None:
    assert "<b>Prometheus</b>" in exporters["whole"].get("/").text
    assert "✓ scraped" in exporters["whole"].get("/").text


@pytest.mark.parametrize("job", ["whole", "mig"])
def test_the_join_of_the_manual_gives_every_value_its_driver(
    prometheus: Prometheus, exporters: dict[str, Exporter], job: str
) -> None:
    manual = (ROOT / "docs" / "metrics.md").read_text()
    (query,) = re.findall(r"^    (.* group_left .*\n.*)$", manual, re.MULTILINE)
    exporters[job].reload(label_fields_as_info="true")
    driver, of_job = "DCGM_FI_DRIVER_VERSION", f'{TEMPERATURE}{{job="{job}"}}'

    def joined() -> list[tuple[dict[str, str], float]]:
        return prometheus.query(query.replace(TEMPERATURE, of_job))

    def series() -> list[tuple[dict[str, str], float]]:
        found = prometheus.query(of_job)
        return [] if any(driver in labels for labels, _ in found) else found

    wait_until(lambda: len(joined()) == len(series()) >= 8, "as many values as without a driver")
    assert all(labels[driver] for labels, _ in joined())
