"""The count of DCGMs inside other programs: from the file of the root oneshot to the page."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from tests.builders import NOW, Clock

from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.page.embedded_dcgm import EmbeddedDcgm
from do_dcgm_exporter.page.forwarding import ForwardStatistics
from do_dcgm_exporter.page.own_metrics import Telemetry

FAMILY = "do_dcgm_exporter_embedded_dcgm_processes"


@pytest.fixture
def clock() -> Clock:
    return Clock(NOW)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return tmp_path / "embedded-dcgm.json"


@pytest.fixture
def embedded(report: Path, clock: Clock) -> EmbeddedDcgm:
    return EmbeddedDcgm(report, clock=clock)


def write(report: Path, owners: Sequence[str] | None, time: float = NOW) -> None:
    """Write a report as the tool does, each in a new file."""
    processes = None if owners is None else [{"pid": 1, "command": "x", "of": o} for o in owners]
    new = report.with_name("new")
    new.write_text(json.dumps({"time": time, "processes": processes}))
    new.replace(report)


def samples(embedded: EmbeddedDcgm) -> list[float]:
    telemetry = Telemetry(CallCount(), ForwardStatistics(), embedded)
    return [
        sample.value
        for family in telemetry.collect()
        for sample in family.samples
        if family.name == FAMILY
    ]


def test_without_a_report_there_is_no_family(embedded: EmbeddedDcgm) -> None:
    assert [] == samples(embedded)


def test_what_was_counted_is_shown(embedded: EmbeddedDcgm, report: Path) -> None:
    write(report, ["a.service", "b.service"])
    assert [2.0] == samples(embedded)


def test_none_is_a_number_and_unknown_is_not(embedded: EmbeddedDcgm, report: Path) -> None:
    write(report, [])
    assert [0.0] == samples(embedded)
    write(report, None)
    assert [] == samples(embedded)


def test_a_report_older_than_fifteen_minutes_is_dropped(
    embedded: EmbeddedDcgm, report: Path, clock: Clock
) -> None:
    write(report, ["a.service"])
    clock.now = NOW + 900
    assert [1.0] == samples(embedded)
    clock.now = NOW + 901
    assert [] == samples(embedded)


def test_a_report_from_the_future_is_dropped(embedded: EmbeddedDcgm, report: Path) -> None:
    write(report, ["a.service"], NOW + 3600)
    assert [] == samples(embedded)


def test_a_new_report_replaces_the_old_one(embedded: EmbeddedDcgm, report: Path) -> None:
    write(report, ["a.service"])
    assert 1 == embedded.count()
    write(report, [])
    assert 0 == embedded.count()
    report.unlink()
    assert embedded.count() is None


def test_an_unchanged_report_is_not_read_again(embedded: EmbeddedDcgm, report: Path) -> None:
    write(report, ["a.service"])
    status = report.stat()
    assert 1 == embedded.count()
    report.write_text("[]")
    os.utime(report, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert 1 == embedded.count()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"time": "x", "processes": []}',
        '{"time": 1, "processes": [1]}',
        f'{{"time": 1{"0" * 400}, "processes": []}}',
        "[" * 50_000,
    ],
    ids=["empty", "list", "no keys", "no time", "no process", "no such time", "too deep"],
)
def test_a_report_of_another_shape_is_told_and_not_shown(
    embedded: EmbeddedDcgm, report: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    report.write_text(text)
    assert embedded.count() is None
    assert embedded.count() is None
    assert 1 == caplog.text.count("cannot understand")


def test_each_change_is_logged_once(
    embedded: EmbeddedDcgm, report: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    for owners in (["b.service", "a.service"], ["a.service", "b.service"], [], []):
        write(report, owners)
        embedded.count()
    assert [
        "another DCGM runs in a.service, b.service: see do-dcgm-exporter-integrate check",
        "no other DCGM runs on this machine any more",
    ] == caplog.messages
