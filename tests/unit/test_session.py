"""A session: what is watched, read and shown, cycle after cycle, on simulated engines."""

from __future__ import annotations

import math
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.builders import NOW, Bench, Clock, labels_of

from do_dcgm_exporter.collect.readings import Readings
from do_dcgm_exporter.collect.runner import CollectorRunner
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.collect.usage_file import usage_file
from do_dcgm_exporter.config.counters import CounterSet
from do_dcgm_exporter.config.device_selection import parse_device_selection
from do_dcgm_exporter.dcgm.decoding import Absence
from do_dcgm_exporter.dcgm.entities import EntityKind
from do_dcgm_exporter.dcgm.errors import EngineUnavailable
from do_dcgm_exporter.dcgm.fields import EntityLevel, ValueType, field_by_id
from do_dcgm_exporter.dcgm.watcher import Watcher
from do_dcgm_exporter.usage_report import UsageReport, Use, Workload, WorkloadKind, encode

StartBench = Callable[..., Bench]
every_version = pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.6.0"])

DRIVER = "DCGM_FI_DRIVER_VERSION, label, x"
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP, gauge, x"
SM_ACTIVE = "DCGM_FI_PROF_SM_ACTIVE, gauge, x"
BANDWIDTH = "DCGM_FI_DEV_NVLINK_BANDWIDTH_TOTAL, gauge, x"
SWITCH_TEMPERATURE = "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT, gauge, x"
HOSTS = {1, 4}  # driver version and number of GPUs: watched once for the whole machine
LINK_STATUS = "DCGM_FI_DEV_NVSWITCH_LINK_STATUS, gauge, x"
CPU_POWER = "DCGM_FI_DEV_CPU_POWER_UTIL_CURRENT, gauge, x"
CPU_UTIL = "DCGM_FI_DEV_CPU_UTIL_TOTAL, gauge, x"


def name_of(line: str) -> str:
    return line.split(",", maxsplit=1)[0]


def gpus_in(series: Sequence[str] | Iterator[str]) -> list[str]:
    """The ``gpu`` labels in their order."""
    return [labels_of(block)["gpu"] for block in series]


# Labels of every kind of entity (names and order of the NVIDIA exporters).

GPU_LABELS = ["gpu", "UUID", "pci_bus_id", "device", "modelName"]
REST = ["Hostname", "DCGM_FI_DRIVER_VERSION"]


@every_version
@pytest.mark.parametrize(
    ("scenario", "line", "labels", "count"),
    [
        ("h100x8", TEMPERATURE, [*GPU_LABELS, *REST], 8),
        ("h100x8-mig", TEMPERATURE, [*GPU_LABELS, "GPU_I_PROFILE", "GPU_I_ID", *REST], 14),
        ("hgx", SWITCH_TEMPERATURE, ["nvswitch", *REST], 4),
        ("hgx", LINK_STATUS, ["nvlink", "nvswitch", *REST], 256),
        ("grace", CPU_POWER, ["cpu", *REST], 2),
        ("grace", CPU_UTIL, ["cpucore", "cpu", *REST], 144),
    ],
)
def test_series_of_each_kind_have_their_labels_in_order(
    bench: StartBench, version: str, scenario: str, line: str, labels: list[str], count: int
) -> None:
    started = bench(scenario, version)
    if (version, line) == ("4.2.3", LINK_STATUS):  # links do not name their switch there
        assert set() == started.names(started.session(DRIVER, line))
        return
    series = started.series(started.session(DRIVER, line), name_of(line))
    orders = {tuple(labels_of(block)) for block in series}
    assert tuple(labels) in orders
    assert count == len(series)
    assert orders <= {tuple(labels), (*GPU_LABELS, *REST)}


def test_gpus_come_before_instances_and_each_by_index(bench: StartBench) -> None:
    started = bench("h100x8-mig")
    series = started.series(started.session(TEMPERATURE), name_of(TEMPERATURE))
    assert ["2", "3", "4", "5", "6", "7", *"0000", *"1111"] == gpus_in(iter(series))


def test_the_host_label_is_the_real_name_and_can_be_renamed_or_left_out(
    bench: StartBench,
) -> None:
    started = bench()

    def labels(**changes: object) -> dict[str, str]:
        session = started.session(TEMPERATURE, **changes)
        return labels_of(next(iter(started.series(session, name_of(TEMPERATURE)))))

    assert socket.gethostname() == labels()["Hostname"]
    renamed = labels(hostname_label="hostname")
    assert [*GPU_LABELS, "hostname"] == list(renamed)
    assert GPU_LABELS == list(labels(show_hostname=False))


def test_blanks_in_the_model_name_can_be_replaced(bench: StartBench) -> None:
    started = bench()
    session = started.session(TEMPERATURE, replace_blanks_in_model_name=True)
    (block,) = started.series(session, name_of(TEMPERATURE))
    assert "NVIDIA-H100-80GB-HBM3-(simulated)" == labels_of(block)["modelName"]


def test_jobs_double_a_series_and_an_instance_has_its_own(
    bench: StartBench, tmp_path: Path
) -> None:
    started = bench("h100x8-mig")
    session = started.session(TEMPERATURE, hpc_job_mapping_dir=tmp_path)
    number = session.topology.gpu_instance(7).instance_id
    (tmp_path / "2").write_text("one\ntwo\n")
    (tmp_path / f"1.{number}").write_text("mig\n")
    blocks = list(started.series(session, name_of(TEMPERATURE)))
    found = [labels for labels in map(labels_of, blocks) if "hpc_job" in labels]
    jobs = [(labels["gpu"], labels.get("GPU_I_ID"), labels["hpc_job"]) for labels in found]
    assert [("2", None, "one"), ("2", None, "two"), ("1", str(number), "mig")] == jobs
    assert blocks[0].endswith(',hpc_job="one"')


def test_jobs_that_were_found_stand_where_no_file_names_any(
    bench: StartBench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = UsageFile(tmp_path / "report", monkeypatch)
    started = bench("h100x8-mig")
    session = started.session(TEMPERATURE, hpc_job_mapping_dir=tmp_path, hpc_job_from_usage=True)
    uuids = {gpu.id: gpu.uuid for gpu in session.topology.gpus}
    number = session.topology.gpu_instance(7).instance_id

    def jobs() -> list[tuple[str, str | None, str]]:
        blocks = map(labels_of, started.series(session, name_of(TEMPERATURE)))
        return [
            (labels["gpu"], labels.get("GPU_I_ID"), labels["hpc_job"])
            for labels in blocks
            if "hpc_job" in labels
        ]

    assert jobs() == []
    (tmp_path / "3").write_text("told\n")
    report.write(
        (uuids[2], None, "42"), (uuids[2], None, "7"), (uuids[1], number, "43"),
        (uuids[3], None, "44"), ("GPU-of-another-host", None, "45"),
    )  # fmt: skip
    assert jobs() == [
        ("2", None, "42"), ("2", None, "7"), ("3", None, "told"), ("1", str(number), "43")
    ]  # fmt: skip
    report.age(181.0)
    assert jobs() == [("3", None, "told")]


class UsageFile:
    """The report of who uses the GPUs, of Slurm jobs and a service."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.clock = Clock(NOW)
        file = usage_file(path, clock=self.clock)
        monkeypatch.setattr("do_dcgm_exporter.collect.opening.usage_file", lambda: file)

    def write(self, *uses: tuple[str, int | None, str]) -> None:
        jobs = [
            Use(gpu, instance, Workload(WorkloadKind.SLURM_JOB, name), "alice", 1, None)
            for gpu, instance, name in uses
        ]
        service = Use(uses[0][0], None, Workload(WorkloadKind.UNIT, "x.service"), "bob", 1, None)
        self.path.write_bytes(encode(UsageReport(self.clock(), (service, *jobs))))

    def age(self, seconds: float) -> None:
        self.clock.now += seconds


# What is asked of the engine.


KIND_NAMES = {
    EntityKind.GPU: "gpu",
    EntityKind.GPU_INSTANCE: "gpu_i",
    EntityKind.COMPUTE_INSTANCE: "gpu_ci",
    EntityKind.SWITCH: "switch",
    EntityKind.LINK: "link",
    EntityKind.CPU: "cpu",
    EntityKind.CPU_CORE: "cpu_core",
}


def limit_of(version: str) -> int:
    return 64 if version.startswith("3") else 1024


@pytest.mark.parametrize("version", ["3.3.9", "4.6.0"])
@pytest.mark.parametrize("scenario", ["h100x8", "h100x8-mig", "hgx"])
def test_a_cycle_reads_in_as_few_calls_as_the_engine_allows(
    bench: StartBench, scenario: str, version: str
) -> None:
    """Each of these kinds has fewer than 127 fields. Field 230 is read on compute instances too,
    and as a latest value only since 4.4."""
    started = bench(scenario, version)
    session = started.session()
    started.pass_time(2)
    for _ in range(2):
        started.read(session)  # PROF settles
    before = started.calls_made("latest_values")
    started.read(session)
    calls = started.calls_made("latest_values") - before
    topology = session.topology
    cut = {instance.gpu_id for instance in topology.gpu_instances}
    counts = [
        len(topology.gpus) - len(cut),
        len(cut),  # for their life signs alone
        len(topology.gpu_instances),
        len(topology.compute_instances) if version == "4.6.0" else 0,
        len(topology.switches),
        len(topology.links),
    ]
    assert sum(math.ceil(count / limit_of(version)) for count in counts) == calls


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.5.3", "4.6.0"])
@pytest.mark.parametrize("scenario", ["h100x8", "h100x8-mig", "a100-no-prof", "hgx", "grace"])
def test_what_is_read_is_what_is_watched(bench: StartBench, scenario: str, version: str) -> None:
    started = bench(scenario, version)
    session = started.session()
    watches = (*session.watches, *session.profiling.pace.watches, *session.xids.reader.watches)
    ours = {
        f"{KIND_NAMES[entity.kind]}:{entity.id} {field_id}"
        for watch in watches
        for entity in watch.entities
        for field_id in watch.field_ids
        if field_id not in HOSTS
    }
    watched = started.engine.control("status")["watches"]
    assert ours == {f"{w['entity']} {w['field']}" for w in watched if w["field"] not in HOSTS}


@pytest.mark.parametrize("version", ["3.3.9", "4.6.0"])
def test_a_quiet_cycle_makes_few_other_calls(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session()
    while started.read(session).warming_up:
        started.pass_time(2)
    for _ in range(3):
        started.pass_time(session.configuration.settings.collect_interval)
        started.read(session)
    before = started.calls.calls
    started.read(session)
    assert (2 if version == "3.3.9" else 1) == started.calls.calls - before


@pytest.mark.parametrize("version", ["3.3.9", "4.6.0"])
def test_more_fields_than_fit_into_a_call_are_read_in_several(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    numbers = [n for n in range(50, 700) if counter_is_integer(n)][:200]
    session = started.session(*(f"{number}, gauge, x" for number in numbers))
    before = started.calls_made("latest_values")
    result = started.read(session)
    assert 2 == started.calls_made("latest_values") - before
    assert all(outcome.succeeded for outcome in result.outcomes)


def counter_is_integer(number: int) -> bool:
    field = field_by_id(number)
    return (
        field is not None
        and field.value_type is ValueType.INTEGER
        and field.level is EntityLevel.GPU
        and not field.internal_only
        and not field.is_profiling
    )


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3", "4.6.0"])
@pytest.mark.parametrize("scenario", ["h100x8-mig", "hgx", "grace"])
def test_every_field_of_an_entity_has_one_watch_and_a_session_leaves_none_behind(
    bench: StartBench, scenario: str, version: str
) -> None:
    started = bench(scenario, version)
    session = started.session()
    started.read(session)
    status = started.engine.control("status")
    watches = [(watch["entity"], watch["field"]) for watch in status["watches"]]
    assert len(watches) == len(set(watches))
    assert 64 > 2 * max(len(status["groups"]), len(status["field_groups"]))
    session.close()
    status = started.engine.control("status")
    assert ([], [], [], []) == (
        status["watches"],
        status["groups"],
        status["field_groups"],
        status["connections"],
    )


def test_intervals_are_the_collect_interval_and_events_are_kept(bench: StartBench) -> None:
    started = bench("h100x1")
    started.session(TEMPERATURE, collect_interval=5.0)
    intervals = {w["interval_us"] for w in started.engine.control("status")["watches"]}
    assert {5_000_000} == intervals


# What is not there.


def test_fields_the_engine_does_not_know_are_named_and_counted(bench: StartBench) -> None:
    newer = "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP_NS, counter, x"
    started = bench("h100x8", "3.3.9")
    session = started.session(TEMPERATURE, newer)
    result = started.read(session)
    assert [name_of(TEMPERATURE)] == [family.name for family in result.snapshot.families]
    assert 8 == result.dropped[Absence.UNKNOWN_FIELD]
    assert 1 == len(session.unknown_fields)


def test_a_poisoned_field_takes_no_other_along_and_is_counted(bench: StartBench) -> None:
    started = bench("h100x8", "3.3.9")
    started.engine.control("set", "--entity", "gpu:5", "53", "empty")
    session = started.session(TEMPERATURE, "DCGM_FI_DEV_SERIAL, label, x")
    result = started.read(session)
    assert frozenset({53}) == result.poisoned_fields
    (family,) = result.snapshot.families
    assert 8 == len(family.samples)
    assert "DCGM_FI_DEV_SERIAL" not in family.samples[0].labels
    started.engine.control("set", "--entity", "gpu:5", "53", "unset")
    started.pass_time(20)
    clock = Clock(session.reader.clock() + 301)
    session.reader.clock = clock
    assert all("DCGM_FI_DEV_SERIAL" in b for b in started.series(session, name_of(TEMPERATURE)))


def test_a_poisoned_series_is_counted_by_its_reason(bench: StartBench) -> None:
    started = bench("h100x8", "3.3.9")
    session = started.session(TEMPERATURE)
    session.reader._poisoned_until[150] = math.inf
    result = started.read(session)
    assert (8, ()) == (result.dropped[Absence.POISONED], result.snapshot.families)


def test_stale_values_are_not_shown(bench: StartBench) -> None:
    started = bench("h100x8")
    session = started.session(TEMPERATURE, SM_ACTIVE)
    started.pass_time(1)
    started.engine.control("freeze", "150")
    started.pass_time(59)
    assert name_of(TEMPERATURE) in started.names(session)
    started.pass_time(1)
    result = started.read(session)
    assert name_of(TEMPERATURE) not in {family.name for family in result.snapshot.families}
    assert 8 == result.dropped[Absence.STALE]
    started.engine.control("thaw", "150")
    started.pass_time(20)
    assert name_of(TEMPERATURE) in started.names(session)


def test_profiling_that_a_gpu_does_not_offer_is_counted_as_such(bench: StartBench) -> None:
    started = bench("a100-no-prof")
    result = started.read(started.session(TEMPERATURE, SM_ACTIVE))
    assert 2 == result.dropped[Absence.NOT_OFFERED]


def test_a_text_is_no_series(bench: StartBench) -> None:
    started = bench()
    session = started.session(TEMPERATURE)
    started.engine.control("set", "--entity", "gpu:0", "150", "status:-6")
    started.pass_time(20)
    result = started.read(session)
    assert ((), 1) == (result.snapshot.families, result.dropped[Absence.NOT_SUPPORTED])


def test_kinds_that_a_machine_does_not_have_are_counted(bench: StartBench) -> None:
    started = bench()
    session = started.session(TEMPERATURE, cpus=parse_device_selection("g"))
    assert {EntityKind.CPU} == set(session.topology.absent)
    assert 1 == started.read(session).dropped[Absence.ENTITIES_ABSENT]


# A lost GPU.


@every_version
def test_a_lost_gpu_takes_its_samples_along_and_no_others(bench: StartBench, version: str) -> None:
    """449 freezes on every release when a GPU is lost, profiling on 4.2.3 (observed)."""
    started = bench("h100x8", version)
    session = started.session(DRIVER, TEMPERATURE, SM_ACTIVE, BANDWIDTH)
    started.pass_time(2)
    started.read(session)
    started.engine.control("lose-gpu", "3")
    started.pass_time(20)
    result = started.read(session)
    assert {number: number != 3 for number in range(8)} == result.gpus_up
    others = [str(number) for number in range(8) if number != 3]
    for line in (TEMPERATURE, SM_ACTIVE, BANDWIDTH):
        assert others == gpus_in(iter(started.series(session, name_of(line)))), line
    assert 3 == result.dropped[Absence.GPU_LOST]


@every_version
def test_a_gpu_that_the_driver_no_longer_finds_is_lost(bench: StartBench, version: str) -> None:
    """If only its handle is still good, the engine keeps it on all lists (tried on 4.6.0)."""
    started = bench("h100x8", version)
    session = started.session(TEMPERATURE, SM_ACTIVE)
    started.read(session)
    for field_id in ("57", "150"):
        started.engine.control("set", "--entity", "gpu:3", field_id, "not-found")
    started.pass_time(20)
    assert {number: number != 3 for number in range(8)} == started.read(session).gpus_up
    for line in (TEMPERATURE, SM_ACTIVE):
        assert "3" not in gpus_in(iter(started.series(session, name_of(line))))


@every_version
def test_a_gpu_that_comes_back_has_its_samples_again(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    session = started.session(TEMPERATURE)
    started.engine.control("lose-gpu", "3")
    started.pass_time(20)
    assert not started.read(session).gpus_up[3]
    started.engine.control("restore-gpu", "3")
    started.pass_time(20)
    assert started.read(session).gpus_up[3]
    assert 8 == len(started.series(session, name_of(TEMPERATURE)))


@every_version
def test_instances_of_a_lost_gpu_are_gone_too(bench: StartBench, version: str) -> None:
    started = bench("h100x8-mig", version)
    session = started.session(TEMPERATURE)
    started.engine.control("lose-gpu", "1")
    started.pass_time(20)
    assert "1" not in gpus_in(iter(started.series(session, name_of(TEMPERATURE))))
    assert not started.read(session).gpus_up[1]


@every_version
@pytest.mark.parametrize("pause", [0.0, 30.0, 100.0])
def test_a_gpu_lost_while_nobody_was_connected_is_lost(
    bench: StartBench, version: str, pause: float
) -> None:
    """The engine does not let it into a group, and what was read before stays readable."""
    started = bench("h100x8", version)
    first = started.session(TEMPERATURE)
    started.read(first)
    started.pass_time(1)
    first.close()
    started.engine.control("lose-gpu", "3")
    started.pass_time(pause)
    session = started.session(TEMPERATURE, known={g.id: g for g in first.topology.gpus})
    for _ in range(3):
        assert {number: number != 3 for number in range(8)} == started.read(session).gpus_up
        assert "3" not in gpus_in(iter(started.series(session, name_of(TEMPERATURE))))
        started.pass_time(40)
    assert first.topology.gpus == session.topology.gpus


@every_version
def test_a_lost_gpu_shows_its_xid_in_a_new_session_too(bench: StartBench, version: str) -> None:
    started = bench("h100x8", version)
    xids = ("DCGM_FI_DEV_XID_ERRORS, gauge, x", "DCGM_EXP_XID_ERRORS_COUNT, gauge, x")
    logs = started.logs()
    first = started.session(*xids, logs=logs)
    started.engine.control("lose-gpu", "3")
    started.engine.control("xid", "--gpu", "3", "79")
    started.pass_time(20)
    known = {g.id: g for g in first.topology.gpus}
    before = started.series(first, "DCGM_FI_DEV_XID_ERRORS")
    first.close()
    again = started.session(*xids, logs=logs, known=known)
    assert before == started.series(again, "DCGM_FI_DEV_XID_ERRORS")
    assert "79" in before.values()


@every_version
@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
def test_a_gpu_lost_before_a_session_keeps_it_until_it_is_back(
    bench: StartBench, version: str, is_known: bool
) -> None:
    started = bench("h100x8", version)
    first = started.session(TEMPERATURE)
    known = {g.id: g for g in first.topology.gpus} if is_known else {}
    first.close()
    started.engine.control("lose-gpu", "3")
    started.pass_time(2)
    session = started.session(TEMPERATURE, known=known)
    for _ in range(3):
        assert {number: number != 3 for number in range(8)} == started.read(session).gpus_up
        object.__setattr__(session, "clock", Clock(session.opened_at + 1000))
        assert not session.is_outdated()
        started.pass_time(20)
    started.engine.control("restore-gpu", "3")
    started.pass_time(20)
    if not session.is_outdated():
        # The engine has watched it all the time; only its name may have to be asked for.
        result = started.read(session)
        assert (is_known, not is_known) == (result.gpus_up[3], result.warming_up)
        assert session.is_outdated() is not is_known
    again = started.session(TEMPERATURE, known=known)
    assert all(started.read(again).gpus_up.values())
    assert 8 == len({labels_of(b)["UUID"] for b in started.series(again, name_of(TEMPERATURE))})


@every_version
def test_a_gpu_lost_before_a_session_is_no_gpu_without_profiling(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    started.engine.control("lose-gpu", "3")
    started.pass_time(2)
    session = started.session(TEMPERATURE, SM_ACTIVE)
    started.pass_time(20)
    result = started.read(session)
    assert ("", dict.fromkeys((0, 1, 2, 4, 5, 6, 7), True)) == (
        result.profiling_reason,
        result.profiling_up,
    )


@every_version
def test_nothing_is_read_of_a_gpu_that_is_not_watched(bench: StartBench, version: str) -> None:
    """Each such reading is a line in the engine's log (observed)."""
    started = bench("h100x8", version)
    started.engine.control("lose-gpu", "3")
    started.pass_time(2)
    session = started.session(TEMPERATURE)
    read = {entity for watch in session.watches for entity in watch.entities}
    watched = {w["entity"] for w in started.engine.control("status")["watches"]} - {"none:0"}
    assert watched == {f"gpu:{entity.id}" for entity in read} == {f"gpu:{n}" for n in "0124567"}


@every_version
def test_an_xid_from_before_the_session_is_shown_although_the_gpu_is_lost(
    bench: StartBench, version: str
) -> None:
    started = bench("h100x8", version)
    started.engine.control("xid", "--gpu", "3", "79")
    started.pass_time(1)
    started.engine.control("lose-gpu", "3")
    started.pass_time(5)
    session = started.session("DCGM_FI_DEV_XID_ERRORS, gauge, x")
    for _ in range(2):
        xids = started.series(session, "DCGM_FI_DEV_XID_ERRORS")
        assert ["79"] == [v for b, v in xids.items() if labels_of(b)["gpu"] == "3"]
        started.pass_time(20)


def test_a_gpu_lost_while_it_is_being_watched_is_told_and_watched_again(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its life signs are watched, and the next group does not take it any more."""
    started = bench("h100x8")
    watch, groups = Watcher.watch, []

    def lose_after_life_signs(watcher: Watcher, *arguments: Any) -> Any:
        watches = watch(watcher, *arguments)
        if not groups:
            started.pass_time(0.1)
            started.engine.control("lose-gpu", "3")
            started.pass_time(1)
        groups.append(watches)
        return watches

    monkeypatch.setattr(Watcher, "watch", lose_after_life_signs)
    session = started.session(TEMPERATURE)
    started.engine.control("restore-gpu", "3")
    started.pass_time(1)
    result = started.read(session)
    assert ((3,), True) == (result.unwatched_gpus, result.gpus_up[3])
    assert not session.is_outdated()
    object.__setattr__(session, "clock", Clock(session.opened_at + 61))
    assert session.is_outdated()
    assert 8 == len(started.series(started.session(TEMPERATURE), name_of(TEMPERATURE)))


def test_a_driver_that_is_gone_loses_every_gpu(bench: StartBench) -> None:
    started = bench("h100x8")
    session = started.session(TEMPERATURE)
    started.read(session)
    started.engine.control("xid119")
    started.pass_time(20)
    result = started.read(session)
    assert dict.fromkeys(range(8), False) == result.gpus_up
    assert () == result.snapshot.families


# Changes.


def test_another_mig_layout_makes_a_session_outdated(bench: StartBench) -> None:
    started, clock = bench("h100x8-mig"), Clock()
    session = started.session(TEMPERATURE, clock=clock)
    assert not session.is_outdated()
    started.engine.control("mig", "--gpu", "1", "off")
    clock.now = 10.0
    assert session.is_outdated()
    series = started.series(started.session(TEMPERATURE), name_of(TEMPERATURE))
    assert ["1", "2", "3", "4", "5", "6", "7", *"0000"] == gpus_in(iter(series))


def test_an_instance_that_is_cut_anew_as_before_is_watched_again(bench: StartBench) -> None:
    started, clock = bench("h100x1"), Clock()
    started.engine.control("mig", "--gpu", "0", "3g.40gb")
    session = started.session(TEMPERATURE, clock=clock)
    started.engine.control("mig", "--gpu", "0", "off")
    started.engine.control("mig", "--gpu", "0", "3g.40gb")
    started.read(session)
    clock.now = 61.0
    assert session.is_outdated()
    assert 1 == len(started.series(started.session(TEMPERATURE), name_of(TEMPERATURE)))


def test_a_selection_decides_what_is_shown(bench: StartBench) -> None:
    started = bench("h100x8-mig")
    session = started.session(TEMPERATURE, gpus=parse_device_selection("i:7"))
    (block,) = started.series(session, name_of(TEMPERATURE))
    assert ("1", True) == (labels_of(block)["gpu"], "GPU_I_ID" in labels_of(block))
    assert {1: True} == started.read(session).gpus_up
    assert 8 == started.read(session).gpus


def test_an_engine_that_dies_ends_the_cycle(bench: StartBench) -> None:
    started = bench()
    session = started.session()
    started.engine.kill()
    with pytest.raises(EngineUnavailable):
        started.read(session)


# Order, duplicates, failures of one source.


def test_families_are_in_the_order_of_the_counters(bench: StartBench) -> None:
    lines = (
        "DCGM_EXP_XID_ERRORS_COUNT, gauge, x",
        TEMPERATURE,
        "DCGM_EXP_CLOCK_EVENTS_TOTAL, counter, x",
        "DCGM_FI_DEV_XID_ERRORS, gauge, x",
        "DCGM_FI_DEV_POWER_USAGE, gauge, x",
    )
    started = bench()
    families = started.snapshot(started.session(*lines)).families
    assert [name_of(line) for line in lines] == [family.name for family in families]


class Broken:
    """A collector that does what no collector should."""

    name = "broken"

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.samples: tuple[Sample, ...] = ()

    def collect(self, _counters: CounterSet, _readings: Readings) -> Iterator[Family]:
        if self.error:
            raise self.error
        yield Family("DCGM_FI_DEV_POWER_USAGE", MetricType.GAUGE, "x", self.samples)


@pytest.fixture
def broken(bench: StartBench) -> tuple[Bench, Session, Broken]:
    """A session one of whose collectors misbehaves as told."""
    started, collector = bench(), Broken()
    session = started.session(TEMPERATURE, "DCGM_FI_DEV_POWER_USAGE, gauge, x")
    whole = [c for c in session.collectors if c.name != "fields"]
    temperature = started.session(TEMPERATURE)
    (fields,) = [c for c in temperature.collectors if c.name == "fields"]
    started.read(temperature)
    object.__setattr__(session, "collectors", (fields, *whole, collector))
    return started, session, collector


def test_a_collector_that_fails_costs_its_own_families(
    broken: tuple[Bench, Session, Broken], caplog: pytest.LogCaptureFixture
) -> None:
    started, session, collector = broken
    collector.error = ValueError("a bug")
    for _ in range(2):
        result = started.read(session)
        assert [name_of(TEMPERATURE)] == [family.name for family in result.snapshot.families]
        assert ["broken"] == [o.name for o in result.outcomes if not o.succeeded]
    assert ["a collector fails (collector=broken)"] == caplog.messages
    assert "ValueError: a bug" in caplog.text


def test_an_engine_that_goes_away_within_a_collector_ends_the_cycle(
    broken: tuple[Bench, Session, Broken],
) -> None:
    started, session, collector = broken
    collector.error = EngineUnavailable("gone")
    with pytest.raises(EngineUnavailable):
        started.read(session)


def test_a_series_is_never_there_twice(broken: tuple[Bench, Session, Broken]) -> None:
    started, session, collector = broken
    collector.samples = (Sample("a", "1"), Sample("b", "2"), Sample("a", "3"))
    result = started.read(session)
    (family,) = [f for f in result.snapshot.families if f.name == "DCGM_FI_DEV_POWER_USAGE"]
    assert {Sample("a", "1"), Sample("b", "2")} == set(family.samples)
    assert 2 == len(family.samples)
    assert 1 == result.dropped[Absence.DUPLICATE]


def test_a_family_without_samples_is_not_on_the_page(
    broken: tuple[Bench, Session, Broken],
) -> None:
    started, session, _ = broken
    assert [name_of(TEMPERATURE)] == [f.name for f in started.read(session).snapshot.families]


def test_a_collector_that_works_again_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    runner = CollectorRunner()

    def fail() -> int:
        raise ZeroDivisionError

    for collect, expected in ((fail, 0), (fail, 0), (lambda: 7, 7), (lambda: 7, 7), (fail, 0)):
        runner.begin()
        assert expected == runner.run("x", collect, 0)
        assert 1 == len(runner.outcomes)
    assert [
        "a collector fails (collector=x)",
        "a collector works again (collector=x)",
        "a collector fails (collector=x)",
    ] == caplog.messages


def test_the_driver_version_is_read_from_any_gpu(bench: StartBench) -> None:
    started = bench("h100x8")
    session = started.session(TEMPERATURE)
    assert started.read(session).driver_version[0].isdigit()
    started.engine.control("set", "--entity", "gpu:0", "1", "blank")
    started.pass_time(20)
    assert started.read(session).driver_version[0].isdigit()


# Events.


def test_an_sxid_stands_as_an_xid_does(bench: StartBench) -> None:
    engine = bench("hgx")
    session = engine.session("DCGM_FI_DEV_NVSWITCH_FATAL_ERRORS, gauge, x")
    engine.engine.control("set", "--entity", "switch:1", "856", "12028")
    for _ in range(5):
        engine.pass_time(60.0)
        series = engine.series(session, "DCGM_FI_DEV_NVSWITCH_FATAL_ERRORS")
        assert ["12028"] == [v for block, v in series.items() if 'nvswitch="nvswitch1"' in block]
