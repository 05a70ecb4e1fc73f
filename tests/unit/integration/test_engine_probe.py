"""Asking the engine in a child process, whatever it does."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.builders import Bench

import dcgm_simulator
from do_dcgm_exporter.dcgm.engine_address import EngineAddress
from do_dcgm_exporter.dcgm.engine_answer import Condition, EngineAnswer, Profiling
from do_dcgm_exporter.integration.host import ENGINE_SERVICE
from do_dcgm_exporter.integration.looking import engine_probe, systemd
from do_dcgm_exporter.integration.looking.configuration import IntegrationSettings
from do_dcgm_exporter.integration.looking.engine_probe import ask_engine
from do_dcgm_exporter.integration.looking.systemd import UnitView

StartBench = Callable[..., Bench]
BINDINGS = dcgm_simulator.bindings_directory()


def address_of(bench: Bench) -> EngineAddress:
    host, _, port = bench.engine.address.rpartition(":")
    return EngineAddress(host, int(port))


def test_an_engine_says_who_it_is(bench: StartBench, monkeypatch: pytest.MonkeyPatch) -> None:
    started = bench("h100x8", "4.5.3")
    monkeypatch.setenv("DCGM_SIMULATOR_VERSION", "4.5.3")
    answer = ask_engine(address_of(started), BINDINGS, 60.0)
    assert EngineAnswer(
        Condition.ANSWERS, "", "4.5.3", "4.5.3", 8, Profiling.WORKS, simulated=True
    ) == answer  # fmt: skip
    assert (True, 4) == (answer.answers, answer.major)


@pytest.mark.parametrize(
    ("engine", "client", "word"),
    [("3.3.9", "4.6.0", "restart nvidia-dcgm"), ("4.6.0", "3.3.9", "restart do-dcgm-exporter"),
     ("4.5.3", "4.6.0", "restart nvidia-dcgm")],
)  # fmt: skip
def test_versions_that_do_not_fit_are_told(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch, engine: str, client: str, word: str
) -> None:
    started = bench("h100x1", engine)
    monkeypatch.setenv("DCGM_SIMULATOR_VERSION", client)
    answer = ask_engine(address_of(started), BINDINGS, 60.0)
    assert (Condition.DOES_NOT_FIT, client, engine) == (
        answer.condition, answer.client, answer.engine
    )  # fmt: skip
    assert word in answer.reason
    # An exporter with a library of its own may well fit.
    assert answer.answers


def test_an_engine_without_a_driver_still_tells_its_release(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = bench("no-nvml", "4.6.0")
    monkeypatch.setenv("DCGM_SIMULATOR_VERSION", "4.6.0")
    answer = ask_engine(address_of(started), BINDINGS, 60.0)
    assert (Condition.NO_DRIVER, "4.6.0") == (answer.condition, answer.engine)


def test_missing_profiling_is_told(bench: StartBench, monkeypatch: pytest.MonkeyPatch) -> None:
    started = bench("a100-no-prof", "4.6.0")
    monkeypatch.setenv("DCGM_SIMULATOR_VERSION", "4.6.0")
    answer = ask_engine(address_of(started), BINDINGS, 60.0)
    assert (Condition.ANSWERS, Profiling.NOT_LOADED) == (answer.condition, answer.profiling)


def test_nobody_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed_soon:
        port = closed_soon.getsockname()[1]
    answer = ask_engine(EngineAddress("127.0.0.1", port), BINDINGS, 60.0)
    assert Condition.ABSENT is answer.condition
    assert str(port) in answer.reason
    assert not answer.answers


def test_one_that_accepts_and_never_answers_hangs() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = EngineAddress("127.0.0.1", silent.getsockname()[1])
        answer = ask_engine(address, BINDINGS, 3.0)
    assert Condition.HUNG is answer.condition
    assert "within 3 s" in answer.reason


def test_without_bindings_nobody_can_ask(tmp_path: Path) -> None:
    answer = ask_engine(EngineAddress(), tmp_path, 60.0)
    assert Condition.NO_CLIENT is answer.condition
    assert str(tmp_path) in answer.reason


# --- engines that start ------------------------------------------------------------------


def engine_unit(active: str) -> UnitView:
    return UnitView(
        name=ENGINE_SERVICE, load_state="loaded", active_state=active,
        sub_state="", file_state="", fragment="", drop_ins=(), type="", commands=(),
        environment={}, environment_files=(), restarts=0,
    )  # fmt: skip


def asked(
    monkeypatch: pytest.MonkeyPatch, active: str, *conditions: Condition
) -> tuple[Condition, int]:
    """Return the answer in the end, and how often was asked."""
    answers = [EngineAnswer(condition) for condition in conditions]
    times: list[int] = []

    def ask(*_: object) -> EngineAnswer:
        times.append(1)
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr(engine_probe, "ask_engine", ask)
    monkeypatch.setattr(systemd, "view", lambda _: engine_unit(active))
    clock = iter(range(1000))
    answer = engine_probe.ask_starting_engine(
        IntegrationSettings(), sleep=lambda _: None, clock=lambda: next(clock)
    )
    return answer.condition, len(times)


def test_an_engine_whose_unit_starts_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = (Condition.ABSENT, Condition.ABSENT, Condition.ANSWERS)
    assert (Condition.ANSWERS, 3) == asked(monkeypatch, "activating", *answers)


def test_but_not_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    condition, times = asked(monkeypatch, "active", Condition.ABSENT)
    assert Condition.ABSENT is condition
    assert 10 < times < 100


@pytest.mark.parametrize(
    ("active", "condition"),
    [("inactive", Condition.ABSENT), ("failed", Condition.ABSENT), ("active", Condition.HUNG)],
)
def test_others_are_asked_once(
    monkeypatch: pytest.MonkeyPatch, active: str, condition: Condition
) -> None:
    assert (condition, 1) == asked(monkeypatch, active, condition)


ENGINES_UNIT = engine_unit("inactive")


@pytest.mark.parametrize(
    ("choice", "changes", "expected"),
    [
        ("nvidia", {}, True),
        ("ours", {}, True),
        ("none", {}, False),
        ("none", {"file_state": "enabled"}, True),
        ("none", {"active_state": "activating"}, True),
        ("none", {"active_state": "activating", "sub_state": "auto-restart"}, True),
        ("nvidia", {"active_state": "failed"}, False),
        ("nvidia", {"load_state": "masked"}, False),
        ("nvidia", {"load_state": "not-found"}, False),
    ],
)
def test_whether_an_absent_engine_will_come(
    choice: str, changes: dict[str, str], expected: bool
) -> None:
    assert expected is engine_probe.is_expected(replace(ENGINES_UNIT, **changes), choice)
