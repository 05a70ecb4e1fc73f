"""--simulate: an exporter with an engine of its own."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import (
    ETC,
    Exporter,
    command_without,
    flags_for,
    run,
)
from tests.e2e.pages import Page
from tests.waiting import STOP_LIMIT, wait_until

from dcgm_simulator.versions import VERSION_VARIABLE

TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"


def simulate(stage: Stage, *flags: str, **settings: object) -> Exporter:
    """Start an exporter with an engine of its own."""
    return stage.exporter("127.0.0.1:1", flags=("--simulate", *flags), **settings)


def engine_of(exporter: Exporter) -> int:
    children = Path(f"/proc/{exporter.process.pid}/task/{exporter.process.pid}/children")
    return int(children.read_text())


def is_running(pid: int) -> bool:
    """Whether a process lives; a zombie, which nobody may be there to collect, does not."""
    try:
        return ") Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


def test_simulate_shows_eight_gpus_and_forwards_nothing(stage: Stage) -> None:
    # 0.0.0.0 leads to this machine, but nobody can see from the URL that it does.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://0.0.0.0:{listener.getsockname()[1]}/"
        exporter = simulate(
            stage, forward="true", forward_url=url, forward_interval=200, collect_interval=300
        )
        page = exporter.wait_until_up()
        assert page.own("gpus") == 8
        assert page.label_values(TEMPERATURE, "modelName") == {"NVIDIA H100 80GB HBM3 (simulated)"}
        exporter.wait_for_cycles(3)
        attempts = exporter.page().samples("do_dcgm_exporter_forward_attempts_total")
        assert {sample.value for sample in attempts} == {0}
    engine = engine_of(exporter)
    assert exporter.stop() < STOP_LIMIT
    wait_until(lambda: not is_running(engine), "the engine has ended as well")


def test_the_simulated_engine_ends_with_an_exporter_that_is_killed(stage: Stage) -> None:
    exporter = simulate(stage)
    engine = engine_of(exporter)
    assert is_running(engine)
    exporter.kill()
    wait_until(lambda: not is_running(engine), "the engine has ended")


def shows_no_host(exporter: Exporter) -> bool:
    """Whether the page has values, without a host; in an outage it has none."""
    samples = exporter.page().samples(TEMPERATURE) if exporter.is_up() else []
    return bool(samples) and all("Hostname" not in sample.labels for sample in samples)


def test_simulate_outlives_a_reload(stage: Stage) -> None:
    exporter = simulate(stage)
    exporter.wait_until_up()
    exporter.reload(hostname="false")
    wait_until(lambda: shows_no_host(exporter), "the change")
    assert exporter.page().own("gpus") == 8


def test_simulate_takes_a_scenario_for_every_mode() -> None:
    flags = ["--config-file=/dev/null", "--simulate", "h100x8-mig", "--collectors=/dev/null"]
    ran = run(*flags, "--default-counters", ETC / "default-counters.csv", "--once")
    assert ran.status == 0
    assert "GPU_I_PROFILE" in ran.out


@pytest.mark.parametrize("version", ["3.3.9", "4.7.0"])
def test_simulate_plays_the_release_that_its_bindings_are_of(version: str) -> None:
    flags = ["--config-file=/dev/null", "--simulate", "h100x1", "--collectors=/dev/null"]
    counters = ETC / "counters-4.9.csv"
    environ = {VERSION_VARIABLE: version}
    ran = run(*flags, "--default-counters", counters, "--once", environ=environ)
    assert ran.status == 0
    assert f'hostengine="{version}"' in ran.out
    assert "DCGM_FI_DEV_FB_USED_BYTES{" in ran.out


def test_simulate_plays_what_once_recorded(stage: Stage, tmp_path: Path) -> None:
    path, engine = tmp_path / "some.json.gz", stage.engine("h100x1", "3.3.9")
    flags = [*flags_for(engine), "--once", "--record", path, "--replace-identifiers"]
    recorded = run(*flags, environ={VERSION_VARIABLE: "3.3.9"})
    assert recorded.sentence == f"do-dcgm-exporter: the engine's answers are in {path}"
    page = Page(run(*flags_for("127.0.0.1:1"), "--simulate", path, "--once").out)
    assert page.label_values(TEMPERATURE, "UUID") == {"GPU-00000000-0000-4000-8000-000000000001"}
    for side in ("dcgm_client", "hostengine"):
        assert page.label_values("do_dcgm_exporter_build_info", side) == {"3.3.9"}
    assert page.dcgm == Page(recorded.out).dcgm


def test_a_release_that_cannot_be_simulated_is_named_with_those_that_can() -> None:
    ran = run("--config-file=/dev/null", "--simulate", environ={VERSION_VARIABLE: "5.0"})
    assert ran.status == 2
    assert "'5.0' cannot be simulated; only 3.3.9, 4.2.3" in ran.sentence


def test_without_the_simulator_installed_simulate_names_its_package() -> None:
    without = command_without("dcgm_simulator")
    ran = run("--config-file=/dev/null", "--simulate", command=without)
    assert ran.status == 2
    assert "install the package dcgm-simulator" in ran.sentence
