"""The engine is absent, dies, returns, refuses, or is not fit: the exporter says so and lives."""

from __future__ import annotations

import socket

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import Exporter
from tests.waiting import wait_until

from dcgm_simulator.process import SimulatedEngine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_without_an_engine_the_page_is_valid_and_the_health_says_why(stage: Stage) -> None:
    port = free_port()
    exporter = stage.exporter(f"127.0.0.1:{port}", collect_interval=1000)
    page = wait_until(
        lambda: "no engine answers" in exporter.health()[1] and exporter.page(), "the reason"
    )
    assert exporter.health()[0] == 503
    assert f"no engine answers at 127.0.0.1:{port}" in exporter.health()[1]
    assert page.own("hostengine_up") == 0
    assert page.own("gpus") == 0
    assert page.own("last_success_timestamp_seconds") == 0
    assert not page.dcgm
    assert exporter.get("/-/ready").status == 503
    assert exporter.get("/-/healthy").status == 200

    engine = stage.engine(port=port)
    exporter.wait_until_up()
    assert exporter.health() == (200, "OK")
    assert exporter.get("/-/ready").status == 200
    assert engine.control("status")["connections"]


def test_before_the_first_cycle_the_page_is_valid(stage: Stage) -> None:
    """Nothing ever answers at this engine's address, so the first cycle does not end."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        exporter = stage.exporter(f"127.0.0.1:{silent.getsockname()[1]}")
        assert not exporter.page().dcgm
        assert exporter.page().own("hostengine_up") == 0
        assert exporter.health()[0] == 503


def test_an_engine_that_dies_20_times_is_followed_each_time(
    stage: Stage, engine: SimulatedEngine
) -> None:
    exporter = stage.exporter(engine, collect_interval=400)
    exporter.wait_until_up()
    descriptors, threads = 0, 0
    for number in range(20):
        engine.kill()
        exporter.wait_until_down()
        engine.restart()
        exporter.wait_until_up()
        if number == 2:
            descriptors, threads = exporter.descriptors(), exporter.threads()
    assert exporter.is_running
    exporter.wait_until_no_more_than(descriptors, threads, spare=2)
    status = engine.control("status")
    assert len(status["connections"]) == 1
    # One line when it was lost and one when it was back, each time.
    assert len(exporter.log_lines(" collecting")) == 21
    assert len(exporter.log_lines(" WARNING no engine answers")) <= 20


def test_an_engine_that_stays_away_is_not_logged_again_and_again(
    exporter: Exporter, engine: SimulatedEngine
) -> None:
    def complaints() -> list[str]:
        lines = (line.partition(" WARNING ")[2] for line in exporter.log_lines(" WARNING "))
        return [line for line in lines if "made up" not in line]

    engine.kill()
    # A dying engine may still accept a connection, and more may be said before.
    wait_until(lambda: exporter.log_lines(" WARNING no engine answers"), "it has been told")
    told, calls = complaints(), exporter.page().own("engine_calls_total")
    wait_until(
        lambda: exporter.page().own("engine_calls_total") >= calls + 3, "it tries again and again"
    )
    assert complaints() == told
    assert len(told) == len(set(told))
    assert not exporter.log_lines(" ERROR ")


def test_a_dropped_connection_is_made_anew(exporter: Exporter, engine: SimulatedEngine) -> None:
    before = engine.control("status")["connections"]
    engine.control("drop")
    wait_until(
        lambda: engine.control("status")["connections"] not in ([], before), "another connection"
    )
    exporter.wait_until_up()
    assert len(engine.control("status")["connections"]) == 1


def test_an_engine_that_refuses_connections_is_away(
    exporter: Exporter, engine: SimulatedEngine
) -> None:
    engine.control("refuse")
    exporter.wait_for_cycles(2)  # a connection that exists goes on
    engine.control("drop")
    wait_until(lambda: "no engine answers" in exporter.health()[1], "the reason")
    assert exporter.is_down()
    engine.control("resume")
    exporter.wait_until_up()


def test_an_engine_without_nvml_is_named(stage: Stage) -> None:
    exporter = stage.exporter(stage.engine("no-nvml"))
    wait_until(lambda: "NVML" in exporter.health()[1], "the reason")
    assert exporter.health()[0] == 503
    page = exporter.page()
    assert page.own("gpus") == 0
    assert page.own("hostengine_up") == 1  # the engine answers, the driver does not
    assert not page.dcgm


@pytest.mark.parametrize(
    ("client", "engine", "remedy"),
    [
        ("4.6.0", "4.2.3", "restart nvidia-dcgm"),
        ("4.6.0", "3.3.9", "restart nvidia-dcgm"),
        ("3.3.9", "4.2.3", "restart do-dcgm-exporter"),
    ],
)
def test_sides_of_different_releases_are_named_with_the_remedy(
    stage: Stage, client: str, engine: str, remedy: str
) -> None:
    exporter = stage.exporter(
        stage.engine(version=engine), environ={"DCGM_SIMULATOR_VERSION": client}
    )
    wait_until(lambda: remedy in exporter.health()[1], "the remedy")
    status, reason = exporter.health()
    assert status == 503
    assert client in reason
    assert engine in reason
    assert exporter.is_down()


def test_an_engine_that_turns_into_another_release_is_named_and_followed_back(
    exporter: Exporter, engine: SimulatedEngine
) -> None:
    engine.control("skew", "4.2.3")
    wait_until(lambda: "running engine is 4.2.3" in exporter.health()[1], "the reason")
    assert "4.6.0" in exporter.health()[1]
    assert "restart nvidia-dcgm" in exporter.health()[1]
    assert exporter.is_down()
    engine.control("skew", "4.6.0")
    exporter.wait_until_up()


def test_bindings_that_do_not_load_are_named(stage: Stage, engine: SimulatedEngine) -> None:
    directory = stage.directory / "bindings"
    directory.mkdir()
    (directory / "dcgm_structs.py").write_text("import no_such_module\n")
    exporter = stage.exporter(engine, dcgm_bindings=directory)
    wait_until(lambda: "do not import" in exporter.health()[1], "the reason")
    assert f"the bindings in {directory}" in exporter.health()[1]


def test_a_socket_that_is_not_there_is_named(stage: Stage) -> None:
    exporter = stage.exporter("unix:///nonexistent/dcgm.sock")
    wait_until(lambda: "there is no socket" in exporter.health()[1], "the reason")
    assert "/nonexistent/dcgm.sock" in exporter.health()[1]


def test_an_engine_on_a_socket_works_as_well(stage: Stage) -> None:
    path = stage.directory / "dcgm.sock"
    stage.engine(domain_socket=path)
    stage.exporter(f"unix://{path}").wait_until_up()


def test_an_ipv6_engine_works_with_dcgm_4_and_is_a_named_error_with_3(stage: Stage) -> None:
    engine = stage.engine(host="::1")
    assert engine.address.startswith("[::1]:")
    stage.exporter(engine).wait_until_up()
    old = stage.exporter(engine, environ={"DCGM_SIMULATOR_VERSION": "3.3.9"})
    wait_until(lambda: "IPv6" in old.health()[1], "the reason")
    assert "127.0.0.1" in old.health()[1]
