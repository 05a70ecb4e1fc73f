"""A few cycles without a server, for a person who waits."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from tests.builders import Bench, configuration, counter_set, settings

from dcgm_simulator import bindings_directory
from do_dcgm_exporter.collect.result import CycleResult
from do_dcgm_exporter.collect.session import Session
from do_dcgm_exporter.commands.engine_check import engine_findings
from do_dcgm_exporter.commands.once import NotHealthy, run_once
from do_dcgm_exporter.commands.one_shot import read_once
from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.device_selection import parse_device_selection
from do_dcgm_exporter.config.settings import Configuration, Settings
from do_dcgm_exporter.dcgm.bindings import BindingsError
from do_dcgm_exporter.dcgm.call_count import CallCount
from do_dcgm_exporter.dcgm.errors import EngineUnavailable, NvmlNotLoaded

StartBench = Callable[..., Bench]
PATIENCE = 120  # seconds; only ever waited out by a failure
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP, gauge, x"
SM_ACTIVE = "DCGM_FI_PROF_SM_ACTIVE, gauge, x"


def settings_for(bench: Bench, **changes: object) -> Settings:
    address = parse_engine_address(bench.engine.address)
    return settings(**({"engine": address, "dcgm_bindings": bindings_directory()} | changes))


def configured(bench: Bench, *lines: str, **changes: object) -> Configuration:
    return Configuration(settings_for(bench, **changes), counter_set(*lines))


def test_what_was_found_outlives_the_connection(bench: StartBench) -> None:
    engine, calls = bench(), CallCount()
    found = read_once(configured(engine, TEMPERATURE), calls)
    assert ["DCGM_FI_DEV_GPU_TEMP"] == [f.name for f in found.result.snapshot.families]
    assert [0] == [gpu.id for gpu in found.session.topology.gpus]
    assert [] == engine.engine.control("status")["connections"]
    assert calls.calls > 5


def test_profiling_values_are_waited_for(bench: StartBench) -> None:
    engine = bench()
    found = read_once(configured(engine, SM_ACTIVE), CallCount(), sleep=engine.pass_time)
    assert ["DCGM_FI_PROF_SM_ACTIVE"] == [f.name for f in found.result.snapshot.families]


def test_values_that_never_come_are_not_waited_for(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("do_dcgm_exporter.commands.one_shot._LONGEST_WARM_UP", 0.0)
    found = read_once(configured(bench(), SM_ACTIVE, TEMPERATURE), CallCount())
    assert found.result.warming_up
    assert ["DCGM_FI_DEV_GPU_TEMP"] == [f.name for f in found.result.snapshot.families]


def test_an_engine_that_is_away_is_an_error_at_once() -> None:
    nowhere = parse_engine_address("unix:///nowhere")
    absent = configuration(TEMPERATURE, engine=nowhere, dcgm_bindings=bindings_directory())
    with pytest.raises(EngineUnavailable, match="there is no socket at /nowhere"):
        read_once(absent, CallCount())


def test_bindings_that_are_away_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("do_dcgm_exporter.dcgm.bindings.SEARCH_PATH", ())
    with pytest.raises(BindingsError):
        read_once(configuration(TEMPERATURE), CallCount())


def test_an_engine_that_hangs_is_not_waited_for_for_ever(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    leave = threading.Event()

    def hang(_session: Session, _now: float) -> CycleResult:
        leave.wait(PATIENCE)
        raise EngineUnavailable("too late")

    monkeypatch.setattr("do_dcgm_exporter.commands.one_shot._LONGEST", 0.01)
    monkeypatch.setattr(Session, "read", hang)
    engine = bench()
    with pytest.raises(EngineUnavailable) as caught:
        read_once(configured(engine, TEMPERATURE), CallCount())
    leave.set()
    assert f"the engine at {engine.engine.address} did not answer for 0.01 s" == str(caught.value)


def test_a_bug_is_raised_where_somebody_sees_it(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_session: Session, _now: float) -> CycleResult:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Session, "read", fail)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        read_once(configured(bench(), TEMPERATURE), CallCount())


# --once.


def test_once_prints_a_page(bench: StartBench, capsysbinary: pytest.CaptureFixture[bytes]) -> None:
    engine = bench()
    assert 0 == run_once(configured(engine, TEMPERATURE))
    page = capsysbinary.readouterr().out.decode()
    assert page.startswith("# HELP DCGM_FI_DEV_GPU_TEMP x\n")
    assert "\ndo_dcgm_exporter_hostengine_up 1\n" in page
    assert page.endswith("\n")


def test_once_prints_what_there_is_and_fails_when_that_is_not_whole(
    bench: StartBench, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    engine = bench("h100x8")
    engine.engine.control("lose-gpu", "3")
    with pytest.raises(NotHealthy, match="the driver has lost GPU 3"):
        run_once(configured(engine, TEMPERATURE))
    page = capsysbinary.readouterr().out.decode()
    assert 7 == page.count("\nDCGM_FI_DEV_GPU_TEMP{")
    assert 1 == NotHealthy.exit_status


def test_once_prints_nothing_without_a_driver(
    bench: StartBench, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    with pytest.raises(NvmlNotLoaded):
        run_once(configured(bench("no-nvml"), TEMPERATURE))
    assert b"" == capsysbinary.readouterr().out


# --check-config: what this machine does not have.


def unsupported(bench: Bench, *lines: str) -> dict[str, str]:
    return dict(engine_findings(configured(bench, *lines)).unsupported)


def test_a_counter_without_a_value_says_why(bench: StartBench) -> None:
    found = unsupported(
        bench("h100x8"),
        TEMPERATURE,
        "DCGM_FI_DEV_FAN_SPEED, gauge, x",
        "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT, gauge, x",
    )
    assert {
        "DCGM_FI_DEV_FAN_SPEED": "no GPU of this host has a value for it",
        "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT": "this host has no NvSwitch",
    } == found


def test_a_label_without_a_value_is_unsupported_too(bench: StartBench) -> None:
    lines = (
        "DCGM_FI_DRIVER_VERSION, label, x",
        "DCGM_FI_DEV_PLATFORM_CHASSIS_SERIAL_NUMBER, label, x",
    )
    assert {
        "DCGM_FI_DEV_PLATFORM_CHASSIS_SERIAL_NUMBER": "no GPU of this host has a value for it"
    } == unsupported(bench("h100x8"), TEMPERATURE, *lines)


def test_what_the_device_options_leave_out_is_said_to_be_left_out(bench: StartBench) -> None:
    switches = parse_device_selection("i")
    switch = "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT, gauge, x"
    found = engine_findings(configured(bench("hgx"), TEMPERATURE, switch, switches=switches))
    assert {
        "DCGM_FI_DEV_NVSWITCH_TEMPERATURE_CURRENT": "no NvSwitch is selected (-s)"
    } == found.unsupported


def test_what_may_have_no_series_yet_is_not_unsupported(bench: StartBench) -> None:
    lines = (
        "DCGM_FI_DRIVER_VERSION, label, x",
        "DCGM_FI_DEV_XID_ERRORS, gauge, x",
        "DCGM_EXP_XID_ERRORS_COUNT, gauge, x",
        "DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS, gauge, x",
        "DCGM_EXP_CLOCK_EVENTS_COUNT, gauge, x",
        "DCGM_EXP_GPU_HEALTH_STATUS, gauge, x",
        "DCGM_EXP_P2P_STATUS, gauge, x",
    )
    assert {} == unsupported(bench("h100x8"), *lines)


def test_a_special_that_a_machine_cannot_tell_is_named(bench: StartBench) -> None:
    found = unsupported(bench("h100x1"), "DCGM_EXP_P2P_STATUS, gauge, x")
    assert {"DCGM_EXP_P2P_STATUS": "this machine or its DCGM does not have it"} == found


def test_a_field_that_an_engine_does_not_know_is_said_to_be_unknown(
    bench: StartBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = bench("h100x1", "3.3.9")
    monkeypatch.setattr(
        "do_dcgm_exporter.commands.one_shot.load_bindings", lambda _directory: engine.bindings
    )
    newer = "DCGM_FI_DEV_CLOCKS_EVENT_REASON_SW_POWER_CAP_NS"
    found = unsupported(engine, f"{newer}, counter, x")
    assert "DCGM 3.3.9 does not know this field" == found[newer]


def test_a_field_that_has_to_be_computed_says_from_what(bench: StartBench) -> None:
    lines = ("DCGM_FI_DEV_FB_USED_BYTES, gauge, x", "DCGM_FI_DEV_ENC_UTIL_RATIO, gauge, x")
    found = engine_findings(configured(bench("h100x1", "4.6.0"), TEMPERATURE, *lines))
    assert {} == found.unsupported
    assert {
        "DCGM_FI_DEV_FB_USED_BYTES": (
            "DCGM 4.6.0 lacks it: computed from field 252 (MiB) times 1048576"
        ),
        "DCGM_FI_DEV_ENC_UTIL_RATIO": (
            "DCGM 4.6.0 lacks it: computed from field 206 (%) divided by 100"
        ),
    } == found.computed


def test_without_an_engine_nothing_can_be_said() -> None:
    nowhere = configuration(
        TEMPERATURE,
        engine=parse_engine_address("unix:///nowhere"),
        dcgm_bindings=bindings_directory(),
    )
    with pytest.raises(EngineUnavailable, match="no socket at /nowhere"):
        engine_findings(nowhere)
