"""Publishing: results, outages, cycles that were given up, forms of a page."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import (
    DEFAULT_COUNTERS,
    HOSTENGINE_UP,
    NOW,
    Clock,
    counter_set,
    cycle_result,
    gpu,
    raw,
    readings_of,
    some_gpu,
)

from do_dcgm_exporter.collect.machine import MachineState, Roster, machine_state
from do_dcgm_exporter.collect.samples import Family, MetricType, Sample
from do_dcgm_exporter.collect.selection import Selection
from do_dcgm_exporter.config.counters import read_counter_set
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.topology import Topology
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publication import Body, Health, Page, Publication
from do_dcgm_exporter.page.publisher import NOT_FORWARDED, STARTING, Publisher
from do_dcgm_exporter.page.status import Status

HEALTHY = Health(True)
FAMILY = Family("DCGM_FI_DEV_GPU_TEMP", MetricType.GAUGE, "x", (Sample('gpu="0"', "41"),))
TEXT = """\
# HELP DCGM_FI_DEV_GPU_TEMP x
# TYPE DCGM_FI_DEV_GPU_TEMP gauge
DCGM_FI_DEV_GPU_TEMP{gpu="0"} 41
"""


class Desk:
    """A publisher with everything it needs."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.telemetry = Telemetry(CallCount(), ForwardStatistics())
        self.told: list[Health] = []
        self.publisher = Publisher(
            self.telemetry,
            tell=self.told.append,
            lifetime=40.0,
            clock=self.clock,
            boot_clock=self.clock,
        )

    @property
    def page(self) -> Page:
        return self.publisher.publication.page

    @property
    def text(self) -> str:
        return self.page.text.plain.decode()

    def value(self, name: str) -> float:
        (sample,) = [s for f in parse_text(self.text) for s in f.samples if s.name == name]
        return float(sample.value)

    def publish(self, cycle: int, health: Health = HEALTHY, simulated: bool = False) -> bool:
        result = cycle_result(FAMILY)
        versions = Versions("4.6.0", "4.6.0")
        return self.publisher.publish_result(cycle, result, versions, health, simulated)


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_before_the_first_cycle_there_is_a_page_with_the_exporters_own_metrics(desk: Desk) -> None:
    assert STARTING == desk.page.health
    assert 0.0 == desk.value(HOSTENGINE_UP)
    assert b"" == desk.page.forwarded
    assert "DCGM_" not in desk.text


def test_a_result_is_on_the_page(desk: Desk) -> None:
    assert desk.publish(desk.publisher.begin_cycle())
    assert desk.text.startswith(TEXT)
    assert (HEALTHY, 1.0) == (desk.page.health, desk.value(HOSTENGINE_UP))


def test_the_forwarded_page_holds_the_families_of_the_engine_only(desk: Desk) -> None:
    desk.publish(desk.publisher.begin_cycle())
    assert TEXT.encode() == desk.page.forwarded


def test_what_the_endpoint_does_not_know_is_on_the_page_alone(desk: Desk) -> None:
    unknown = replace(FAMILY, name="DCGM_FI_DEV_FABRIC_MANAGER_STATUS")
    result = cycle_result(unknown, FAMILY)
    versions = Versions("4.6.0", "4.6.0")
    desk.publisher.publish_result(desk.publisher.begin_cycle(), result, versions, HEALTHY, False)
    assert unknown.name in desk.text
    assert TEXT.encode() == desk.page.forwarded


def test_all_that_is_not_forwarded_is_in_one_of_the_default_sets() -> None:
    new = read_counter_set(DEFAULT_COUNTERS.with_name("counters-4.9.csv"), ())
    names = {counter.name for counter in (*counter_set().counters, *new.counters)}
    assert names >= NOT_FORWARDED
    of_both = [c for c in (*counter_set().counters, *new.counters) if c.name in NOT_FORWARDED]
    assert len(of_both) == 2 * len({counter.field for counter in of_both})


@pytest.mark.parametrize("simulated", [True, False])
def test_the_page_says_whether_its_values_are_made_up(desk: Desk, simulated: bool) -> None:
    desk.publish(desk.publisher.begin_cycle(), simulated=simulated)
    assert simulated is desk.page.simulated


def test_both_formats_are_valid(desk: Desk) -> None:
    desk.publish(desk.publisher.begin_cycle())
    openmetrics = desk.page.openmetrics.plain.decode()
    names = {family.name for family in parse_openmetrics(openmetrics)}
    assert {family.name for family in parse_text(desk.text)} == names
    assert 1 == openmetrics.count("# EOF")


def test_the_duration_of_a_cycle_is_by_the_clock(desk: Desk) -> None:
    cycle = desk.publisher.begin_cycle()
    desk.clock.now = 1.5
    desk.publish(cycle)
    assert 1.5 == desk.value("do_dcgm_exporter_collect_duration_seconds")


def test_in_an_outage_families_are_gone_and_the_reason_is_told(desk: Desk) -> None:
    desk.publish(desk.publisher.begin_cycle())
    assert desk.publisher.publish_outage(desk.publisher.begin_cycle(), "the engine is gone")
    assert Health(False, "the engine is gone") == desk.page.health
    assert ("DCGM_" in desk.text, desk.page.forwarded) == (False, b"")
    assert 0.0 == desk.value(HOSTENGINE_UP)


def test_an_engine_without_a_driver_is_up(desk: Desk) -> None:
    desk.publisher.publish_outage(desk.publisher.begin_cycle(), "no NVML", engine_up=True)
    assert 1.0 == desk.value(HOSTENGINE_UP)


def test_after_an_outage_a_result_is_on_the_page_again(desk: Desk) -> None:
    desk.publisher.publish_outage(desk.publisher.begin_cycle(), "the engine is gone")
    desk.publish(desk.publisher.begin_cycle())
    assert desk.text.startswith(TEXT)


# Cycles that are given up.


def test_a_cycle_is_given_up_once_it_has_run_for_too_long(desk: Desk) -> None:
    desk.publish(desk.publisher.begin_cycle())
    desk.publisher.begin_cycle()
    desk.clock.now = 19.9
    assert not desk.publisher.abandon_cycle_after(20.0)
    desk.clock.now = 20.0
    assert desk.publisher.abandon_cycle_after(20.0)
    assert desk.publisher.is_abandoned
    assert Health(False, "the engine has not answered for more than 20 s") == desk.page.health
    assert (0.0, False) == (desk.value(HOSTENGINE_UP), "DCGM_" in desk.text)


def test_a_cycle_is_given_up_once(desk: Desk) -> None:
    desk.publisher.begin_cycle()
    desk.clock.now = 20.0
    assert [True, False] == [desk.publisher.abandon_cycle_after(20.0) for _ in range(2)]


def test_without_a_cycle_there_is_nothing_to_give_up(desk: Desk) -> None:
    desk.clock.now = 1e6
    assert not desk.publisher.abandon_cycle_after(20.0)
    desk.publish(desk.publisher.begin_cycle())
    desk.clock.now = 2e6
    assert not desk.publisher.abandon_cycle_after(20.0)


LateEnd = Callable[[Desk, int], bool]


ENDS: dict[str, LateEnd] = {
    "result": lambda desk, cycle: desk.publish(cycle),
    "outage": lambda desk, cycle: desk.publisher.publish_outage(cycle, "it died in the end"),
}


@pytest.mark.parametrize(
    ("calls_ended", "reason"),
    [
        (0, "the engine has not answered for more than 20 s"),
        (1, "the engine is slow: a cycle has taken more than 20 s"),
    ],
)
def test_an_engine_that_answers_slowly_is_not_said_to_be_silent(
    desk: Desk, calls_ended: int, reason: str
) -> None:
    desk.publisher.begin_cycle()
    desk.telemetry.calls.ended = 7
    desk.clock.now = 19.5
    desk.publisher.abandon_cycle_after(20.0)
    desk.telemetry.calls.ended += calls_ended
    desk.clock.now = 20.5
    assert desk.publisher.abandon_cycle_after(20.0)
    assert Health(False, reason) == desk.page.health


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_what_an_abandoned_cycle_brings_in_the_end_is_discarded(desk: Desk, end: LateEnd) -> None:
    cycle = desk.publisher.begin_cycle()
    desk.clock.now = 20.0
    desk.publisher.abandon_cycle_after(20.0)
    page = desk.page
    assert not end(desk, cycle)
    assert page is desk.page
    assert desk.publish(desk.publisher.begin_cycle())
    assert not desk.publisher.is_abandoned
    assert desk.text.startswith(TEXT)


@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_a_late_end_does_not_end_the_cycle_that_has_begun_since(desk: Desk, end: LateEnd) -> None:
    late = desk.publisher.begin_cycle()
    desk.clock.now = 20.0
    desk.publisher.abandon_cycle_after(20.0)
    current = desk.publisher.begin_cycle()
    assert not end(desk, late)
    assert desk.publish(current)


def test_a_cycle_ends_once(desk: Desk) -> None:
    cycle = desk.publisher.begin_cycle()
    assert [True, False] == [desk.publish(cycle) for _ in range(2)]


def test_a_refresh_keeps_families_and_health_and_renews_the_exporters_own(desk: Desk) -> None:
    desk.publish(desk.publisher.begin_cycle())
    desk.telemetry.calls.calls = 77
    desk.publisher.refresh()
    assert desk.text.startswith(TEXT)
    assert 77.0 == desk.value("do_dcgm_exporter_engine_calls_total")
    assert HEALTHY == desk.page.health


def test_a_failure_while_a_page_is_made_leaves_the_cycle_to_an_outage(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    cycle = desk.publisher.begin_cycle()
    with monkeypatch.context() as broken:
        broken.setattr(Telemetry, "record", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            desk.publish(cycle)
    assert desk.publisher.publish_outage(cycle, "internal error")
    assert "internal error" == desk.page.health.reason


def test_an_outage_that_cannot_be_made_is_told_on_a_bare_page(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.publish(desk.publisher.begin_cycle())
    monkeypatch.setattr(Telemetry, "record_outage", lambda *_: 1 / 0)
    assert desk.publisher.publish_outage(desk.publisher.begin_cycle(), "the engine is gone")
    assert Health(False, "the engine is gone") == desk.page.health
    assert (0.0, b"") == (desk.value(HOSTENGINE_UP), desk.page.forwarded)
    openmetrics = desk.page.openmetrics.plain.decode()
    assert [HOSTENGINE_UP] == [family.name for family in parse_openmetrics(openmetrics)]


def test_a_page_that_cannot_be_compressed_is_the_newest_nevertheless(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.publish(desk.publisher.begin_cycle())
    desk.page.text.compressed  # noqa: B018
    monkeypatch.setattr("gzip.compress", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        desk.publisher.publish_outage(desk.publisher.begin_cycle(), "the engine is gone")
    assert "the engine is gone" == desk.page.health.reason


# Pages that are too old.


def test_a_page_of_values_expires_and_says_so(desk: Desk) -> None:
    desk.publish(desk.publisher.begin_cycle())
    desk.clock.now = 39.9
    assert desk.page.health.healthy
    desk.clock.now = 40.0
    assert desk.page.health.reason.startswith("the last reading is older than two intervals")
    assert (0.0, "DCGM_" in desk.text, desk.page.forwarded) == (
        desk.value(HOSTENGINE_UP),
        False,
        b"",
    )


def test_current_metrics_about_the_exporter_do_not_make_values_younger(desk: Desk) -> None:
    desk.publish(desk.publisher.begin_cycle())
    desk.clock.now = 30.0
    desk.publisher.refresh()
    assert desk.page.health.healthy
    desk.clock.now = 40.0
    assert not desk.page.health.healthy


def test_the_metrics_about_the_exporter_outlive_a_page_that_has_expired(desk: Desk) -> None:
    desk.publish(desk.publisher.begin_cycle())
    desk.publisher.expire()
    assert desk.page.health.healthy
    desk.clock.now = 40.0
    desk.publisher.expire()
    assert desk.page.health.reason.startswith("the last reading is older than two intervals")
    assert (0.0, 0.0) == (
        desk.value(HOSTENGINE_UP),
        desk.value("do_dcgm_exporter_engine_calls_total"),
    )


def test_an_outage_does_not_expire(desk: Desk) -> None:
    desk.publisher.publish_outage(desk.publisher.begin_cycle(), "the engine is gone")
    desk.clock.now = 1e6
    assert "the engine is gone" == desk.page.health.reason


# Health.


def test_a_change_of_reason_is_told_once_whoever_published_it(desk: Desk) -> None:
    publisher = desk.publisher
    desk.publish(publisher.begin_cycle())
    desk.publish(publisher.begin_cycle())
    for _ in range(2):
        publisher.publish_outage(publisher.begin_cycle(), "gone")
    publisher.begin_cycle()
    desk.clock.now += 20.0
    publisher.abandon_cycle_after(20.0)
    publisher.refresh()
    desk.publish(publisher.begin_cycle())
    reasons = ["", "gone", "the engine has not answered for more than 20 s", ""]
    assert reasons == [health.reason for health in desk.told]


def test_forwarding_that_fails_is_a_note_of_a_healthy_page(desk: Desk) -> None:
    desk.telemetry.forward.complaint = "the endpoint refuses"
    desk.publish(desk.publisher.begin_cycle())
    assert Health(True, forwarding="the endpoint refuses") == desk.page.health
    assert ("the endpoint refuses",) == desk.page.health.sentences


# Forms.


def body_of(publication: Publication, form: str) -> Body:
    body = getattr(publication.page, form)
    assert isinstance(body, Body)
    return body


@pytest.mark.parametrize("form", ["text", "openmetrics"])
def test_a_page_is_compressed_once_somebody_asks_and_from_then_on(desk: Desk, form: str) -> None:
    publication = desk.publisher.publication
    desk.publish(desk.publisher.begin_cycle())
    assert not body_of(publication, form).was_compressed
    body = body_of(publication, form)
    assert body.plain == gzip.decompress(body.compressed)
    assert body.compressed is body.compressed
    desk.publish(desk.publisher.begin_cycle())
    assert body_of(publication, form).was_compressed
    other = "openmetrics" if form == "text" else "text"
    assert not body_of(publication, other).was_compressed


def test_a_page_that_nobody_asked_for_compressed_is_not_compressed_any_more(desk: Desk) -> None:
    desk.page.text.compressed  # noqa: B018
    assert desk.publisher.publication.page.text.was_compressed


def test_equal_pages_are_equal_bytes() -> None:
    assert Body(b"x" * 1000).compressed == Body(b"x" * 1000).compressed


# What people are shown.


def state_at(now: float) -> MachineState:
    """A machine with one GPU that is half busy."""
    topology = Topology(gpus=(some_gpu(0),))
    roster = Roster.of(topology, Selection((gpu(0),), topology.gpus, ()), keep=True)
    return machine_state(roster, readings_of(raw(gpu(0), 203, 50, timestamp=now), now=now), ())


class Watched:
    """A publisher at a time of day that passes when it is told to."""

    def __init__(self) -> None:
        self.unix_time = Clock(NOW)
        telemetry = Telemetry(CallCount(), ForwardStatistics())
        self.publisher = Publisher(telemetry, clock=Clock(), wall_clock=self.unix_time)

    @property
    def status(self) -> Status:
        return self.publisher.publication.page.status

    def succeed(self) -> None:
        self.unix_time.now += 20
        result = cycle_result(machine=state_at(self.unix_time.now))
        number = self.publisher.begin_cycle()
        self.publisher.publish_result(number, result, Versions("4.6.0", "4.6.0"), HEALTHY, False)

    def fail(self) -> None:
        self.unix_time.now += 20
        self.publisher.publish_outage(self.publisher.begin_cycle(), "no engine")


def test_a_page_has_the_state_it_was_made_of() -> None:
    watched = Watched()
    watched.succeed()
    assert watched.status.result is not None
    assert 50 == watched.status.machine.utilization(gpu(0))
    assert (NOW + 20, "4.6.0", True) == (
        watched.status.last_success,
        watched.status.versions.engine,
        watched.status.engine_up,
    )


def test_in_an_outage_there_are_no_values_but_what_was_known_is_not_forgotten() -> None:
    watched = Watched()
    watched.succeed()
    watched.fail()
    status = watched.status
    assert (None, False) == (status.result, status.engine_up)
    assert {} == status.machine.values
    assert [0] == [known.id for known in status.last_known.roster.gpus]
    assert NOW + 20 == status.last_success


def test_an_outage_is_a_gap_in_the_history() -> None:
    watched = Watched()
    for step in (watched.succeed, watched.succeed, watched.fail, watched.succeed):
        step()
    assert [b"2", b"2", b"", b"2"] == [column.percentages for column in watched.status.history]


def test_a_history_that_was_handed_out_does_not_change() -> None:
    watched = Watched()
    watched.succeed()
    before = watched.status
    watched.succeed()
    assert (1, 2) == (len(before.history), len(watched.status.history))


def test_an_outage_before_the_first_reading_leaves_no_history() -> None:
    watched = Watched()
    watched.fail()
    assert () == watched.status.history
