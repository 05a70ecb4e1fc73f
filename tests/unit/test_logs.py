"""Log lines for people, for the journal and for machines."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest
from tests.builders import settings

from do_dcgm_exporter.config.settings import LogFormat
from do_dcgm_exporter.service.log_lines import set_up_logging

LOG = logging.getLogger("do_dcgm_exporter.test")


@pytest.fixture(autouse=True)
def root_logger(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the root logger as it was."""
    root, urllib3 = logging.getLogger(), logging.getLogger("urllib3")
    before = (root.handlers[:], root.level, urllib3.level)
    monkeypatch.delenv("JOURNAL_STREAM", raising=False)
    yield
    root.handlers[:], root.level, urllib3.level = before


def let_the_journal_read(monkeypatch: pytest.MonkeyPatch, stream: TextIO) -> None:
    """Set JOURNAL_STREAM as systemd does for a service that logs to ``stream``."""
    status = os.fstat(stream.fileno())
    monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")


def fail() -> None:
    try:
        int("a bug")
    except ValueError:
        LOG.exception("it failed")


def test_a_line_for_people_has_a_time(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(settings())
    LOG.warning("hello %s", "you")
    assert re.fullmatch(
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} WARNING hello you\n", capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.CRITICAL, "<2>"),
        (logging.ERROR, "<3>"),
        (logging.WARNING, "<4>"),
        (logging.INFO, "<6>"),
        (logging.DEBUG, "<7>"),
        (25, "<6>"),
    ],
)
def test_a_line_for_the_journal_has_a_priority(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, level: int, prefix: str
) -> None:
    let_the_journal_read(monkeypatch, sys.stderr)
    set_up_logging(settings(log_level="debug"))
    LOG.log(level, "hello")
    assert f"{prefix}hello\n" == capfd.readouterr().err


def test_a_terminal_of_a_service_is_not_the_journal(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with (tmp_path / "journal").open("w") as inherited:
        let_the_journal_read(monkeypatch, inherited)
        set_up_logging(settings())
        LOG.warning("hello")
    assert capfd.readouterr().err.endswith(" WARNING hello\n")


def test_every_line_of_a_traceback_has_its_priority(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    let_the_journal_read(monkeypatch, sys.stderr)
    set_up_logging(settings())
    fail()
    lines = capfd.readouterr().err.splitlines()
    assert ("<3>it failed", True) == (lines[0], lines[-1].startswith("<3>ValueError:"))
    assert all(line.startswith("<3>") for line in lines)


def test_json_is_one_object_per_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(settings(log_format=LogFormat.JSON))
    LOG.warning('hello "%s"', "GPU\nÜ")
    fail()
    first, second = map(json.loads, capsys.readouterr().err.splitlines())
    assert ["time", "level", "logger", "message"] == list(first)
    assert ("warning", "do_dcgm_exporter.test", 'hello "GPU\nÜ"') == (
        first["level"],
        first["logger"],
        first["message"],
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"])
    assert "ValueError: " in second["exception"]


@pytest.mark.parametrize(
    ("level", "shown"),
    [
        ("error", ["e"]),
        ("warning", ["e", "w"]),
        ("info", ["e", "w", "i"]),
        ("debug", ["e", "w", "i", "d"]),
    ],
)
def test_a_level_shows_what_is_as_important(
    capsys: pytest.CaptureFixture[str], level: str, shown: list[str]
) -> None:
    set_up_logging(settings(log_level=level))
    for log, text in ((LOG.error, "e"), (LOG.warning, "w"), (LOG.info, "i"), (LOG.debug, "d")):
        log(text)
    assert shown == [line.split()[-1] for line in capsys.readouterr().err.splitlines()]


def test_it_can_be_set_up_again(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logging(settings())
    set_up_logging(settings(log_format=LogFormat.JSON, log_level="error"))
    LOG.warning("not shown")
    LOG.error("shown once")
    assert ["shown once"] == [
        json.loads(line)["message"] for line in capsys.readouterr().err.splitlines()
    ]


def test_the_http_librarys_own_complaints_are_not_repeated(
    capsys: pytest.CaptureFixture[str],
) -> None:
    set_up_logging(settings(log_level="debug"))
    logging.getLogger("urllib3.connectionpool").warning("Retrying")
    assert "" == capsys.readouterr().err
