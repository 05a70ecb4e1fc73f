"""The families about XIDs, on simulated engines."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from tests.builders import Bench, Series, labels_of

from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.collect.sources.xid import XidCollector
from do_dcgm_exporter.config.device_selection import parse_device_selection
from do_dcgm_exporter.dcgm.answers import Watch
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.decoding import Absence, RawValue
from do_dcgm_exporter.dcgm.entities import Entity, EntityKind
from do_dcgm_exporter.dcgm.errors import CallRefused, EngineUnavailable

StartBench = Callable[..., Bench]
every_version = pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.6.0"])
LAST, COUNT = "DCGM_FI_DEV_XID_ERRORS", "DCGM_EXP_XID_ERRORS_COUNT"
TOTAL, STAMP = "DCGM_EXP_XID_ERRORS_TOTAL", "DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS"
COUNTERS = (f"{LAST}, gauge, x", f"{COUNT}, gauge, x", f"{TOTAL}, counter, x", f"{STAMP}, gauge, x")
DRIVER_GONE = 119


def where(labels: dict[str, str]) -> str:
    """Which entity the labels are of: a GPU, or a GPU and the number of its instance."""
    return labels["gpu"] + (f".{labels['GPU_I_ID']}" if "GPU_I_ID" in labels else "")


def by_xid(series: Series) -> dict[tuple[str, str], str]:
    """Values by entity and XID; an empty XID is that of a series without the label."""
    labelled = [(labels_of(block), value) for block, value in series.items()]
    return {(where(labels), labels.get("xid", "")): value for labels, value in labelled}


def last(bench: Bench, session: Session) -> dict[str, str]:
    return {where(labels_of(b)): value for b, value in bench.series(session, LAST).items()}


def totals(bench: Bench, session: Session) -> dict[tuple[str, str], str]:
    return by_xid(bench.series(session, TOTAL))


@pytest.fixture
def one(bench: StartBench) -> Bench:
    """A machine with one GPU."""
    return bench("h100x1")


def report(bench: Bench, *xids: int, gpu: int = 0) -> list[int]:
    """Let a GPU have XIDs, and wait until the engine has handled them."""
    stamps = [
        bench.engine.control("xid", "--gpu", str(gpu), str(xid))["timestamps"][0] for xid in xids
    ]
    bench.pass_time(2 * len(xids))
    return stamps


# The last XID.


@every_version
def test_a_gpu_that_never_had_an_xid_shows_0(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    series = started.series(started.session(*COUNTERS), LAST)
    assert {str(number): "0" for number in range(8)} == {
        labels_of(block)["gpu"]: value for block, value in series.items()
    }
    labels = labels_of(next(iter(series)))
    assert ["Hostname", "err_code", "err_msg"] == list(labels)[-3:]
    assert ("0", "No Error") == (labels["err_code"], labels["err_msg"])


def test_zeros_can_be_left_out(one: Bench) -> None:
    session = one.session(*COUNTERS, xid_zero_fill=False)
    result = one.read(session)
    assert LAST not in {family.name for family in result.snapshot.families}
    assert 1 == result.dropped[Absence.NO_DATA]
    report(one, 31)
    assert {"0": "31"} == last(one, session)


@every_version
def test_the_last_xid_says_what_it_means(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session(*COUNTERS)
    report(started, 79, gpu=3)
    labels = [labels_of(block) for block, v in started.series(session, LAST).items() if v == "79"]
    assert [("3", "79", "GPU has fallen off the bus")] == [
        (found["gpu"], found["err_code"], found["err_msg"]) for found in labels
    ]


def test_the_last_xid_stands_for_ever(one: Bench) -> None:
    session = one.session(*COUNTERS)
    report(one, 31)
    one.pass_time(100_000)
    assert {"0": "31"} == last(one, session)


def test_an_xid_from_before_the_start_is_shown_and_not_in_the_totals(one: Bench) -> None:
    report(one, 31)
    session = one.session(*COUNTERS)
    assert {"0": "31"} == last(one, session)
    assert {("0", ""): "0"} == totals(one, session)


# Counting.


def test_an_xid_from_before_the_start_is_not_in_the_totals_because_it_could_not_be_read_at_first(
    one: Bench,
) -> None:
    report(one, 43)
    one.pass_time(10.0)
    session = one.session(*COUNTERS)
    one.engine.control("set", "--entity", "gpu:0", "230", "status:-17")
    assert {("0", ""): "0"} == totals(one, session)
    one.engine.control("set", "--entity", "gpu:0", "230", "unset")
    assert {("0", ""): "0"} == totals(one, session)
    assert {"0": "43"} == last(one, session)


@every_version
def test_every_xid_of_a_burst_between_two_cycles_counts(bench: StartBench, version: str) -> None:
    started = bench("h100x1", version)
    session = started.session(*COUNTERS)
    started.read(session)
    stamps = report(started, 31, 43, 31, 13, 31)
    assert {("0", "13"): "1", ("0", "31"): "3", ("0", "43"): "1"} == totals(started, session)
    assert {"0": "31"} == last(started, session)
    seconds = {("0", "13"): stamps[3], ("0", "31"): stamps[4], ("0", "43"): stamps[1]}
    assert {key: f"{stamp / 1e6:f}" for key, stamp in seconds.items()} == by_xid(
        started.series(session, STAMP)
    )


def test_a_gpu_without_xids_counts_zero_without_the_label(one: Bench) -> None:
    session = one.session(*COUNTERS)
    (block,) = one.series(session, COUNT)
    assert ["Hostname", "window_size_in_ms"] == list(labels_of(block))[-2:]
    assert {("0", ""): "0"} == by_xid(one.series(session, COUNT))
    assert STAMP not in one.names(session)


def test_the_window_forgets_and_the_totals_do_not(one: Bench) -> None:
    session = one.session(*COUNTERS, xid_window=60.0)
    report(one, 31)
    (block,) = one.series(session, COUNT)
    assert ("60000", "31") == (labels_of(block)["window_size_in_ms"], labels_of(block)["xid"])
    one.pass_time(50)
    assert {("0", "31"): "1"} == by_xid(one.series(session, COUNT))
    one.pass_time(10)
    assert {("0", ""): "0"} == by_xid(one.series(session, COUNT))
    assert {("0", "31"): "1"} == totals(one, session)


@pytest.mark.parametrize("xid", [79, 120])
def test_an_xid_that_arrives_twice_counts_once(one: Bench, xid: int) -> None:
    session = one.session(*COUNTERS)
    first, second = one.engine.control("xid", "--gpu", "0", str(xid))["timestamps"]
    assert first < second
    one.pass_time(0.1)
    assert {("0", str(xid)): "1"} == totals(one, session)
    one.pass_time(2)
    assert {("0", str(xid)): "1"} == totals(one, session)
    assert {("0", str(xid)): "1"} == by_xid(one.series(session, COUNT))
    assert {("0", str(xid)): f"{first / 1e6:f}"} == by_xid(one.series(session, STAMP))


def test_history_is_asked_for_only_when_something_is_new(one: Bench) -> None:
    session = one.session(*COUNTERS)
    for _ in range(3):
        one.read(session)
    assert 0 == one.calls_made("values_since")
    report(one, 31)
    for _ in range(3):
        one.read(session)
    assert 1 == one.calls_made("values_since")


def test_a_new_connection_to_the_same_engine_counts_nothing_twice(one: Bench) -> None:
    logs = one.logs()
    first = one.session(*COUNTERS, logs=logs)
    report(one, 31)
    assert {("0", "31"): "1"} == totals(one, first)
    first.close()
    report(one, 43)
    second = one.session(*COUNTERS, logs=logs)
    assert {("0", "31"): "1", ("0", "43"): "1"} == totals(one, second)
    assert {"0": "43"} == last(one, second)


def test_what_was_counted_outlives_the_engine(one: Bench) -> None:
    logs = one.logs()
    session = one.session(*COUNTERS, logs=logs)
    report(one, 31)
    one.read(session)
    one.restart()
    again = one.session(*COUNTERS, logs=logs)
    assert {("0", "31"): "1"} == totals(one, again)
    assert {"0": "31"} == last(one, again)


# When everything else is gone.


@every_version
def test_xid_families_outlive_a_lost_gpu(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session(*COUNTERS)
    started.read(session)
    started.engine.control("lose-gpu", "3")
    report(started, 79, gpu=3)
    started.pass_time(25)
    expected = {str(number): "0" for number in range(8)} | {"3": "79"}
    assert expected == last(started, session)
    assert "1" == totals(started, session)["3", "79"]


@every_version
def test_an_xid_that_blanks_everything_is_counted_nevertheless(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    session = started.session(*COUNTERS)
    started.read(session)
    started.engine.control("xid119")
    started.pass_time(15)
    assert "119" == last(started, session)["0"]
    assert "1" == totals(started, session)["0", "119"]
    assert {("0", "119"), ("1", "")} <= set(by_xid(started.series(session, COUNT)))


@every_version
def test_gpus_without_an_xid_keep_their_zero_when_everything_is_blank(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    session = started.session(*COUNTERS)
    started.read(session)
    started.engine.control("xid119")
    started.pass_time(15)
    expected = {str(number): "0" for number in range(8)} | {"0": "119"}
    assert expected == last(started, session)


@pytest.mark.parametrize("breaks_at", ["since", "the next batch"])
def test_an_xid_that_was_told_before_the_engine_broke_off_is_counted(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch, breaks_at: str
) -> None:
    started = bench("h100x8-mig")
    logs = started.logs()
    session = started.session(*COUNTERS, logs=logs)
    started.read(session)
    report(started, 31, 43, gpu=3)

    def break_off(*_: object) -> list[RawValue]:
        raise EngineUnavailable("gone")

    latest = HostEngine.latest

    def break_off_after_gpus(engine: HostEngine, entities: Sequence[Entity], *rest: Any) -> Any:
        on_gpus = entities[0].kind is EntityKind.GPU
        return latest(engine, entities, *rest) if on_gpus else break_off()

    with monkeypatch.context() as patch, pytest.raises(EngineUnavailable):
        if breaks_at == "since":
            patch.setattr(HostEngine, "since", break_off)
        else:
            patch.setattr(HostEngine, "latest", break_off_after_gpus)
        started.read(session)
    started.restart()
    again = started.session(*COUNTERS, logs=logs)
    assert "1" == totals(started, again)["3", "43"]  # the engine took the first along


def test_an_xid_is_counted_whichever_call_of_its_cycle_the_engine_broke_off_at(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = bench("h100x8")
    logs = started.logs()
    session = started.session(*COUNTERS, "DCGM_FI_PROF_SM_ACTIVE, gauge, x", logs=logs)
    report(started, 43, gpu=3)

    def break_off(_: HostEngine) -> None:
        raise EngineUnavailable("gone")

    with monkeypatch.context() as patch, pytest.raises(EngineUnavailable):
        patch.setattr(HostEngine, "update", break_off)  # profiling is made to begin, after reading
        started.read(session)
    started.restart()
    again = started.session(*COUNTERS, logs=logs)
    assert "1" == totals(started, again)["3", "43"]


def test_an_xid_on_a_gpu_that_only_others_watch_is_counted(bench: StartBench) -> None:
    started = bench("h100x8")
    session = started.session(*COUNTERS)
    session.xids.reader.watches = ()
    started.read(session)
    report(started, 31, gpu=3)
    assert "1" == totals(started, session)["3", "31"]


@every_version
def test_after_a_blank_the_last_xid_known_stands(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session(*COUNTERS)
    report(started, 31, gpu=2)
    started.read(session)
    started.engine.control("xid119")
    started.pass_time(20)
    found = last(started, session)
    assert ("119", "31") == (found["0"], found["2"])


def test_an_engine_that_does_not_tell_its_history_tells_its_last(
    one: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = one.session(*COUNTERS)

    def refuse(_engine: object, _watch: Watch, _since: int) -> list[RawValue]:
        raise CallRefused("not today")

    monkeypatch.setattr("do_dcgm_exporter.dcgm.connection.HostEngine.since", refuse)
    report(one, 31)
    assert {("0", "31"): "1"} == totals(one, session)


# MIG.


@every_version
def test_an_xid_of_an_instance_is_shown_on_it(bench: StartBench, version: str) -> None:
    started = bench("h100x8-mig", version)
    session = started.session(*COUNTERS)
    instance = session.topology.gpu_instance(7)
    started.engine.control("xid", "--gpu-instance", "7", "13")
    started.pass_time(2)
    place = f"1.{instance.instance_id}"
    found = last(started, session)
    assert "13" == found[place]
    assert 16 == len(found)  # eight GPUs, cut or not, and eight instances
    assert ["13"] == [value for value in found.values() if value != "0"]
    assert {(place, "13"): "1"} == {k: v for k, v in totals(started, session).items() if k[1]}


@every_version
def test_an_xid_of_a_compute_instance_is_shown_on_its_gpu_instance(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8-mig", version)
    session = started.session(*COUNTERS)
    place = f"1.{session.topology.gpu_instance(7).instance_id}"
    started.engine.control("xid", "--gpu-instance", "7", "13")
    started.engine.control("xid", "--compute-instance", "7", "43")
    started.engine.control("xid", "--compute-instance", "7", "13")
    started.pass_time(5)
    assert "13" == last(started, session)[place]
    assert {(place, "13"): "2", (place, "43"): "1"} == {
        k: v for k, v in totals(started, session).items() if k[1]
    }
    assert {(place, "13"), (place, "43")} == set(by_xid(started.series(session, STAMP)))


def test_an_instance_that_was_not_selected_shows_up_with_its_first_xid(bench: StartBench) -> None:
    started = bench("h100x8-mig")
    session = started.session(*COUNTERS, gpus=parse_device_selection("g:1"))
    assert {"1": "0"} == last(started, session)
    started.engine.control("xid", "--gpu-instance", "7", "13")
    started.pass_time(2)
    place = f"1.{session.topology.gpu_instance(7).instance_id}"
    assert {"1": "0", place: "13"} == last(started, session)


def test_xids_of_gpus_out_of_scope_are_not_watched(bench: StartBench) -> None:
    started = bench("h100x8")
    session = started.session(*COUNTERS, gpus=parse_device_selection("g:1"))
    report(started, 31, gpu=0)
    assert {"1": "0"} == last(started, session)


def test_xids_are_watched_on_every_part_of_a_gpu(bench: StartBench) -> None:
    started = bench("h100x8-mig")
    started.session("DCGM_FI_DEV_GPU_TEMP, gauge, x", gpus=parse_device_selection("i:7"))
    watches = started.engine.control("status")["watches"]
    watched = {watch["entity"] for watch in watches if watch["field"] == 230}
    parts = {f"{kind}:{n}" for kind in ("gpu_i", "gpu_ci") for n in range(7, 11)}
    assert {"gpu:1", *parts} == watched


def test_an_xid_can_be_a_label_and_is_no_family_then(one: Bench) -> None:
    session = one.session(f"{LAST}, label, x", "DCGM_FI_DEV_GPU_TEMP, gauge, x")
    report(one, 31)
    assert {"DCGM_FI_DEV_GPU_TEMP"} == one.names(session)
    (block,) = one.series(session, "DCGM_FI_DEV_GPU_TEMP")
    assert "31" == labels_of(block)[LAST]


def test_the_collector_has_the_name_of_its_source(one: Bench) -> None:
    collectors = one.session(*COUNTERS).collectors
    assert ["xid"] == [c.name for c in collectors if isinstance(c, XidCollector)]
