"""Debian's ``promtool check metrics`` on every kind of page.

It exits with 1 when it cannot parse a page, and with 3 when it has complaints about
style. Those in data/promtool-complaints.txt are forced by names that dashboards have
known for years; any other fails here.
"""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import ETC, ROOT, Exporter, run
from tests.waiting import wait_until

from dcgm_simulator import ALL_VERSIONS, SCENARIOS
from dcgm_simulator.process import SimulatedEngine

PROMTOOL = ROOT / "build" / "prometheus" / "usr" / "bin" / "promtool"
DATA = Path(__file__).parent / "data"
KNOWN = frozenset((DATA / "promtool-complaints.txt").read_text().splitlines())

LABELS = "label names should be written in 'snake_case' not 'camelCase'"

pytestmark = pytest.mark.skipif(
    not PROMTOOL.exists(), reason="no promtool: make build/prometheus/usr/bin/promtool"
)


def complaints(page: str) -> set[str]:
    """What promtool has to say, each once; a page that it cannot parse fails the test."""
    done = subprocess.run(
        [PROMTOOL, "check", "metrics"], input=page, capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 3), done.stderr
    return set(done.stderr.splitlines())


def check(exporter: Exporter) -> None:
    """Check the page that it serves now."""
    assert complaints(exporter.get().text) <= KNOWN


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    """The page of every scenario, and of some of another release."""
    flags = ["--config-file=/dev/null", "--collectors=/dev/null", "--once"]
    flags += [f"--default-counters={ETC / 'default-counters.csv'}"]

    def page(scenario: str) -> str:
        return run(*flags, f"--simulate={scenario}").out

    scenarios = [name for name in SCENARIOS if name != "no-nvml"]  # it has no page
    with ThreadPoolExecutor(2) as pool:
        return dict(zip(scenarios, pool.map(page, scenarios), strict=True))


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name != "no-nvml"])
def test_every_scenario(pages: dict[str, str], scenario: str) -> None:
    assert "DCGM_FI_DEV_GPU_TEMP" in pages[scenario]
    assert complaints(pages[scenario]) <= KNOWN


def test_every_known_complaint_is_still_made(pages: dict[str, str]) -> None:
    found = set().union(*(complaints(page) for page in pages.values()))
    assert found == KNOWN - {f"DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS {LABELS}"}  # seen below


def test_the_exporters_own_metrics_give_no_cause_for_complaint() -> None:
    assert not [complaint for complaint in KNOWN if not complaint.startswith("DCGM_")]


def test_an_older_release_under_mig(stage: Stage) -> None:
    engine = stage.engine("h100x8-mig", "3.3.9")
    exporter = stage.exporter(
        engine, environ={"DCGM_SIMULATOR_VERSION": "3.3.9"}, collect_interval=5000
    )
    exporter.wait_until_up()
    check(exporter)


def test_before_the_first_cycle_and_while_the_engine_hangs(
    stage: Stage, engine: SimulatedEngine
) -> None:
    engine.suspend()
    exporter = stage.exporter(engine)
    check(exporter)
    wait_until(lambda: "has not answered" in exporter.health()[1], "the hang is noticed")
    check(exporter)
    engine.resume()


def test_after_the_engine_died(exporter: Exporter, engine: SimulatedEngine) -> None:
    engine.kill()
    exporter.wait_until_down()
    check(exporter)


def test_without_a_driver(stage: Stage) -> None:
    exporter = stage.exporter(stage.engine("no-nvml"))
    wait_until(lambda: "NVML" in exporter.health()[1], "the reason")
    check(exporter)


def test_with_xids_and_a_lost_gpu(stage: Stage) -> None:
    engine = stage.engine("h100x8")
    exporter = stage.exporter(engine)
    exporter.wait_until_up()
    engine.control("xid", "--gpu", "0", "13")
    engine.control("lose-gpu", "5")
    wait_until(lambda: exporter.has("DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS"), "the XID")
    wait_until(lambda: exporter.tells_lost("5"), "the loss")
    check(exporter)


def test_with_label_values_of_any_kind(stage: Stage) -> None:
    jobs = stage.directory / "jobs"
    jobs.mkdir()
    (jobs / "0").write_bytes(b'quo"ted\nback\\slash\\\n\\n{}=,# HELP\n\xff\xfe\n\xc3\xa9\t\x7f\n')
    exporter = stage.exporter(stage.engine(), hpc_job_mapping_dir=jobs)
    page = exporter.wait_until_up()
    assert len(page.samples("DCGM_FI_DEV_GPU_TEMP")) == 5
    check(exporter)


@pytest.mark.parametrize("version", ALL_VERSIONS)
def test_with_the_names_of_both_generations(stage: Stage, version: str) -> None:
    engine = stage.engine("hgx", version)
    exporter = stage.exporter(
        engine,
        environ={"DCGM_SIMULATOR_VERSION": version},
        collectors=ETC / "counters-4.9.csv",
        collect_interval=10_000,
    )
    page = exporter.wait_until_up()
    assert {"DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_FB_USED_BYTES"} <= page.dcgm
    kinds = {complaint.partition(" ")[2] for complaint in complaints(page.text)}
    assert kinds <= {complaint.partition(" ")[2] for complaint in KNOWN}


@pytest.mark.parametrize("counters", ["168-counters.csv", "odd-help.csv"])
def test_with_counters_of_the_user(stage: Stage, counters: str) -> None:
    # A cycle may take an interval; this one simulates 292 switches and links.
    exporter = stage.exporter(
        stage.engine("hgx"), default_counters=DATA / counters, collect_interval=10_000
    )
    exporter.wait_until_up()
    complaints(exporter.get().text)  # names and help are the user's own
