"""What the command says, to people and to the journal."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from do_dcgm_exporter.integration.changing.running import Level
from do_dcgm_exporter.integration.cli import tell


def test_people_read_what_was_done_and_apart_what_went_wrong(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Inherited from a service that has started a shell.
    monkeypatch.setenv("JOURNAL_STREAM", "9:12345")
    monkeypatch.setattr(os, "getppid", lambda: 4711)
    tell(Level.INFO, "done")
    tell(Level.WARNING, "not done")
    assert ("done\n", "do-dcgm-exporter-integrate: not done\n") == capsys.readouterr()


def test_the_journal_reads_how_important_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("JOURNAL_STREAM", "9:12345")
    monkeypatch.setattr(os, "getppid", lambda: 1)  # systemd's
    with (tmp_path / "journal").open("w") as journal:
        monkeypatch.setattr(sys, "stdout", journal)
        monkeypatch.setattr(sys, "stderr", journal)
        tell(Level.INFO, "done")
        tell(Level.WARNING, "not done")
    assert "<6>done\n<4>not done\n" == (tmp_path / "journal").read_text()


def test_a_listener_that_has_left_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        tell(Level.INFO, "done")
        tell(Level.INFO, "done")


def test_neither_does_a_full_disk_or_a_closed_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        tell(Level.INFO, "done")
    monkeypatch.setattr(sys, "stderr", None)
    tell(Level.WARNING, "not done")
