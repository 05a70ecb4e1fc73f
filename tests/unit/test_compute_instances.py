"""MIG compute instances, which are shown if -d asks for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.builders import Bench, counter_set, labels_of, settings

from dcgm_simulator import ALL_VERSIONS, bindings_directory
from do_dcgm_exporter.commands.engine_check import engine_findings
from do_dcgm_exporter.config.addresses import parse_engine_address
from do_dcgm_exporter.config.device_selection import parse_gpu_selection
from do_dcgm_exporter.config.settings import Configuration

StartBench = Callable[..., Bench]
USED, POWER = "DCGM_FI_DEV_FB_USED", "DCGM_FI_DEV_POWER_USAGE"
USED_BYTES, SM_ACTIVE = "DCGM_FI_DEV_FB_USED_BYTES", "DCGM_FI_PROF_SM_ACTIVE"
LINES = (
    *(f"{name}, gauge, x" for name in (USED, USED_BYTES, POWER)),
    "DCGM_FI_DRIVER_VERSION, label, x",
)
every_release = pytest.mark.parametrize("release", ALL_VERSIONS)


@every_release
def test_they_have_their_number_beside_that_of_their_instance(
    bench: StartBench, release: str
) -> None:
    started = bench("h100x8-mig", release)
    session = started.session(*LINES, gpus=parse_gpu_selection("i+c"))
    series = started.series(session, USED)
    assert len(series) == 16
    (block,) = (b for b in series if 'gpu="1"' in b and 'GPU_I_ID="7"' in b and "GPU_CI" in b)
    labels = labels_of(block)
    assert list(labels)[4:] == [
        *("modelName", "GPU_I_PROFILE", "GPU_I_ID", "GPU_CI_ID"),
        *("Hostname", "DCGM_FI_DRIVER_VERSION"),
    ]
    assert (labels["GPU_I_PROFILE"], labels["GPU_CI_ID"]) == ("1g.10gb", "0")


@every_release
def test_they_have_only_what_is_measured_on_them(bench: StartBench, release: str) -> None:
    started = bench("h100x8-mig", release)
    session = started.session(*LINES, gpus=parse_gpu_selection("c"))
    families = {family.name: family for family in started.snapshot(session).families}
    assert len(families[USED].samples) == len(families[USED_BYTES].samples) == 8
    assert POWER not in families
    assert sorted(started.read(session).gpus_up) == [0, 1]


@pytest.mark.parametrize("release", ["4.6.0", "4.7.0"])
def test_their_profiling_values_are_their_own(bench: StartBench, release: str) -> None:
    started = bench("h100x8-mig", release)
    session = started.session(f"{SM_ACTIVE}, gauge, x", gpus=parse_gpu_selection("c"))
    started.read(session)
    for _ in range(4):
        started.pass_time(1)
        series = started.series(session, SM_ACTIVE)
    assert len(series) == 8
    assert all("GPU_CI_ID" in block and 0 <= float(value) <= 1 for block, value in series.items())


@every_release
def test_nobody_who_did_not_ask_sees_them(bench: StartBench, release: str) -> None:
    started = bench("h100x8-mig", release)
    for selection in ("f", "i", "g+i"):
        session = started.session(*LINES, gpus=parse_gpu_selection(selection))
        assert not [block for block in started.series(session, USED) if "GPU_CI_ID" in block]


def test_a_job_of_an_instance_is_that_of_its_compute_instances(
    bench: StartBench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    jobs = tmp_path_factory.mktemp("jobs")
    (jobs / "1.7").write_text("job-1\n")
    started = bench("h100x8-mig")
    session = started.session(*LINES, gpus=parse_gpu_selection("c"), hpc_job_mapping_dir=jobs)
    found = [labels_of(b) for b in started.series(session, USED) if "hpc_job" in b]
    assert [(labels["gpu"], labels["GPU_I_ID"]) for labels in found] == [("1", "7")]


def test_a_cut_that_is_changed_changes_them(bench: StartBench) -> None:
    started = bench("h100x8-mig")
    session = started.session(*LINES, gpus=parse_gpu_selection("c"))
    assert len(started.series(session, USED)) == 8
    started.engine.control("mig", "--gpu", "0", "7g.80gb")
    started.pass_time(11)
    session = started.session(*LINES, gpus=parse_gpu_selection("c"))
    series = started.series(session, USED)
    assert {labels_of(block)["GPU_I_PROFILE"] for block in series} >= {"7g.80gb"}
    assert len(series) == 5


@pytest.mark.parametrize(
    ("scenario", "verdicts"),
    [
        ("h100x8-mig", {POWER: "no GPU is selected (-d)"}),
        ("h100x1", {POWER: "no GPU is selected (-d)", USED: "no GPU is selected (-d)"}),
    ],
)
def test_what_they_do_not_have_is_said_to_be_left_out(
    bench: StartBench, scenario: str, verdicts: dict[str, str]
) -> None:
    engine = parse_engine_address(bench(scenario).engine.address)
    chosen = settings(
        engine=engine, dcgm_bindings=bindings_directory(), gpus=parse_gpu_selection("c")
    )
    lines = (f"{USED}, gauge, x", f"{POWER}, gauge, x")
    assert engine_findings(Configuration(chosen, counter_set(*lines))).unsupported == verdicts
