"""What does not come back as a client, and what cannot be changed or undone."""

from __future__ import annotations

import http.server
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.integration.conftest import ETC, UNIT, Machine, Page
from tests.unit.integration.runs import (
    CLIENT,
    DROP_IN,
    STATE,
    apply,
    falls,
    restarts,
    told,
    undo,
)

from do_dcgm_exporter.integration.looking.configuration import Choice

# --- exporters that do not come back -----------------------------------------------------


def test_one_that_does_not_come_back_is_put_back(refuser: Machine) -> None:
    before = refuser.files(), refuser.states()
    assert not apply(refuser)
    assert before[1] == refuser.states()
    files = refuser.files()
    assert "it exits as a client" in files.pop(f"{STATE}/refused/{UNIT}")
    assert before[0] == files
    assert "it exits as a client: journalctl" in told(refuser)
    assert "its drop-in was removed, and it runs as before" in told(refuser)
    undo(refuser)
    assert before == (refuser.files(), refuser.states())


def test_one_that_did_not_come_back_is_not_tried_again_and_again(refuser: Machine) -> None:
    apply(refuser)
    refuser.forget_asked()
    assert not apply(refuser)
    assert 0 == restarts(refuser)
    assert UNIT in told(refuser)


@pytest.mark.parametrize("reason", ["asked to", "changed"])
def test_one_that_did_not_come_back_is_tried_again(refuser: Machine, reason: str) -> None:
    apply(refuser)
    refuser.remove("stand-in/refuses")
    if reason == "changed":
        refuser.put_unit(UNIT, refuser.ports[0], "Restart=on-failure", enable=False)
        refuser.systemctl("daemon-reload")
    assert apply(refuser, retry=reason == "asked to")
    assert CLIENT == refuser.engine_of(UNIT)


def test_one_that_serves_no_metrics_is_put_back(exporter: Machine) -> None:
    before = exporter.files(), exporter.states()
    # As a client it listens where nobody answers.
    exporter.write("stand-in/serves-nothing-as-client", UNIT)
    assert not apply(exporter)
    assert "does not serve metrics" in told(exporter)
    undo(exporter)
    assert before == (exporter.files(), exporter.states())


def test_one_that_serves_less_than_before_is_put_back(exporter: Machine, empty_page: int) -> None:
    exporter.write("stand-in/port-as-client", f"{UNIT} {empty_page}")
    assert not apply(exporter)
    assert "does not serve metrics" in told(exporter)
    assert "embedded" == exporter.engine_of(UNIT)


@pytest.fixture
def empty_page() -> Iterator[int]:
    """A port that serves a page without metrics."""

    class Empty(Page):
        text = b""

    with http.server.HTTPServer(("127.0.0.1", 0), Empty) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_one_that_the_setting_does_not_reach_is_put_back(exporter: Machine) -> None:
    exporter.write("stand-in/ignores-settings", UNIT)
    assert not apply(exporter)
    assert "the setting does not reach it" in told(exporter)
    assert not exporter.exists(DROP_IN)


# --- what cannot be changed ----------------------------------------------------------------


@pytest.mark.parametrize("kind", ["file", "link"])
def test_one_that_cannot_be_changed_is_told_and_the_others_go_on(
    exporter: Machine, kind: str
) -> None:
    other = "other-exporter.service"
    exporter.put_unit(other, exporter.ports[1])
    exporter.systemctl("start", other)
    if kind == "file":
        exporter.write(f"{ETC}/{UNIT}.d", "mine")
    else:
        exporter.link(f"{ETC}/{UNIT}.d", "nowhere")
    assert not apply(exporter)
    sentence = f"{UNIT}: /{ETC}/{UNIT}.d is not a folder, so it gets no drop-in"
    assert [sentence] == [line for line in exporter.said if line.startswith(UNIT)]
    assert "embedded" == exporter.engine_of(UNIT)
    assert CLIENT == exporter.engine_of(other)
    assert undo(exporter)
    assert "embedded" == exporter.engine_of(other)


def test_restore_needs_no_room_on_the_disk(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = exporter.files(), exporter.states()
    apply(exporter)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert undo(exporter)
    assert before == (exporter.files(), exporter.states())


def test_restore_says_what_it_could_not_undo(
    exporter: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    apply(exporter)

    def read_only(*_: object) -> None:
        raise OSError(30, "Read-only file system")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "replace", read_only)
        patched.setattr(Path, "unlink", read_only)
        exporter.forget_asked()
        assert not undo(exporter)
    assert [f"{UNIT} cannot be changed: Read-only file system"] == exporter.said
    assert CLIENT == exporter.engine_of(UNIT)
    assert 0 == restarts(exporter)
    assert undo(exporter)
    assert "embedded" == exporter.engine_of(UNIT)


def test_restore_says_what_does_not_run_afterwards(exporter: Machine) -> None:
    apply(exporter)
    exporter.write("stand-in/fails", UNIT)
    assert not undo(exporter)
    assert f"{UNIT}: does not run as before: it exits at once: journalctl -u {UNIT}" in told(
        exporter
    )
    assert not exporter.exists(f"{ETC}/{UNIT}.d")


def test_one_that_waits_for_its_next_start_is_started_as_before(exporter: Machine) -> None:
    before = exporter.files()
    apply(exporter)
    exporter.write("stand-in/auto-restarts", UNIT)
    falls(exporter)
    assert "auto-restart" == exporter.run_of(UNIT)["sub"]
    exporter.remove("stand-in/refuses")
    assert undo(exporter)
    assert before == exporter.files()
    assert "embedded" == exporter.engine_of(UNIT)


def test_one_that_waits_for_its_next_start_is_stopped(exporter: Machine) -> None:
    apply(exporter)
    exporter.write("stand-in/auto-restarts", UNIT)
    falls(exporter)
    exporter.remove("stand-in/refuses")
    assert apply(exporter, Choice.STOP)
    assert "inactive" == exporter.run_of(UNIT)["active"]
    assert undo(exporter)
    assert "embedded" == exporter.engine_of(UNIT)
