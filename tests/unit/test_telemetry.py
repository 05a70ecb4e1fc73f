"""The exporter's own metrics: alerts are built on these names."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import NOW, cycle_result

from do_dcgm_exporter import __version__
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.exposition import OPENMETRICS_END, render
from do_dcgm_exporter.page.forwarding import ForwardResult, ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry, TelemetryRegistry

PREFIX = "do_dcgm_exporter_"
NAMES = {
    "build_info": "gauge",
    "hostengine_up": "gauge",
    "gpus": "gauge",
    "gpu_up": "gauge",
    "profiling_up": "gauge",
    "nvlink_state": "gauge",
    "collector_success": "gauge",
    "collector_duration_seconds": "gauge",
    "collect_duration_seconds": "gauge",
    "last_success_timestamp_seconds": "gauge",
    "values_dropped_total": "counter",
    "forward_attempts_total": "counter",
    "forward_last_success_timestamp_seconds": "gauge",
    "config_last_reload_successful": "gauge",
    "engine_calls_total": "counter",
}

Samples = dict[tuple[tuple[str, str], ...], float]


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry(CallCount(), ForwardStatistics())


def page(telemetry: Telemetry) -> str:
    return render(TelemetryRegistry(telemetry).families()).text.decode()


def own(telemetry: Telemetry) -> Mapping[str, Samples]:
    """Samples by name without the prefix and by sorted labels."""
    found: dict[str, Samples] = {}
    for family in parse_text(page(telemetry)):
        for sample in family.samples:
            if sample.name.startswith(PREFIX):
                samples = found.setdefault(sample.name[len(PREFIX) :], {})
                samples[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_names_and_types_are_fixed(telemetry: Telemetry) -> None:
    telemetry.record(cycle_result(), Versions("4.6.0", "4.6.0"), 0.01, NOW)
    heads = [line.split() for line in page(telemetry).splitlines() if line.startswith("# TYPE")]
    types = {head[2][len(PREFIX) :]: head[3] for head in heads if head[2].startswith(PREFIX)}
    assert NAMES == types


def test_every_family_has_its_name_and_a_help_text(telemetry: Telemetry) -> None:
    helps = [line for line in page(telemetry).splitlines() if line.startswith(f"# HELP {PREFIX}")]
    assert len(NAMES) == len(helps)
    assert all(line.endswith(".") for line in helps)


def test_before_the_first_cycle_nothing_is_known(telemetry: Telemetry) -> None:
    found = own(telemetry)
    assert {(): 0.0} == found["hostengine_up"]
    assert {(): 0.0} == found["gpus"]
    assert {(): 0.0} == found["last_success_timestamp_seconds"]
    assert {(): 0.0} == found["forward_last_success_timestamp_seconds"]
    assert {(): 1.0} == found["config_last_reload_successful"]
    assert {"gpu_up", "nvlink_state", "collector_success"} & set(found) == set()


def test_every_reason_and_result_is_there_from_the_start(telemetry: Telemetry) -> None:
    found = own(telemetry)
    reasons = {(("reason", reason.value),): 0.0 for reason in Absence}
    results = {(("result", outcome.value),): 0.0 for outcome in ForwardResult}
    assert reasons == found["values_dropped_total"]
    assert results == found["forward_attempts_total"]


def test_a_cycle_is_recorded(telemetry: Telemetry) -> None:
    telemetry.calls.calls = 17
    telemetry.record(cycle_result(), Versions("4.6.0", "4.5.3"), 0.0125, NOW)
    found = own(telemetry)
    versions = {
        "version": __version__,
        "dcgm_client": "4.6.0",
        "hostengine": "4.5.3",
        "driver": "535.216.01",
    }
    assert {tuple(sorted(versions.items())): 1.0} == found["build_info"]
    assert {(): 1.0} == found["hostengine_up"]
    assert {(): 2.0} == found["gpus"]
    assert {(("gpu", "0"),): 1.0, (("gpu", "1"),): 0.0} == found["gpu_up"]
    assert {
        (("gpu", "0"), ("nvlink", "0")): 3.0,
        (("gpu", "0"), ("nvlink", "1")): 2.0,
    } == found["nvlink_state"]
    assert {(("collector", "fields"),): 1.0, (("collector", "xid"),): 0.0} == found[
        "collector_success"
    ]
    assert {(("collector", "fields"),): 0.25, (("collector", "xid"),): 0.5} == found[
        "collector_duration_seconds"
    ]
    assert {(): 0.0125} == found["collect_duration_seconds"]
    assert {(): NOW} == found["last_success_timestamp_seconds"]
    assert {(): 17.0} == found["engine_calls_total"]


def test_reasons_add_up_over_cycles(telemetry: Telemetry) -> None:
    for dropped in ({Absence.BLANK: 3}, {Absence.BLANK: 1, Absence.STALE: 2}, {}):
        telemetry.record(cycle_result(dropped=dropped), Versions(), 0.0, NOW)
    found = own(telemetry)["values_dropped_total"]
    assert (4.0, 2.0) == (found[("reason", "blank"),], found[("reason", "stale"),])


def test_in_an_outage_nothing_is_said_of_the_machine(telemetry: Telemetry) -> None:
    telemetry.record(cycle_result(), Versions("4.6.0", "4.6.0"), 0.01, NOW)
    telemetry.record_outage(engine_up=False)
    found = own(telemetry)
    assert {(): 0.0} == found["hostengine_up"]
    assert {(): 0.0} == found["gpus"]
    assert {"gpu_up", "nvlink_state", "collector_success"} & set(found) == set()
    assert {(): NOW} == found["last_success_timestamp_seconds"]
    assert 3.0 == found["values_dropped_total"][("reason", "blank"),]


def test_an_engine_without_a_driver_is_up(telemetry: Telemetry) -> None:
    telemetry.record_outage(engine_up=True)
    found = own(telemetry)
    assert ({(): 1.0}, {(): 0.0}) == (found["hostengine_up"], found["gpus"])


def test_forwarding_is_counted_by_cycle_result(telemetry: Telemetry) -> None:
    telemetry.forward.count(ForwardResult.SUCCESS, NOW)
    telemetry.forward.count(ForwardResult.TIMEOUT, NOW + 20)
    found = own(telemetry)
    attempts = found["forward_attempts_total"]
    assert (1.0, 1.0) == (attempts[("result", "success"),], attempts[("result", "timeout"),])
    assert {(): NOW} == found["forward_last_success_timestamp_seconds"]


def test_a_refused_reload_shows(telemetry: Telemetry) -> None:
    telemetry.last_reload_successful = False
    assert {(): 0.0} == own(telemetry)["config_last_reload_successful"]


def test_both_formats_are_valid_and_have_no_creation_times(telemetry: Telemetry) -> None:
    telemetry.record(cycle_result(), Versions("4.6.0", "4.6.0"), 0.01, NOW)
    rendered = render(TelemetryRegistry(telemetry).families())
    openmetrics = (rendered.openmetrics + OPENMETRICS_END).decode()
    of_text = {family.name for family in parse_text(rendered.text.decode())}
    of_openmetrics = {family.name: family.type for family in parse_openmetrics(openmetrics)}
    assert of_text == set(of_openmetrics)
    assert "counter" == of_openmetrics["do_dcgm_exporter_values_dropped"]
    assert "_created" not in rendered.text.decode() + openmetrics


def test_the_process_is_measured(telemetry: Telemetry) -> None:
    text = page(telemetry)
    assert "# TYPE process_cpu_seconds_total counter\n" in text
    assert "# TYPE process_resident_memory_bytes gauge\n" in text


def test_a_failing_part_takes_no_other_along_and_is_logged_once(
    telemetry: Telemetry, caplog: pytest.LogCaptureFixture
) -> None:
    telemetry.embedded_dcgm.count = lambda: 1 // 0
    for _ in range(2):
        assert {"hostengine_up", "collect_duration_seconds", "engine_calls_total"} <= own(
            telemetry
        ).keys()
    assert 1 == caplog.text.count("metrics about the exporter are missing (part=neighbours)")
