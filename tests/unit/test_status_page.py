"""The status page as an answer to a request, and what it says of the way of the data."""

from __future__ import annotations

import base64
import gzip
import hashlib
import re
from dataclasses import replace
from html import unescape

import pytest
from tests.builders import (
    NOW,
    Clock,
    configuration,
    cycle_result,
    gpu,
    gpu_instance,
    raw,
    readings_of,
    settings,
)

from do_dcgm_exporter.collect.machine import MachineState, Roster, machine_state
from do_dcgm_exporter.collect.selection import Selection
from do_dcgm_exporter.collect.xid_log import SeenXid
from do_dcgm_exporter.config.settings import Settings
from do_dcgm_exporter.dcgm.topology import Gpu, GpuInstance, Topology
from do_dcgm_exporter.dcgm.versions import Versions
from do_dcgm_exporter.explain.data_path import Flow, Station, data_path
from do_dcgm_exporter.page.forwarding import ForwardResult, ForwardStatistics
from do_dcgm_exporter.page.publication import Body, Health, Page, Publication
from do_dcgm_exporter.page.publisher import STARTING
from do_dcgm_exporter.page.status import Status
from do_dcgm_exporter.serve.http.request import Request
from do_dcgm_exporter.serve.http.response import Content
from do_dcgm_exporter.serve.scrape_log import ScrapeLog
from do_dcgm_exporter.serve.status_page.route import StatusPage
from do_dcgm_exporter.usage_report import Use, Workload, WorkloadKind

HOSTILE = "<script>alert('x')</script>\"&"
FORWARDING = {"forward": True, "forward_url": "http://127.0.0.1:9/x"}


def machine(name: str = "NVIDIA H100", xids: tuple[SeenXid, ...] = ()) -> MachineState:
    """A whole GPU, and one that is cut."""
    gpus = (Gpu(0, name, name, name), Gpu(1, name, name, name))
    topology = Topology(gpus=gpus, gpu_instances=(GpuInstance(7, 1, 9, name),))
    roster = Roster.of(topology, Selection((gpu(0), gpu_instance(7)), gpus, ()), keep=True)
    values = {150: 41, 158: 89, 155: 300.0, 164: 700.0, 203: 64, 250: 81559, 252: 2048, 112: 1}
    raws = [raw(e, f, v) for e in (gpu(0), gpu_instance(7)) for f, v in values.items()]
    return machine_state(roster, readings_of(*raws), xids)


def page_of(
    told: MachineState | None = None, health: Health | None = None, driver: str = "550.90.07"
) -> Page:
    result = cycle_result(
        gpus_up={0: True, 1: True},
        nvlink_states={},
        machine=told or machine(),
        driver_version=driver,
        dropped={},
    )
    status = Status(
        versions=Versions("4.6.0", "4.6.0"),
        engine_up=True,
        result=result,
        last_known=result.machine,
        last_success=NOW,
        collect_seconds=0.004,
    )
    return Page(Body(b""), Body(b""), b"", health or Health(True), status=status)


def outage(reason: str, before: Page) -> Page:
    status = replace(before.status, result=None, engine_up=False)
    return replace(before, health=Health(False, reason), status=status)


class Desk:
    """A status page, a clock, and whatever it is drawn from."""

    def __init__(self, page: Page, **changes: object) -> None:
        self.clock = Clock(NOW + 4)
        self.publication = Publication(page)
        self.statistics = ForwardStatistics()
        self.scrapes = ScrapeLog(self.clock)
        changed: Settings = settings(**{"forward": False, **changes})
        self.page = StatusPage(self.publication, changed, self.statistics, self.scrapes, self.clock)

    def get(self, path: str = "/", **headers: str) -> Content | None:
        request = Request(path, {k.replace("_", "-"): v for k, v in headers.items()}, True)
        return self.page.routes()[path](request)

    def html(self) -> str:
        content = self.get()
        assert content is not None
        return content.body.decode()

    def station(self, name: str) -> Station:
        (found,) = [s for s in data_path(self.page.view()) if s.name == name]
        return found


def header(content: Content | None, name: str) -> str | None:
    assert content is not None
    pairs = dict(line.split(": ", 1) for line in content.extra)
    return pairs.get(name)


# Answers.


def test_nothing_may_be_loaded_or_run_but_the_one_style_sheet() -> None:
    content = Desk(page_of()).get()
    assert content is not None
    (style,) = re.findall("<style>(.*?)</style>", content.body.decode(), re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = header(content, "Content-Security-Policy") or ""
    assert f"default-src 'none'; style-src 'sha256-{digest}'; " in policy
    assert "unsafe" not in policy
    assert not re.search(rb"<script|\sstyle=|\son[a-z]+=|https?://|<img|<link", content.body)


def test_what_others_wrote_is_text() -> None:
    seen = SeenXid(int(NOW * 1e6), 79, gpu(0), 1)
    hostile = page_of(machine(HOSTILE, (seen,)), Health(True, notes=(HOSTILE,)), driver=HOSTILE)
    desk = Desk(hostile)
    desk.page.host = HOSTILE
    for page in (hostile, outage(HOSTILE, hostile)):
        desk.publication.publish(page)
        html = desk.html()
        assert "<script" not in html
        assert "'x'" not in html
        assert "&lt;script&gt;" in html


def test_it_is_compressed_for_those_who_take_it() -> None:
    desk = Desk(page_of())
    compressed = desk.get(accept_encoding="gzip")
    assert compressed is not None
    assert "gzip" == header(compressed, "Content-Encoding")
    assert desk.html() == gzip.decompress(compressed.body).decode()
    assert "Accept-Encoding" == header(compressed, "Vary")


def test_it_is_drawn_once_a_second_and_anew_for_a_newer_page() -> None:
    desk = Desk(page_of())
    first = desk.get()
    assert first is not None
    assert first.body is desk.get().body
    desk.publication.publish(outage("the engine is gone", page_of()))
    assert "The engine is gone." in desk.html()
    desk.clock.now += 1
    assert "read 2027-01-15 08:00:00 UTC" not in desk.html()


@pytest.mark.parametrize(("interval", "refresh"), [(20.0, "20"), (0.5, "5"), (60.0, "60")])
def test_it_comes_again_with_the_next_reading(interval: float, refresh: str) -> None:
    assert refresh == header(Desk(page_of(), collect_interval=interval).get(), "Refresh")


def test_in_an_outage_it_comes_again_soon() -> None:
    assert "5" == header(Desk(outage("x", page_of())).get(), "Refresh")


def test_paused_it_does_not_come_again() -> None:
    assert header(Desk(page_of()).get("/paused"), "Refresh") is None


def test_switched_off_there_are_links_alone() -> None:
    desk = Desk(page_of(), status_page=False)
    assert 'href="metrics"' in desk.html()
    assert "GPU" not in desk.html()
    assert desk.get("/paused") is None


# The way of the data.


def test_when_all_is_well_every_station_tells_so() -> None:
    desk = Desk(page_of(), **FORWARDING)
    desk.scrapes.note("Prometheus/2.53.0")
    desk.statistics.count(ForwardResult.SUCCESS, NOW)
    assert [
        ("Driver", "550.90.07", Flow.FLOWS, "answers for 2 GPUs"),
        ("DCGM engine", "4.6.0", Flow.FLOWS, "answers at localhost:5555"),
        ("Prometheus", "", Flow.FLOWS, "scraped just now"),
        ("DigitalOcean", "", Flow.FLOWS, "sent 4 seconds ago"),
    ] == [
        (s.name, s.version, s.flow, s.joint)
        for s in data_path(desk.page.view())
        if s.name != "Exporter"
    ]
    assert "read 4 seconds ago in 4 ms" == desk.station("Exporter").joint
    assert "<h1>All is well: 2 GPUs answer, 64 % busy on average" in desk.html()


def test_in_an_outage_the_engine_is_where_it_breaks() -> None:
    desk = Desk(outage("no engine answers at localhost:5555", page_of()))
    assert Flow.UNKNOWN is desk.station("Driver").flow
    assert ("no engine answers at localhost:5555", Flow.BROKEN) == (
        desk.station("DCGM engine").joint,
        desk.station("DCGM engine").flow,
    )
    assert "last read 4 seconds ago" == desk.station("Exporter").joint
    assert [Flow.BROKEN] == [s.flow for s in data_path(desk.page.view()) if s.flow is Flow.BROKEN]
    html = desk.html()
    assert "<h1>No engine answers at localhost:5555.</h1>" in html
    assert "°C" not in html, "no old number is shown"


def test_before_the_first_reading_nothing_is_broken() -> None:
    desk = Desk(Page(Body(b""), Body(b""), b"", STARTING))
    assert {Flow.UNKNOWN, Flow.UNUSED} == {station.flow for station in data_path(desk.page.view())}
    assert "<h1>Starting: no cycle has ended yet.</h1>" in desk.html()


def test_a_scraper_that_stays_away_is_told_of() -> None:
    desk = Desk(page_of())
    desk.scrapes.note("Prometheus/2.53.0")
    desk.clock.now += 400
    assert Flow.BROKEN is desk.station("Prometheus").flow
    assert "<h1>Prometheus has not scraped for 6 minutes.</h1>" in desk.html()


def test_another_scraper_does_not_make_up_for_a_missing_prometheus() -> None:
    desk = Desk(page_of())
    desk.scrapes.note("do-agent/3.18")
    assert ("do-agent", Flow.FLOWS) == (
        desk.station("do-agent").name,
        desk.station("do-agent").flow,
    )
    desk.scrapes.note("Prometheus/2.53.0")
    desk.clock.now += 400
    desk.scrapes.note("do-agent/3.18")
    assert Flow.BROKEN is desk.station("Prometheus").flow


def test_without_a_scraper_nothing_is_missed() -> None:
    assert Flow.UNUSED is Desk(page_of()).station("Prometheus").flow


def test_forwarding_that_fails_says_why() -> None:
    desk = Desk(page_of(), **FORWARDING)
    assert Flow.UNKNOWN is desk.station("DigitalOcean").flow
    desk.statistics.complaint = "forwarding fails: the endpoint http://a/ answered 503"
    assert Flow.BROKEN is desk.station("DigitalOcean").flow
    assert "<h1>Forwarding fails: the endpoint http://a/ answered 503.</h1>" in desk.html()


def test_simulated_values_are_not_missed_at_the_real_endpoint() -> None:
    desk = Desk(replace(page_of(), simulated=True), forward=True)
    assert Flow.UNUSED is desk.station("DigitalOcean").flow


def test_the_password_of_the_endpoint_is_nowhere() -> None:
    url = "http://user:hunter2@127.0.0.1:9/x?token=hunter2"
    assert "hunter2" not in Desk(page_of(), forward=True, forward_url=url).html()


def test_a_refused_reload_is_told_of() -> None:
    page = page_of()
    desk = Desk(replace(page, status=replace(page.status, reload_refused=True)))
    assert "The configuration of the last reload was refused" in desk.html()


# XIDs.


@pytest.mark.parametrize(
    ("xid", "hours", "is_told"),
    [(13, 0.2, True), (13, 0.3, False), (95, 0.3, True), (95, 23, True), (95, 25, False)],
)
def test_an_xid_is_news_for_a_while_and_then_history(xid: int, hours: float, is_told: bool) -> None:
    seen = SeenXid(int((NOW + 4 - hours * 3600) * 1e6), xid, gpu(0), 1)
    html = Desk(page_of(machine(xids=(seen,)))).html()
    assert is_told is (f"<h1>GPU 0 reported XID {xid} " in html)
    assert f'<th scope="row">{xid}</th>' in html


def test_an_xid_outlives_an_outage() -> None:
    seen = SeenXid(int(NOW * 1e6), 48, gpu(0), 3)
    html = Desk(outage("the engine is gone", page_of(machine(xids=(seen,))))).html()
    assert "<h1>The engine is gone.</h1>" in html
    assert "Double Bit ECC Error (3 times)" in html


def test_all_links_down_is_a_gpu_without_a_bridge() -> None:
    page = page_of()
    assert page.status.result is not None
    for states, is_told in (({(0, 0): 2, (0, 1): 2}, False), ({(0, 0): 2, (0, 1): 3}, True)):
        result = replace(page.status.result, nvlink_states=states)
        desk = Desk(replace(page, status=replace(page.status, result=result)))
        assert is_told is ("<h1>GPU 0 has NVLink 0 down.</h1>" in desk.html())


def lost(*gpu_ids: int, xids: tuple[SeenXid, ...]) -> str:
    told = replace(machine(xids=xids), lost_gpus=frozenset(gpu_ids))
    return Desk(page_of(told, Health(False, "the engine gets no answer about any GPU"))).html()


def test_a_loss_is_put_down_to_a_grave_xid_of_that_gpu_alone() -> None:
    grave = SeenXid(int(NOW * 1e6), 62, gpu(0), 1)
    assert "<h1>GPU 0 is lost to the driver after XID 62 (" in lost(0, xids=(grave,))
    for other in (
        grave._replace(xid=13),
        grave._replace(entity=gpu(1)),
        grave._replace(timestamp=0),
    ):
        assert "<h1>GPU 0 is lost to the driver (NVIDIA H100).</h1>" in lost(0, xids=(other,))


def test_when_no_gpu_answers_a_grave_xid_is_the_cause() -> None:
    grave, harmless = SeenXid(int(NOW * 1e6), 119, gpu(1), 1), SeenXid(1, 13, gpu(0), 1)
    assert "<h1>GPU 1 reported XID 119 (GSP RPC Timeout), and the engine gets no answer" in lost(
        0, 1, xids=(harmless, grave)
    )
    assert "<h1>The engine gets no answer about any GPU.</h1>" in lost(0, 1, xids=(harmless,))


def test_the_users_of_the_gpus_are_named_if_somebody_looks_for_them() -> None:
    page = page_of()
    assert "Who uses the GPUs" not in Desk(page).html()
    nobody = replace(page, status=replace(page.status, gpu_uses={0: (), 1: ()}))
    assert "No process uses one." in Desk(nobody).html()

    job, container = (
        Workload(kind, HOSTILE) for kind in (WorkloadKind.SLURM_JOB, WorkloadKind.CONTAINER)
    )
    uses = {
        0: (Use("", None, job, "alice", 8, 7 << 29), Use("", None, container, HOSTILE, 1, None)),
        1: (Use("", 9, Workload(WorkloadKind.UNIT, "a.service"), "bob", 2, 0),),
    }
    html = Desk(replace(page, status=replace(page.status, gpu_uses=uses))).html()
    assert HOSTILE not in html
    table = html.partition("Who uses the GPUs")[2].partition("</table>")[0]
    rows = [unescape(" ".join(re.sub("<[^>]+>", " ", row).split())) for row in table.split("<tr>")]
    assert rows[2:] == [
        f"GPU 0 Slurm job {HOSTILE} alice 8 3.5 GiB",
        f"GPU 0 container {HOSTILE} {HOSTILE} 1 –",
        "GPU 1 instance 9 a.service bob 2 0.0 GiB",
    ]


def test_gpus_of_several_models_are_told_apart() -> None:
    told = machine()
    gpus = (told.roster.gpus[0], replace(told.roster.gpus[1], model="NVIDIA L40S"))
    mixed = replace(told, roster=replace(told.roster, gpus=gpus))
    assert 'GPU 1 <span class="quiet">NVIDIA L40S</span>' in Desk(page_of(mixed)).html()
    assert "GPU 1 <span" not in Desk(page_of()).html()


def test_a_heading_leads_to_its_metric() -> None:
    counters = configuration(
        "DCGM_FI_DEV_GPU_TEMP, gauge, x", "DCGM_FI_DEV_FB_USED_BYTES, gauge, x"
    ).counters
    told = machine()
    selection = Selection(told.roster.devices, told.roster.gpus, ())
    roster = Roster.of(told.roster.topology, selection, True, counters)
    html = Desk(page_of(replace(told, roster=roster))).html()
    for words, name in (
        ("Temperature", "DCGM_FI_DEV_GPU_TEMP"),
        ("Memory", "DCGM_FI_DEV_FB_USED_BYTES"),
    ):
        link = f'<a class="metric" href="metrics#:~:text={name}" title="{name}">{words}</a>'
        assert html.count(link) >= 1
    assert '<th scope="col">Power</th>' in html, "what is no metric is no link"


def test_instances_stand_side_by_side_as_wide_as_they_are() -> None:
    gpus = (Gpu(0, "u", "b", "NVIDIA H100"),)
    parts = (GpuInstance(1, 0, 2, "2g.20gb"), GpuInstance(0, 0, 1, "4g.40gb"))
    topology = Topology(gpus=gpus, gpu_instances=parts)
    entities = (gpu_instance(0), gpu_instance(1))
    roster = Roster.of(topology, Selection(entities, gpus, ()), keep=True)
    readings = readings_of(raw(gpu_instance(1), 1001, 0.5), raw(gpu_instance(0), 1001, 0.25))
    html = Desk(page_of(machine_state(roster, readings, ()))).html()
    assert ["part slices4", "part slices2"] == re.findall('<li class="(part[^"]*)"', html)
    assert "1 4g.40gb</span> <b>25 %" in html
    assert "2 2g.20gb</span> <b>50 %" in html


def test_a_gpu_of_which_only_compute_instances_are_selected_says_so() -> None:
    told = machine()
    roster = replace(told.roster, devices=(gpu(0),), parts={0: (gpu(0),), 1: ()})
    html = Desk(page_of(replace(told, roster=roster))).html()
    assert 1 == html.count(">compute instances<")
    assert re.search(r"GPU 1</th><td class=\"parts\" colspan=\"2\">.*?compute instances<", html)


def test_the_only_gpu_has_the_whole_page() -> None:
    told = machine()
    one = replace(told.roster, gpus=told.roster.gpus[:1], devices=(gpu(0),), parts={0: (gpu(0),)})
    html = Desk(page_of(replace(told, roster=one))).html()
    assert '<section class="chart"' in html
    assert '<table class="devices"' not in html
    gone = replace(told, roster=one, lost_gpus=frozenset({0}), values={})
    assert "lost to the driver</td>" in Desk(page_of(gone, Health(False, "x"))).html()


def test_a_gpu_at_work_is_not_called_idle() -> None:
    """The mask of both GPUs says idle, their utilization 64 %."""
    html = Desk(page_of()).html()
    assert "64 %" in html
    assert "idle" not in html
