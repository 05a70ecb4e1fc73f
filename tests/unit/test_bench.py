"""The pure parts of the benchmark: what it makes of what it measured."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from tests.bench.cases import MACHINES, MANY_FIELDS, many_counters
from tests.bench.figures import Figures, Line, Row, cell, fit, in_turns, percentile, table
from tests.bench.load import Load, Way, read_wrk
from tests.bench.plot import panels, svg
from tests.bench.stopwatch import Stopwatch

from do_dcgm_exporter.config.counters import read_counter_set

THIS, BASE = ("this", "8 GPUs"), ("base", "8 GPUs")

WRK_REPORT = """\
Running 1s test @ http://127.0.0.1:9401/metrics
  1 threads and 4 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency   203.00us  300.00us   4.00ms   95.00%
    Req/Sec    11.21k     1.00k   12.00k    70.00%
  Latency Distribution
     50%  207.00us
     75%  250.00us
     90%  300.00us
     99%    3.70ms
  22420 requests in 2.10s, 3.20GB read
  Socket errors: connect 0, read 3, write 0, timeout 1
  Non-2xx or 3xx responses: 5
Requests/sec:  10676.19
Transfer/sec:      1.50GB
"""


class TestFigures:
    def test_ratios_are_taken_round_by_round(self):
        figures = Figures()
        for mine, theirs in ((1.0, 2.0), (9.0, 3.0)):
            figures.add("cycle", THIS, mine)
            figures.add("cycle", BASE, theirs)

        assert [0.5, 3.0] == figures.ratios("cycle", THIS, BASE)

    def test_a_ratio_to_nothing_is_left_out(self):
        figures = Figures()
        figures.add("errors", THIS, 1.0)
        figures.add("errors", BASE, 0.0)

        assert [] == figures.ratios("errors", THIS, BASE)

    def test_what_was_not_measured_has_no_median(self):
        figures = Figures()
        figures.add("cycle", THIS, 3.0)

        assert figures.median("cycle", THIS) == 3.0
        assert figures.median("cycle", BASE) is None
        assert figures.median("scrape", THIS) is None


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], "-"),
        ([2.0], "2.00"),
        ([4.0, 4.0, 4.0], "4.00"),
        ([3.0, 4.0, 6.0], "4.00 ±38%"),
        ([0.0, 0.0, 7.0], "0.00"),
    ],
)
def test_a_cell_is_the_median_and_half_the_range(values, expected):
    assert expected == cell(values, "{:.2f}")


def test_a_table_leaves_out_rows_without_a_figure():
    values = {"cycle, ms": "4.41 ±3%", "scrape, ms": "-"}
    columns = {
        ("8 GPUs", "default"): lambda row: values[row.name],
        ("hgx",): lambda _: "-",
    }

    lines = table([Row("cycle, ms"), Row("scrape, ms")], columns)

    assert [
        "             8 GPUs  hgx",
        "            default",
        "cycle, ms  4.41 ±3%    -",
    ] == lines


def test_a_line_is_fitted():
    assert Line(at_zero=1.0, slope=2.0) == fit([(0, 1), (1, 3), (2, 5)])


def test_to_be_first_is_taken_in_turns():
    assert [(1, 2), (2, 1), (1, 2)] == list(in_turns([1, 2], 3))


@pytest.mark.parametrize(("share", "expected"), [(0.0, 1), (0.5, 3), (0.99, 4), (1.0, 4)])
def test_a_percentile_is_one_of_the_values(share, expected):
    assert expected == percentile([1, 2, 3, 4], share)


class TestWrk:
    def test_its_report_is_read(self):
        assert Load(207e-6, 3.7e-3, 22420, 2.1, errors=9) == read_wrk(WRK_REPORT)

    def test_requests_per_second_are_those_of_the_time_it_really_took(self):
        assert round(read_wrk(WRK_REPORT).per_second) == 10676

    def test_another_text_is_an_error(self):
        with pytest.raises(ValueError, match="unable to connect"):
            read_wrk("unable to connect to 127.0.0.1:9401 Connection refused")


@pytest.mark.parametrize(
    ("way", "name", "headers"),
    [
        (Way(), "4 conn.", b""),
        (Way(1, gzip=True), "1 conn., gzip", b"Accept-Encoding: gzip\r\n"),
        (Way(64, keep_alive=False), "64 conn., closing", b"Connection: close\r\n"),
    ],
)
def test_a_way_of_scraping_has_a_name_and_a_request(way, name, headers):
    assert name == way.name
    assert b"GET /metrics HTTP/1.1\r\nHost: bench\r\n" + headers + b"\r\n" == way.request


class TestStopwatch:
    @staticmethod
    def ticking():
        """A stopwatch whose clocks a test turns."""
        now = [0.0]
        watch = Stopwatch(wall_clock=lambda: now[0], cpu_clock=lambda: now[0] / 2)
        return watch, lambda seconds: now.__setitem__(0, now[0] + seconds)

    def test_an_inner_section_stops_the_outer_one(self):
        watch, pass_time = self.ticking()
        inner = watch.timed("inner", lambda: pass_time(5.0))

        def work():
            pass_time(1.0)
            inner()
            pass_time(2.0)

        watch.timed("outer", work)()

        assert watch.wall == {"outer": 3.0, "inner": 5.0}
        assert watch.cpu == {"outer": 1.5, "inner": 2.5}

    def test_time_between_two_sections_is_nobodys(self):
        watch, pass_time = self.ticking()
        timed = watch.timed("section", lambda: pass_time(1.0))

        timed()
        pass_time(100.0)
        timed()

        assert watch.wall == {"section": 2.0}

    def test_a_section_ends_with_an_error(self):
        watch, pass_time = self.ticking()

        def fail():
            pass_time(1.0)
            raise KeyError

        with pytest.raises(KeyError):
            watch.timed("section", fail)()
        pass_time(100.0)

        assert watch.wall == {"section": 1.0}

    def test_what_a_revision_does_not_have_is_not_timed(self):
        watch, _ = self.ticking()

        watch.time_attribute("section", Way, "no_such_function")

        assert not hasattr(Way, "no_such_function")


def test_many_counters_are_as_many_fields_as_promised(tmp_path):
    path = tmp_path / "many.csv"
    path.write_text(many_counters())

    counters = read_counter_set(path, ()).counters

    assert MANY_FIELDS == len({counter.field.id for counter in counters if counter.field})


def test_a_machine_is_cut_gpu_by_gpu():
    cuts = {machine.name: len(machine.cuts()) for machine in MACHINES}

    assert cuts == {"1 GPU": 0, "8 GPUs": 0, "56 MIG": 8, "hgx": 0, "grace": 0}


MEASURED = {
    "samples": {"this | one": [100.0], "this | two": [300.0, 100.0, 500.0]},
    "page, kB": {"this | one": [20.0], "this | two": [60.0]},
    "cycle CPU, ms": {"this | one": [2.0], "this | two": [3.0]},
    "RSS after start, MB": {"this | one": [30.0], "this | two": [32.0]},
    "4 conn.: CPU per scrape, µs": {
        "this | one": [10.0],
        "this | two": [20.0],
        "bare | one": [8.0],
        "bare | two": [18.0],
        "prometheus_client | two": [7000.0],
    },
}


class TestPlot:
    def test_slopes_are_those_of_the_medians(self):
        cycle, scrape, memory = panels(MEASURED)

        assert cycle.series[0].name == "5.0 µs per sample"
        assert scrape.series[0].name == "this exporter, 0.25 µs per kB"
        assert memory.series[0].name == "10.0 MB per 1,000 samples"

    def test_yardsticks_stand_above_this_programs_pages(self):
        _, scrape, _ = panels(MEASURED)

        assert [(20.0, 8.0), (60.0, 18.0)] == scrape.series[1].points

    def test_it_is_an_svg_with_every_point_and_the_caption(self):
        drawn = ElementTree.fromstring(svg(panels(MEASURED), "measured on <2> cores"))

        names = [element.tag.rpartition("}")[2] for element in drawn.iter()]
        assert names[0] == "svg"
        assert names.count("circle") == 8
        assert "measured on <2> cores" in "".join(drawn.itertext())
