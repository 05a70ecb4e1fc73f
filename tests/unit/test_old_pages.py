"""Whatever fails while pages are made, no old page passes for a current one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families as parse_text
from tests.builders import Bench, configuration

from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.page.embedded_dcgm import EmbeddedDcgm
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry
from do_dcgm_exporter.page.publication import Page
from do_dcgm_exporter.page.publisher import Publisher
from do_dcgm_exporter.service.agent import Agent

StartBench = Callable[..., Bench]
INTERVAL = 20.0

PUBLISHER, AGENT = "do_dcgm_exporter.page.publisher", "do_dcgm_exporter.service.agent"
PLACES = (
    f"{PUBLISHER}.render",
    f"{PUBLISHER}.make_page",
    f"{PUBLISHER}.Content",
    f"{PUBLISHER}.Page",
    f"{PUBLISHER}.Status",
    f"{PUBLISHER}.replace",
    f"{PUBLISHER}.is_due",
    f"{PUBLISHER}.extended",
    f"{PUBLISHER}.column_of",
    f"{PUBLISHER}.Publisher.begin_cycle",
    f"{PUBLISHER}.Publisher.publish_result",
    f"{PUBLISHER}.Publisher.publish_outage",
    f"{PUBLISHER}.Publisher._publish",
    f"{PUBLISHER}.Publisher._page",
    f"{PUBLISHER}.Publisher._remember",
    f"{PUBLISHER}.Publisher._status",
    "do_dcgm_exporter.page.cycle_clock.CycleClock.begin",
    "do_dcgm_exporter.page.cycle_clock.CycleClock.seconds",
    "do_dcgm_exporter.page.cycle_clock.CycleClock.end",
    "do_dcgm_exporter.page.publication.Publication.publish",
    "gzip.compress",
    "do_dcgm_exporter.page.own_metrics.Telemetry.record",
    "do_dcgm_exporter.page.own_metrics.Telemetry.record_outage",
    "do_dcgm_exporter.page.own_metrics.Telemetry.collect",
    "do_dcgm_exporter.page.own_metrics.TelemetryRegistry.families",
    "do_dcgm_exporter.page.embedded_dcgm.EmbeddedDcgm.count",
    "do_dcgm_exporter.collect.report_file.ReportFile._take",
    "do_dcgm_exporter.page.gpu_users.GpuUsers.on",
    "do_dcgm_exporter.page.own_metrics.families",
    "do_dcgm_exporter.collect.jobs.JobDirectory.read",
    "do_dcgm_exporter.collect.jobs._jobs_in",
    "do_dcgm_exporter.collect.session.machine_state",
    "do_dcgm_exporter.collect.labels.LabelBlocks.update",
    "do_dcgm_exporter.collect.session.Session.read",
    "do_dcgm_exporter.collect.session.Session.close",
    f"{AGENT}.health_of",
    f"{AGENT}.pause_after",
    f"{AGENT}.give_back_free_memory",
    f"{AGENT}.Agent._succeed",
    f"{AGENT}.Agent._fail",
)


class Planted(Exception):
    """Raised by what was planted."""


def fail(*_: object, **__: object) -> None:
    raise Planted


class Program:
    """An agent whose GPU is one degree warmer in every cycle."""

    def __init__(self, bench: Bench, directory: Path) -> None:
        self.bench = bench
        self.degrees = 40
        calls = CallCount()
        report = directory / "embedded-dcgm.json"
        report.write_text('{"time": 0, "processes": []}')
        (directory / "0").write_text("job\n")
        telemetry = Telemetry(calls, ForwardStatistics(), EmbeddedDcgm(report))
        clock = lambda: bench.now  # noqa: E731
        self.publisher = Publisher(
            telemetry,
            tell=lambda _: None,
            lifetime=2 * INTERVAL,
            clock=clock,
            wall_clock=clock,
            boot_clock=clock,
        )
        configured = configuration(
            "DCGM_FI_DEV_GPU_TEMP, gauge, x",
            engine=parse_engine_address(bench.engine.address),
            hpc_job_mapping_dir=directory,
        )
        self.agent = Agent(
            configured, self.publisher, calls, clock=clock, wall_clock=clock, boot_clock=clock
        )
        self.agent._bindings = bench.bindings

    def cycle(self) -> None:
        """Let an interval pass, then run a cycle; an exception ends the agent's thread."""
        self.degrees += 1
        self.bench.engine.control("set", "--entity", "gpu:0", "150", str(self.degrees))
        self.bench.pass_time(INTERVAL)
        self.agent.cycle()

    @property
    def page(self) -> Page:
        return self.publisher.publication.page

    def shown(self) -> list[float]:
        """The temperatures on the page."""
        families = parse_text(self.page.text.plain.decode())
        return [
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == "DCGM_FI_DEV_GPU_TEMP"
        ]


@pytest.fixture
def program(bench: StartBench, tmp_path: Path) -> Iterator[Program]:
    started = Program(bench(), tmp_path)
    started.cycle()
    started.cycle()
    assert (True, [42.0]) == (started.page.health.healthy, started.shown())
    started.page.text.compressed  # noqa: B018 - from now on it is compressed for scrapers
    yield started
    started.agent._close_session()


@pytest.mark.parametrize("place", PLACES)
def test_an_exception_planted_anywhere_leaves_no_old_page_that_is_healthy(
    program: Program, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    with monkeypatch.context() as planted:
        planted.setattr(place, fail)
        lives = True
        for _ in range(4):
            try:
                if lives:
                    program.cycle()
                else:
                    program.bench.pass_time(INTERVAL)
            except Planted:
                lives = False
        if program.page.health.healthy:
            assert [program.degrees] == program.shown(), "an old page is healthy"
        else:
            assert [] == program.shown(), "an unhealthy page has values"
            assert b"" == program.page.forwarded, "an old page would be forwarded"


@pytest.mark.parametrize(
    "report",
    [
        '{"time": 1' + "0" * 5000 + ', "processes": []}',
        '{"time": "NaN", "processes": [{"of": 1e400}]}',
        "[" * 100_000,
        "\udcff",
    ],
)
def test_whatever_the_report_on_other_dcgms_holds_pages_go_on(
    program: Program, tmp_path: Path, report: str
) -> None:
    (tmp_path / "embedded-dcgm.json").write_bytes(report.encode("utf-8", "surrogateescape"))
    program.cycle()
    assert (True, [program.degrees]) == (program.page.health.healthy, program.shown())
