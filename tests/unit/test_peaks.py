"""Peaks: what happened between two readings, by the engine's own summaries."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.builders import Bench, counter_set, gpu, gpu_instance, labels_of

from dcgm_simulator.versions import VERSIONS
from do_dcgm_exporter.collect.peak_log import PeakLog
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.collect.sources.peaks import PeakCollector
from do_dcgm_exporter.config.counters import CounterType, Verdict, parse_counters
from do_dcgm_exporter.config.peaks import Statistic
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import Entity
from do_dcgm_exporter.dcgm.fields import all_fields
from do_dcgm_exporter.dcgm.summaries import Summary, read_summary
from do_dcgm_exporter.dcgm.watcher import Retention, Watcher

StartBench = Callable[..., Bench]
every_version = pytest.mark.parametrize("version", VERSIONS)

POWER, TEMPERATURE, MEMORY, UTILIZATION, TRAFFIC = 155, 150, 252, 203, 449
POWER_LINE = "DCGM_FI_DEV_POWER_USAGE, gauge, x"
BLANK = 2**63 - 16


def peaks_of(name: str) -> tuple[str, ...]:
    return tuple(f"{name}_{one.name}, gauge, x" for one in Statistic)


POWER_PEAKS = peaks_of("DCGM_FI_DEV_POWER_USAGE")


# Names.


def test_dcgms_own_names_always_mean_its_own_fields() -> None:
    lines = [f"{name}, gauge, x" for field in all_fields() for name in field.names]
    counters = parse_counters("\n".join(lines), Path("x.csv")).counters
    assert not [counter.name for counter in counters if counter.peak]
    limit, mean = counter_set(
        "DCGM_FI_DEV_POWER_MGMT_LIMIT_MAX, gauge, x", "DCGM_FI_DEV_POWER_MGMT_LIMIT_AVG, gauge, x"
    ).counters
    assert (limit.field and limit.field.id, mean.peak and mean.peak.field.id) == (162, 160)


def test_a_peak_is_named_as_its_field_was_written_in_the_case_of_dcgm() -> None:
    written = ("dcgm_fi_dev_board_power_watts_max", "155_MIN", "dcgm_power_usage_avg")
    counters = counter_set(*(f"{name}, gauge, x" for name in written)).counters
    assert [
        ("DCGM_FI_DEV_BOARD_POWER_WATTS_MAX", Statistic.MAX),
        ("DCGM_FI_DEV_POWER_USAGE_MIN", Statistic.MIN),
        ("dcgm_power_usage_AVG", Statistic.AVG),
    ] == [(counter.name, counter.peak and counter.peak.statistic) for counter in counters]


def test_a_peak_is_a_gauge_whatever_the_line_says() -> None:
    (counter,) = counter_set("DCGM_FI_DEV_GPU_TEMP_MAX, counter, x").counters
    assert counter.type is CounterType.GAUGE


@pytest.mark.parametrize(
    ("line", "verdict", "why"),
    [
        ("DCGM_FI_DRIVER_VERSION_MAX, gauge, x", Verdict.UNSUPPORTED, "field 1 holds no number"),
        ("DCGM_FI_DEV_XID_ERRORS_MAX, gauge, x", Verdict.UNSUPPORTED, "the number of an error"),
        ("DCGM_FI_DEV_GPU_TEMP_MAX, label, x", Verdict.UNSUPPORTED, "cannot be a label"),
        ("DCGM_FI_DEV_CPU_UTIL_TOTAL_MAX, gauge, x", Verdict.UNSUPPORTED, "only fields of GPUs"),
        ("DCGM_FI_DEV_COUNT_MAX, gauge, x", Verdict.UNSUPPORTED, "only fields of GPUs"),
        ("DCGM_FI_DEV_GPU_TEMP_MEDIAN, gauge, x", Verdict.UNKNOWN, "no DCGM field"),
    ],
)
def test_what_cannot_be_summarised_is_said_to_be_so(line: str, verdict: Verdict, why: str) -> None:
    (judgement,) = parse_counters(line, Path("x.csv")).judgements
    assert judgement.verdict is verdict
    assert why in judgement.message


# Which samples a page is about.


def test_pages_share_no_sample_and_miss_none() -> None:
    log, key = PeakLog(), (gpu(0), POWER)
    assert log.window(key, 100, at_first=20, kept=90) == (81, 100)
    assert log.window(key, 120, at_first=20, kept=90) == (101, 120), "nothing was shown yet"
    log.advance({key: (81, 120)})
    assert log.window(key, 120, at_first=20, kept=90) is None
    assert log.window(key, 190, at_first=20, kept=90) == (121, 190)


def test_no_page_is_about_more_than_the_engine_was_asked_to_keep() -> None:
    log, key = PeakLog(), (gpu(0), POWER)
    log.advance({key: (1, 1000)})
    assert log.window(key, 9000, at_first=20, kept=41) == (8960, 9000)


def test_a_clock_that_was_set_back_starts_anew() -> None:
    log, key = PeakLog(), (gpu(0), POWER)
    log.advance({key: (1, 1000)})
    assert log.window(key, 400, at_first=20, kept=90) is None
    assert log.window(key, 420, at_first=20, kept=90) == (401, 420)


def test_after_a_loss_a_page_is_about_its_own_sample_until_there_is_a_page_before() -> None:
    log, key = PeakLog(), (gpu(0), POWER)
    log.advance({key: (81, 100)})
    log.note_loss(key, 110)
    assert log.window(key, 110, at_first=20, kept=90) is None, "it is from before the loss"
    assert log.window(key, 140, at_first=20, kept=90) == (140, 140)
    assert log.window(key, 160, at_first=20, kept=90) == (160, 160), "nothing was shown yet"
    log.advance({key: (160, 160)})
    assert log.window(key, 180, at_first=20, kept=90) == (161, 180)


def test_peaks_that_were_asked_for_before_a_loss_do_not_end_it() -> None:
    log, key = PeakLog(), (gpu(0), POWER)
    late = {key: (81, 100)}
    log.note_loss(key, 110)
    log.advance(late)
    assert log.window(key, 140, at_first=20, kept=90) == (140, 140)


# What a summary is worth.


def test_a_mean_that_blanks_were_counted_in_is_none() -> None:
    whole = read_summary(gpu(0), POWER, [10.0, 30.0, 60.0, 3, 40e6], 2_000_000)
    assert (whole.lowest, whole.highest, whole.mean) == (10.0, 30.0, 20.0)
    spoilt = read_summary(gpu(0), POWER, [10.0, 30.0, 40.0, 3, 2.0**46 * 1e6], 2_000_000)
    assert (spoilt.lowest, spoilt.highest, spoilt.mean, spoilt.has_blanks) == (10.0, 30.0, None, 1)


def test_a_mean_below_the_lowest_sample_has_blanks_in_it() -> None:
    assert read_summary(gpu(0), TEMPERATURE, [50, 52, 153, 4, 100], 3_000_000).mean is None


def test_a_mean_is_never_beyond_the_samples_even_by_rounding() -> None:
    tenth = read_summary(gpu(0), POWER, [0.1, 0.1, sum([0.1] * 3), 3, 0.2e6], 3_000_000)
    assert (sum([0.1] * 3) / 3 > 0.1, tenth.mean) == (True, 0.1)


def test_only_blanks_are_no_number() -> None:
    summary = read_summary(gpu(0), MEMORY, [BLANK + 2] * 5, 1_000_000)
    assert summary.lowest is Absence.NOT_SUPPORTED
    assert (summary.mean, summary.has_blanks) == (None, False)


# On engines.


def values_of(result: CycleResult, name: str) -> dict[str, float]:
    """The samples of a family by GPU and, for an instance, its number."""
    return {
        "/".join(filter(None, (labels["gpu"], labels.get("GPU_I_ID", "")))): float(sample.value)
        for family in result.snapshot.families
        if family.name == name
        for sample in family.samples
        if (labels := labels_of(sample.labels))
    }


def outcome_of(result: CycleResult, name: str) -> bool:
    (outcome,) = [outcome for outcome in result.outcomes if outcome.name == name]
    return outcome.succeeded


def samples_in(bench: Bench, session: Session, field_id: int) -> Iterator[float]:
    """All samples of the last 20 s that the engine kept of GPU 0, as a reader of all sees them."""
    (watch,) = [watch for watch in session.watches if field_id in watch.field_ids]
    for raw in session.engine.since(watch, int((bench.now - 20.0) * 1e6) + 1):
        if raw.entity == gpu(0) and raw.field_id == field_id and isinstance(raw.payload, int):
            yield raw.payload


@every_version
def test_a_page_has_the_lowest_highest_and_mean_of_all_samples_since_the_one_before(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    session = started.session(*peaks_of("DCGM_FI_DEV_FB_USED"), "DCGM_FI_DEV_FB_USED, gauge, x")
    started.read(session)
    for _ in range(3):
        started.pass_time(20.0)
        result = started.read(session)
        samples = list(samples_in(started, session, MEMORY))
        assert len(samples) == 20
        found = [values_of(result, f"DCGM_FI_DEV_FB_USED_{one.name}")["0"] for one in Statistic]
        assert [min(samples), max(samples)] == found[:2]
        assert found[2] == pytest.approx(sum(samples) / 20)
        assert samples[-1] == values_of(result, "DCGM_FI_DEV_FB_USED")["0"]
        assert set("01234567") == values_of(result, "DCGM_FI_DEV_FB_USED_MIN").keys()


def spike(started: Bench, value: str, seconds: float = 1.0, field: int = POWER) -> None:
    """Let a value of GPU 0 last from between two samples until between two others."""
    started.pass_time(0.5)
    started.engine.control("set", "--entity", "gpu:0", str(field), value)
    started.pass_time(seconds)
    started.engine.control("set", "--entity", "gpu:0", str(field), "unset")


@every_version
def test_a_spike_is_on_one_page_even_though_no_reading_saw_it(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    session = started.session(*POWER_PEAKS, POWER_LINE)
    pages = [started.read(session)]
    for page in range(3):
        started.pass_time(9.0)
        spike(started, "2000") if page == 1 else started.pass_time(1.0)
        started.pass_time(10.0)
        pages.append(started.read(session))
    highest = [values_of(page, "DCGM_FI_DEV_POWER_USAGE_MAX")["0"] for page in pages]
    assert [False, False, True, False] == [value == 2000 for value in highest]
    assert all(values_of(page, "DCGM_FI_DEV_POWER_USAGE")["0"] < 1000 for page in pages)


def test_a_reload_shows_no_sample_twice(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    logs = started.logs()
    session = started.session(*POWER_PEAKS, logs=logs)
    started.read(session)
    spike(started, "2000")
    started.pass_time(5.0)
    assert values_of(started.read(session), "DCGM_FI_DEV_POWER_USAGE_MAX")["0"] == 2000
    session = started.session(*POWER_PEAKS, logs=logs)
    started.pass_time(3.0)
    assert values_of(started.read(session), "DCGM_FI_DEV_POWER_USAGE_MAX")["0"] < 1000


@every_version
@pytest.mark.parametrize("name", ["DCGM_FI_DEV_POWER_USAGE", "DCGM_FI_DEV_GPU_TEMP"])
def test_blanks_never_become_numbers(bench: StartBench, version: str, name: str) -> None:
    """Of a temperature alone one blank in four cannot be told; those of its GPU's power can."""
    started = bench("h100x8", version)
    session = started.session(*POWER_PEAKS, *peaks_of("DCGM_FI_DEV_GPU_TEMP"))
    started.read(session)
    started.pass_time(9.0)
    for field in (POWER, TEMPERATURE):
        started.engine.control("set", "--entity", "gpu:0", str(field), "blank")
    started.pass_time(3.0)
    for field in (POWER, TEMPERATURE):
        started.engine.control("set", "--entity", "gpu:0", str(field), "unset")
    started.pass_time(8.0)
    result = started.read(session)
    lowest, highest = (values_of(result, f"{name}_{end}")["0"] for end in ("MIN", "MAX"))
    assert 20 < lowest <= highest < 800
    assert "0" not in values_of(result, f"{name}_AVG")
    assert "1" in values_of(result, f"{name}_AVG")
    assert result.dropped[Absence.BLANK] == 2


def test_where_a_gpu_has_blanks_none_of_its_means_is_shown(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def summary(engine: HostEngine, entity: Entity, field_id: int, *window: int) -> Summary:
        found = original(engine, entity, field_id, *window)
        return found.without_mean() if (entity, field_id) == (gpu(0), POWER) else found

    original = HostEngine.summary
    monkeypatch.setattr(HostEngine, "summary", summary)
    started = bench("h100x8", "4.6.0")
    session = started.session(*POWER_PEAKS, *peaks_of("DCGM_FI_DEV_GPU_TEMP"))
    started.pass_time(20.0)
    result = started.read(session)
    assert set("1234567") == values_of(result, "DCGM_FI_DEV_GPU_TEMP_AVG").keys()
    assert set("01234567") == values_of(result, "DCGM_FI_DEV_GPU_TEMP_MAX").keys()


def test_what_is_impossible_is_no_peak(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    session = started.session(*peaks_of("DCGM_FI_DEV_GPU_UTIL"))
    started.read(session)
    spike(started, str(2**32 - 1), field=UTILIZATION)
    started.pass_time(19.0)
    result = started.read(session)
    assert "0" not in values_of(result, "DCGM_FI_DEV_GPU_UTIL_MAX")
    assert result.dropped[Absence.NOT_A_NUMBER] == 3


@every_version
def test_a_lost_gpu_has_no_peaks(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session(*POWER_PEAKS)
    started.read(session)
    spike(started, "2000")
    started.engine.control("lose-gpu", "0")
    started.pass_time(19.0)
    result = started.read(session)
    assert set("1234567") == values_of(result, "DCGM_FI_DEV_POWER_USAGE_MAX").keys()
    assert result.dropped[Absence.GPU_LOST] >= 3


@every_version
def test_a_gpu_that_was_lost_begins_anew(bench: StartBench, version: str) -> None:
    """Its first page is about its newest sample alone: of what is older, who knows."""
    started = bench("h100x8", version)
    logs = started.logs()
    session = started.session(*POWER_PEAKS, POWER_LINE, logs=logs)
    started.read(session)
    spike(started, "2000")
    started.engine.control("lose-gpu", "0")
    started.pass_time(19.0)
    assert not started.read(session).gpus_up[0]
    started.engine.control("restore-gpu", "0")
    started.pass_time(20.0)
    session = started.session(*POWER_PEAKS, POWER_LINE, logs=logs)
    returned = started.read(session)
    newest = values_of(returned, "DCGM_FI_DEV_POWER_USAGE")["0"]
    peaks = [values_of(returned, f"DCGM_FI_DEV_POWER_USAGE_{one.name}")["0"] for one in Statistic]
    assert [newest] * 3 == peaks
    started.pass_time(20.0)
    later = started.read(session)
    lowest, highest = (
        values_of(later, f"DCGM_FI_DEV_POWER_USAGE_{one}")["0"] for one in ("MIN", "MAX")
    )
    assert lowest < highest < 1000


def test_no_new_sample_is_no_peak(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    session = started.session(*POWER_PEAKS)
    started.read(session)
    started.engine.control("freeze", str(POWER))
    started.pass_time(20.0)
    assert {} == values_of(started.read(session), "DCGM_FI_DEV_POWER_USAGE_MAX")


def test_the_status_page_is_told_the_range_of_the_utilization(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    session = started.session(
        *peaks_of("DCGM_FI_DEV_GPU_UTIL"), "DCGM_FI_DEV_GPU_UTIL, gauge, x", status_page=True
    )
    started.read(session)
    started.pass_time(20.0)
    result = started.read(session)
    extremes = tuple(
        values_of(result, f"DCGM_FI_DEV_GPU_UTIL_{one}")["0"] for one in ("MIN", "MAX")
    )
    assert extremes[0] < extremes[1]
    assert result.machine.utilization_range(gpu(0)) == extremes


def test_peaks_of_what_a_gpu_does_not_offer_are_counted_as_such(bench: StartBench) -> None:
    started = bench("a100-no-prof", "4.6.0")
    result = started.read(started.session(*peaks_of("DCGM_FI_PROF_SM_ACTIVE"), POWER_LINE))
    assert {} == values_of(result, "DCGM_FI_PROF_SM_ACTIVE_MAX")
    assert result.dropped[Absence.NOT_OFFERED] == 3 * 2


def test_instances_have_the_peaks_of_what_they_measure(bench: StartBench) -> None:
    started = bench("h100x8-mig", "4.6.0")
    lines = (*peaks_of("DCGM_FI_DEV_FB_USED"), *peaks_of("DCGM_FI_PROF_PCIE_TX_BYTES"))
    session = started.session(*lines)
    started.read(session)
    started.pass_time(20.0)
    result = started.read(session)
    memory = values_of(result, "DCGM_FI_DEV_FB_USED_MAX")
    assert {name for name in memory if "/" in name}
    assert not [name for name in values_of(result, "DCGM_FI_PROF_PCIE_TX_BYTES_MAX") if "/" in name]
    assert any(key == (gpu_instance(0), MEMORY) for key in _summarised(session))


def _summarised(session: Session) -> Iterator[tuple[object, int]]:
    for watch in session.watches:
        yield from ((entity, id_) for entity in watch.entities for id_ in watch.field_ids)


@every_version
def test_a_name_of_49_is_computed_from_the_older_field(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session(
        *peaks_of("DCGM_FI_DEV_FB_USED_BYTES"), *peaks_of("DCGM_FI_DEV_FB_USED")
    )
    started.read(session)
    started.pass_time(20.0)
    result = started.read(session)
    for one in Statistic:
        older = values_of(result, f"DCGM_FI_DEV_FB_USED_{one.name}")
        newer = values_of(result, f"DCGM_FI_DEV_FB_USED_BYTES_{one.name}")
        assert {name: value * 2**20 for name, value in older.items()} == pytest.approx(newer)


def test_peaks_that_were_switched_off_say_nothing_of_the_time_in_between(
    bench: StartBench,
) -> None:
    started = bench("h100x8", "4.6.0")
    logs = started.logs()
    Watcher(started.connect()).watch([gpu(0)], [POWER], 1.0, Retention(600.0, 0))
    started.read(started.session(*POWER_PEAKS, logs=logs))
    spike(started, "2000")
    started.pass_time(60.0)
    result = started.read(started.session(*POWER_PEAKS, logs=logs))
    assert 0 < values_of(result, "DCGM_FI_DEV_POWER_USAGE_MAX")["0"] < 2000


@pytest.mark.parametrize("code", ["-20", "-6"])
def test_an_engine_without_summaries_is_no_failure(bench: StartBench, code: str) -> None:
    started = bench("h100x8", "4.6.0")
    started.engine.control("refuse-call", "get_field_summary", code)
    result = started.read(started.session(*POWER_PEAKS, POWER_LINE))
    assert {} == values_of(result, "DCGM_FI_DEV_POWER_USAGE_MAX")
    assert set("01234567") == values_of(result, "DCGM_FI_DEV_POWER_USAGE").keys()
    assert outcome_of(result, "peaks")
    assert result.dropped[Absence.FUNCTION_ABSENT] == 1


@pytest.mark.parametrize("code", ["-3", "-12"])
def test_a_refusal_fails_peaks_alone(bench: StartBench, code: str) -> None:
    started = bench("h100x8", "4.6.0")
    session = started.session(*POWER_PEAKS, POWER_LINE)
    started.read(session)
    spike(started, "2000")
    started.engine.control("refuse-call", "get_field_summary", code)
    started.pass_time(9.0)
    result = started.read(session)
    assert ["peaks"] == [outcome.name for outcome in result.outcomes if not outcome.succeeded]
    assert set("01234567") == values_of(result, "DCGM_FI_DEV_POWER_USAGE").keys()
    started.engine.control("refuse-call", "get_field_summary", "0")
    started.pass_time(10.0)
    later = values_of(started.read(session), "DCGM_FI_DEV_POWER_USAGE_MAX")
    assert later["0"] == 2000, "what could not be asked is on the next page"


def test_while_summaries_are_late_no_page_has_those_of_another(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    session = started.session(*POWER_PEAKS, POWER_LINE, collect_interval=2.0)
    assert values_of(started.read(session), "DCGM_FI_DEV_POWER_USAGE_MAX")
    started.engine.control("slow-call", "get_field_summary", "3600")
    started.pass_time(2.0)
    result = started.read(session)
    assert ["peaks"] == [outcome.name for outcome in result.outcomes if not outcome.succeeded]
    assert {} == values_of(result, "DCGM_FI_DEV_POWER_USAGE_MAX")
    assert set("01234567") == values_of(result, "DCGM_FI_DEV_POWER_USAGE").keys()
    session.close()  # which ends the call


# The plain families.


@every_version
def test_traffic_stays_the_mean_since_the_reading_before(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    name = "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL"
    session = started.session(*peaks_of(name), f"{name}, gauge, x")
    started.read(session)
    started.pass_time(20.0)
    result = started.read(session)
    samples = list(samples_in(started, session, TRAFFIC))
    assert len(set(samples)) > 1
    assert round(sum(samples) / len(samples)) == values_of(result, name)["0"]


def test_a_late_answer_gives_peaks_but_no_mean_of_another_page(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    name = "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL"
    session = started.session(*peaks_of(name), f"{name}, gauge, x")
    (peaks,) = [one for one in session.collectors if isinstance(one, PeakCollector)]
    started.read(session)
    started.pass_time(20.0)
    may_answer = threading.Event()
    ask = PeakCollector._ask

    def ask_late(self: PeakCollector, windows: Any) -> Any:
        may_answer.wait()
        return ask(self, windows)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PeakCollector, "_ask", ask_late)
        patched.setattr("do_dcgm_exporter.dcgm.side_call._SHORTEST_PATIENCE", 0.0)
        patched.setattr("do_dcgm_exporter.dcgm.side_call._PATIENCE_PER_INTERVAL", 0.0)
        assert not outcome_of(started.read(session), "peaks")
        earlier = list(samples_in(started, session, TRAFFIC))
        attempt = peaks._question._attempt
        assert attempt
        may_answer.set()
        assert attempt.over.wait(60.0)
    started.pass_time(20.0)
    result = started.read(session)
    assert values_of(result, f"{name}_MAX")["0"] == max(earlier)
    newest = list(samples_in(started, session, TRAFFIC))[-1]
    assert values_of(result, name)["0"] == newest != round(sum(earlier) / len(earlier))


def test_pages_stay_close_to_the_samples_of_what_has_no_peaks(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    lines = (*peaks_of("DCGM_FI_PROF_DRAM_ACTIVE"), "DCGM_FI_PROF_PIPE_TENSOR_ACTIVE, gauge, x")
    session = started.session(*lines)
    watched = {field_id for _, field_id in session.profiling.pace.watched()}
    assert watched == {1004, 1005}
    while started.read(session).warming_up:
        started.pass_time(1.0)
    ages = []
    for _ in range(4):
        started.pass_time(5.0)
        ages.append(started.read(session).sample_age)
    assert max(age for age in ages if age is not None) >= 14.0


def test_nothing_changes_without_peaks(bench: StartBench) -> None:
    started = bench("h100x8", "4.6.0")
    session = started.session()
    result = started.read(session)
    assert "peaks" not in {outcome.name for outcome in result.outcomes}
    assert started.calls_made("get_field_summary") == 0
    watches = started.engine.control("status")["watches"]
    assert {20e6} == {watch["interval_us"] for watch in watches if watch["field"] == POWER}
    peaks = started.session(*POWER_PEAKS)
    watches = started.engine.control("status")["watches"]
    assert {1e6, 20e6} == {watch["interval_us"] for watch in watches if watch["field"] == POWER}
    peaks.close()
