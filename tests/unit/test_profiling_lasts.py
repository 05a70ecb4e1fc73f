"""Profiling over minutes of virtual time, against each release's way of sampling counters.

The engine's field 1002 tells the seconds since the test began, so that the mean of a span
is its middle, and a page tells which span its value is the mean of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.builders import Bench, configuration, gpu, labels_of

from dcgm_simulator.versions import VERSIONS
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.connection import HostEngine
from do_dcgm_exporter.dcgm.watcher import Retention, Watcher
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service.agent import Agent

StartBench = Callable[..., Bench]
MEASURED = "DCGM_FI_PROF_SM_ACTIVE"
FIELD = 1002
COUNTERS = (
    "DCGM_FI_DEV_GPU_TEMP, gauge, x",
    "DCGM_FI_PROF_GR_ENGINE_ACTIVE, gauge, x",
    f"{MEASURED}, gauge, x",
    "DCGM_FI_PROF_PCIE_TX_BYTES, gauge, x",
)
# What a call to watch takes on an engine with eight GPUs, about.
WATCHING_TAKES = 0.05
# From when on profiling is on the page, in seconds after a connection was made.
PROMISED_AFTER = 4.0

every_release = pytest.mark.parametrize("version", VERSIONS)
every_interval = pytest.mark.parametrize("interval", [1.0, 5.0, 20.0, 30.0])


@dataclass
class Page:
    """What a cycle published: the age of the middle of the span, by GPU and instance."""

    at: float
    middles: dict[str, float]
    result: CycleResult


@dataclass
class Run:
    """An agent on an engine, cycle by cycle, in the engine's time."""

    bench: Bench
    interval: float
    lines: tuple[str, ...] = COUNTERS
    connected_at: float = 0.0
    pages: list[Page] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()
        self._tell_time()

    def start(self) -> None:
        """Start the exporter, anew if there is one."""
        telemetry = Telemetry(self.bench.calls, ForwardStatistics())
        clock = {"clock": self.now, "wall_clock": self.now, "boot_clock": self.now}
        self.agent = Agent(self.configured(), Publisher(telemetry), self.bench.calls, **clock)
        self.agent._bindings = self.bench.bindings
        self.connected_at = self.bench.now

    def now(self) -> float:
        return self.bench.now

    def configured(self) -> Configuration:
        address = parse_engine_address(self.bench.engine.address)
        return configuration(
            *self.lines,
            engine=address,
            collect_interval=self.interval,
            stale_after=3 * self.interval,
            show_hostname=False,
        )

    def _tell_time(self) -> None:
        self.began = self.bench.now
        for number in range(8):
            self.bench.engine.control("set", "--entity", f"gpu:{number}", str(FIELD), "elapsed")

    def restart_engine(self) -> None:
        before = self.bench.now
        self.bench.restart()
        self.bench.pass_time(max(0.0, before - self.bench.now) + 0.5)
        self._tell_time()
        self.connected_at = self.bench.now

    def restart_exporter(self) -> None:
        self.agent._close_session()
        self.start()

    def reload(self) -> None:
        self.agent.reconfigure(self.configured())
        self.cycle()

    def cut(self) -> None:
        self.bench.engine.control("mig", "--gpu", "7", "3g.40gb,1g.10gb")

    def go_on(self, seconds: float) -> None:
        """Run cycles for a time, at their own pace."""
        until = self.bench.now + seconds
        while self.bench.now < until:
            self.cycle()

    def cycle(self) -> None:
        began = self.bench.now
        pause = self.agent.cycle()
        result = self.agent._publisher.publication.page.status.result
        if result is not None:
            self.pages.append(Page(self.bench.now, dict(self._middles(result)), result))
        self.bench.pass_time(max(0.01, began + pause - self.bench.now))

    def _middles(self, result: CycleResult) -> Iterator[tuple[str, float]]:
        for family in result.snapshot.families:
            for sample in family.samples if family.name == MEASURED else ():
                labels = labels_of(sample.labels)
                name = labels["gpu"] + "/" * ("GPU_I_ID" in labels) + labels.get("GPU_I_ID", "")
                yield name, self.began + float(sample.value)

    def must_be_whole(self, gpus: set[str] | None = None) -> None:
        """All GPUs have profiling from four seconds after the connection on."""
        promised = [p for p in self.pages if p.at >= self.connected_at + PROMISED_AFTER]
        assert promised
        for page in promised:
            missing = (gpus or set("01234567")) - page.middles.keys()
            assert not missing, f"{page.at - self.connected_at:.2f} s after connecting"
        self.pages.clear()

    def must_be_means_over_the_interval(self, at_most_old: float = 2.0) -> None:
        """The newest page has means over an interval, sampled a second or so ago."""
        last = self.pages[-1]
        age = last.at - last.middles["0"] - self.interval / 2
        assert 0 <= age <= at_most_old, f"{age:.2f} s at an interval of {self.interval} s"


@pytest.fixture
def run(bench: StartBench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Run]]:
    """Start a run: ``run("3.3.9", 20.0)``."""
    runs: list[Run] = []

    def start(version: str, interval: float, scenario: str = "h100x8", **changes: Any) -> Run:
        runs.append(Run(bench(scenario, version), interval, **changes))
        return runs[-1]

    watch = HostEngine.watch

    def slow_watch(self: HostEngine, *arguments: Any) -> None:
        runs[-1].bench.pass_time(WATCHING_TAKES) if runs else None
        watch(self, *arguments)

    monkeypatch.setattr(HostEngine, "watch", slow_watch)
    yield start
    for started in runs:
        started.agent._close_session()


Run_ = Callable[..., Run]


@every_release
@every_interval
def test_values_come_within_seconds_and_stay_as_means_over_the_interval(
    run: Run_, version: str, interval: float
) -> None:
    started = run(version, interval)
    started.go_on(10 * interval + 10)
    for page in started.pages:
        age = page.at - page.middles.get("0", page.at)
        assert age <= 1.5 * interval + 4, f"a value of {age:.1f} s ago"
    # The first mean over a second gives way to one over an interval after an interval.
    later = [page for page in started.pages if page.at > started.connected_at + interval + 7]
    assert all(page.at - page.middles["0"] >= interval / 2 for page in later)
    started.must_be_means_over_the_interval()
    started.must_be_whole()
    assert dict.fromkeys(range(8), True) == started.agent._session.profiling.up


@every_release
@every_interval
def test_engines_and_exporters_that_are_restarted_lose_no_profiling(
    run: Run_, version: str, interval: float
) -> None:
    started = run(version, interval)
    for happens in (started.restart_engine,) * 3 + (started.restart_exporter,) * 2:
        started.go_on(3 * interval + 5)
        started.must_be_whole()
        happens()
    started.go_on(4 * interval + 5)
    started.must_be_means_over_the_interval()
    started.must_be_whole()


@every_release
@every_interval
def test_a_reload_and_a_recut_lose_no_profiling(run: Run_, version: str, interval: float) -> None:
    started = run(version, interval)
    started.go_on(3 * interval + 5)
    for happens in (started.reload, started.cut, started.reload):
        happens()
        started.cycle()
        started.go_on(4 * interval)
        # New instances are sampled up to three seconds after the GPUs.
        started.must_be_means_over_the_interval(at_most_old=4.5)
        started.must_be_whole(set("0123456"))
    started.go_on(2 * interval)
    instances = {name for name in started.pages[-1].middles if "/" in name}
    assert {"7/2", "7/7"} == instances


@every_release
@pytest.mark.parametrize(
    ("interval", "lines"),
    [*((interval, COUNTERS) for interval in (1.0, 5.0, 20.0, 30.0)), (20.0, COUNTERS[2:3])],
    ids=["1 s", "5 s", "20 s", "30 s", "20 s, one field"],
)
def test_other_clients_that_come_and_go_take_no_profiling_along(
    run: Run_, version: str, interval: float, lines: tuple[str, ...]
) -> None:
    started = run(version, interval, lines=lines)
    started.go_on(3 * interval + 5)
    for others in (1.0, 30.0):
        other = started.bench.connect()
        fields = [1001, FIELD, 1009]
        gpus = [gpu(number) for number in range(8)]
        Watcher(other).watch(gpus, fields, others, Retention(0.0, 1))
        started.go_on(3 * interval)
        other.disconnect()
        started.go_on(5 * interval)
        started.must_be_means_over_the_interval()
    started.must_be_whole()


@every_release
def test_another_client_that_was_there_first_loses_nothing_either(run: Run_, version: str) -> None:
    """Neither while the exporter watches more often nor once it has gone."""
    started = run(version, 20.0)
    started.agent._close_session()
    other = started.bench.connect()
    watches = Watcher(other).watch([gpu(0)], [1001, FIELD, 1009], 6.0, Retention(0.0, 1))
    started.bench.pass_time(20)
    started.go_on(100)
    started.agent._close_session()
    for _ in range(5):
        started.bench.pass_time(6)
        (value,) = other.latest(watches[0].entities, [FIELD])
        assert value.payload < 1e6, "blank"
    other.disconnect()


@every_release
@pytest.mark.parametrize("interval", [5.0, 20.0])
def test_a_client_that_goes_while_values_have_yet_to_come_does_not_delay_them(
    run: Run_, version: str, interval: float
) -> None:
    """The engine then goes by what each connection asked for first (DcgmWatchTable.cpp)."""
    started = run(version, interval)
    other = started.bench.connect()
    Watcher(other).watch([gpu(number) for number in range(8)], [1001, FIELD, 1009], 30.0)
    started.cycle()
    other.disconnect()
    started.go_on(4 * interval + 10)
    started.must_be_means_over_the_interval()
    started.must_be_whole()


@every_release
def test_a_session_that_ends_while_values_have_yet_to_come_does_not_delay_them(
    run: Run_, version: str
) -> None:
    """Another client left the engine with too few samples, and the machine slept at once."""
    started = run(version, 20.0)
    started.go_on(65)
    other = started.bench.connect()
    Watcher(other).watch([gpu(number) for number in range(8)], [1001, FIELD, 1009], 1.0)
    other.disconnect()
    started.bench.pass_time(3600)
    started.reload()
    started.connected_at = started.pages[-1].at
    started.go_on(60)
    started.must_be_means_over_the_interval()
    started.must_be_whole()


@every_release
def test_profiling_that_the_engine_forgets_is_told_and_watched_anew(
    run: Run_, version: str
) -> None:
    started = run(version, 5.0)
    started.go_on(20)
    started.bench.engine.control("set", "--entity", "gpu:3", str(FIELD), "blank")
    for other in ("1001", "1009"):
        started.bench.engine.control("set", "--entity", "gpu:3", other, "blank")
    started.go_on(30)
    result = started.pages[-1].result
    assert "profiling metrics of GPU 3 stay blank" == result.profiling_reason
    assert {number: number != 3 for number in range(8)} == result.profiling_up
    before = started.agent._session
    started.go_on(310)
    assert before is not started.agent._session


@every_release
@pytest.mark.parametrize("interval", [5.0, 20.0])
def test_with_peaks_values_stay_means_over_the_interval(
    run: Run_, version: str, interval: float
) -> None:
    """The engine samples every second then, and each of its values is a mean of that second."""
    started = run(version, interval, lines=(*COUNTERS, f"{MEASURED}_MAX, gauge, x"))
    started.go_on(4 * interval + 10)
    started.must_be_means_over_the_interval()
    started.reload()
    started.go_on(3 * interval + 5)
    started.must_be_means_over_the_interval()
    started.must_be_whole()
