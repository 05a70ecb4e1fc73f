"""The cycle when something fails: the engine, the driver, the program itself."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.builders import configuration
from tests.unit.agent.conftest import (
    TEMPERATURE,
    Begin,
    StartBench,
    StartProgram,
    configured_for,
    connections,
    program_of,
)

import dcgm_simulator
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.config.settings import Configuration
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.errors import EngineUnavailable
from do_dcgm_exporter.page.publication import Health


def away(tmp_path: Path, **changes: object) -> Configuration:
    """A configuration whose engine is refused without waiting."""
    return configuration(
        f"{TEMPERATURE}, gauge, x",
        engine=EngineAddress(socket_path=str(tmp_path / "nowhere")),
        dcgm_bindings=dcgm_simulator.bindings_directory(),
        **changes,
    )


@pytest.mark.parametrize(
    ("interval", "longest"), [(20.0, 10.0), (3600.0, 30.0), (1.0, 0.5), (0.1, 0.05)]
)
def test_retries_back_off_to_half_an_interval_with_jitter(
    tmp_path: Path, interval: float, longest: float
) -> None:
    program = program_of(None, away(tmp_path, collect_interval=interval))
    assert 0.0 == program.cycle()
    pauses = [program.cycle() for _ in range(14)]
    for attempt, pause in enumerate(pauses):
        full = min(longest, 0.5 * 2**attempt)
        assert 0.8 * full <= pause <= full, attempt
    assert len(pauses) == len(set(pauses))


def test_an_outage_says_why_once(tmp_path: Path) -> None:
    program = program_of(None, away(tmp_path))
    for _ in range(3):
        program.cycle()
    assert f"there is no socket at {tmp_path / 'nowhere'}" in program.reason
    assert 1 == len(program.healths)
    assert not program.is_up


def test_bindings_that_are_not_there_are_looked_for_again(
    tmp_path: Path, bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench()
    monkeypatch.setattr("do_dcgm_exporter.dcgm.bindings.SEARCH_PATH", (tmp_path / "bindings",))
    program = program_of(None, configured_for(engine))
    program.cycle()
    assert "install datacenter-gpu-manager-4-core" in program.reason
    (tmp_path / "bindings").symlink_to(dcgm_simulator.bindings_directory())
    program.cycle()
    assert ("", 1) == (program.reason, len(program.series(TEMPERATURE)))
    program.agent._close_session()


def test_an_engine_without_a_driver_is_up_and_not_healthy(begin: Begin) -> None:
    engine, program = begin("no-nvml")
    program.cycle()
    assert program.is_up
    assert "the engine runs without NVML" in program.reason
    assert {"": 0.0} == program.series("do_dcgm_exporter_gpus")
    assert 0 == connections(engine)


def test_a_killed_engine_takes_its_families_along_and_a_new_one_brings_them_back(
    begin: Begin,
) -> None:
    engine, program = begin("h100x8")
    program.cycle()
    engine.engine.kill()
    assert 0.0 == program.cycle()
    assert ({}, False) == (program.series(TEMPERATURE), program.is_up)
    assert "the connection to the engine is gone" in program.reason
    engine.restart()
    assert 20.0 == program.cycle()
    assert (8, True) == (len(program.series(TEMPERATURE)), program.is_up)


def test_a_lost_connection_is_made_anew_at_once(begin: Begin) -> None:
    engine, program = begin()
    for _ in range(3):
        program.cycle()
        engine.engine.control("drop")
        assert 0.0 == program.cycle()


def test_only_the_first_attempt_comes_at_once(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_session: Session, _now: float) -> CycleResult:
        raise EngineUnavailable("it answers to be connected and to nothing else")

    program = start(bench())
    program.cycle()
    monkeypatch.setattr(Session, "read", fail)
    assert 0.0 == program.cycle()
    assert 0.4 <= program.cycle() <= 0.5
    assert 0.8 <= program.cycle() <= 1.0


def test_an_unexpected_error_is_an_outage_like_any_other(
    begin: Begin,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine, program = begin()
    program.cycle()

    def fail(_session: Session, _now: float) -> CycleResult:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr(Session, "read", fail)
        assert 0.0 == program.cycle()
    assert "internal error: ZeroDivisionError('a bug')" == program.reason
    assert ({}, 0) == (program.series(TEMPERATURE), connections(engine))
    assert "internal error in a cycle" in caplog.messages
    program.cycle()
    assert ("", 1) == (program.reason, connections(engine))


def test_an_unexpected_error_while_publishing_is_one_too(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, program = begin()
    program.cycle()

    def fail(*_arguments: object) -> Health:
        raise ZeroDivisionError("a bug")

    with monkeypatch.context() as patched:
        patched.setattr("do_dcgm_exporter.service.agent.health_of", fail)
        assert 0.0 == program.cycle()
    assert "internal error: ZeroDivisionError('a bug')" == program.reason
    program.cycle()
    assert "" == program.reason


def test_a_host_name_that_is_no_utf_8_is_shown_nevertheless(
    bench: StartBench, start: StartProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "droplet\udcff")
    program = start(bench())
    program.cycle()
    assert ("", True) == (program.reason, program.is_up)
    (labels,) = program.series(TEMPERATURE)
    assert "Hostname=droplet?" in labels


def test_a_changed_host_name_shows_in_the_next_cycle(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, program = begin()
    for name in ("gpu-1", "gpu-2"):
        monkeypatch.setattr("socket.gethostname", lambda name=name: name)
        program.cycle()
        (labels,) = program.series(TEMPERATURE)
        assert f"Hostname={name}" in labels
    assert 1 == connections(engine)


def test_what_was_set_up_in_vain_is_given_back(
    begin: Begin, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, program = begin()

    def fail(*_arguments: object) -> Session:
        raise ZeroDivisionError

    monkeypatch.setattr("do_dcgm_exporter.service.agent.open_session", fail)
    for _ in range(3):
        program.cycle()
    assert 0 == connections(engine)
