"""What happens to GPUs, as the page and /health tell it."""

from __future__ import annotations

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import Exporter
from tests.e2e.pages import Page
from tests.waiting import wait_until

from dcgm_simulator.process import SimulatedEngine
from dcgm_simulator.versions import VERSION_VARIABLE, VERSIONS

TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
PROFILING = "DCGM_FI_PROF_GR_ENGINE_ACTIVE"
LAST_XID = "DCGM_FI_DEV_XID_ERRORS"
XIDS = "DCGM_EXP_XID_ERRORS_TOTAL"
XIDS_IN_WINDOW = "DCGM_EXP_XID_ERRORS_COUNT"
XID_TIME = "DCGM_EXP_XID_LAST_TIMESTAMP_SECONDS"


def total(page: Page, gpu: str, xid: str) -> float:
    return sum(sample.value for sample in page.samples(XIDS, gpu=gpu, xid=xid))


def families_of(page: Page, gpu: str) -> set[str]:
    return {
        name
        for name, family in page.families.items()
        if name.startswith("DCGM_")
        for sample in family.samples
        if sample.labels.get("gpu") == gpu
    }


def test_profiling_values_come_in_a_few_seconds_at_the_default_interval(stage: Stage) -> None:
    engine = stage.engine()
    exporter = stage.exporter(engine, collect_interval=20000)
    exporter.wait_until_up()
    wait_until(lambda: exporter.has("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), "values")
    # What was watched each second to get a first value is watched calmly from then on.
    wait_until(lambda: intervals_of(engine, 1001) == {20_000_000}, "a calm watch")


def intervals_of(engine: SimulatedEngine, field_id: int) -> set[int]:
    watches = engine.control("status")["watches"]
    return {watch["interval_us"] for watch in watches if watch["field"] == field_id}


every_release = pytest.mark.parametrize("version", VERSIONS)


@every_release
def test_a_lost_gpu_is_told_and_the_others_go_on(stage: Stage, version: str) -> None:
    engine = stage.engine("h100x8", version)
    exporter = stage.exporter(engine, environ={VERSION_VARIABLE: version})
    exporter.wait_until_up()
    wait_until(lambda: exporter.has(PROFILING, gpu="3"), "profiling")
    before = exporter.page()
    engine.control("xid", "--gpu", "3", "79")
    engine.control("lose-gpu", "3")
    wait_until(lambda: exporter.tells_lost("3"), "the loss")
    status, reason = exporter.health()
    assert status == 503
    assert "lost GPU 3 (GPU-" in reason
    exporter.wait_for_log(" WARNING the driver has lost GPU 3")

    wait_until(lambda: total(exporter.page(), "3", "79") == 1, "the XID")
    page = exporter.page()
    assert families_of(page, "3") == {LAST_XID, XIDS, XIDS_IN_WINDOW, XID_TIME}
    assert page.samples(LAST_XID, gpu="3")[0].value == 79
    assert page.samples(LAST_XID, gpu="3")[0].labels["err_code"] == "79"
    for gpu in "0124567":
        assert page.own("gpu_up", gpu=gpu) == 1
        assert families_of(before, gpu) <= families_of(page, gpu)
    own = {name for name in page.families if page.samples(name, gpu="3")} - families_of(page, "3")
    assert own == {"do_dcgm_exporter_gpu_up"}
    assert page.own("gpus") == 8
    # Its labels are those it had, so that its series go on.
    assert (
        page.samples(LAST_XID, gpu="3")[0].labels["UUID"]
        == before.samples(TEMPERATURE, gpu="3")[0].labels["UUID"]
    )

    engine.control("restore-gpu", "3")
    wait_until(lambda: exporter.has(TEMPERATURE, gpu="3"), "the GPU is back")
    assert exporter.page().own("gpu_up", gpu="3") == 1
    assert exporter.health() == (200, "OK")
    wait_until(lambda: exporter.has(PROFILING, gpu="3"), "profiling is back")
    # 79 is reported twice, by NVML and from the kernel's log, and counts once.
    exporter.wait_for_cycles(3)
    assert total(exporter.page(), "3", "79") == 1


@every_release
def test_a_gpu_lost_before_the_exporter_starts_is_known_by_its_number(
    stage: Stage, version: str
) -> None:
    engine = stage.engine("h100x8", version)
    engine.control("lose-gpu", "3")
    engine.control("pass-time", "5")
    exporter = stage.exporter(engine, environ={VERSION_VARIABLE: version})
    page = exporter.wait_until_up()
    assert {str(n): float(n != 3) for n in range(8)} == {
        sample.labels["gpu"]: sample.value for sample in page.samples("do_dcgm_exporter_gpu_up")
    }
    assert exporter.health() == (503, "the driver has lost GPU 3 (UUID not known)")
    assert exporter.has(TEMPERATURE, gpu="2")
    assert not exporter.has(TEMPERATURE, gpu="3")
    exporter.wait_for_cycles(5)
    engine.control("pass-time", "120")
    exporter.wait_for_cycles(5)
    told = [line for line in exporter.log().splitlines() if "lost" in line or "connected" in line]
    assert len(told) == 2, told

    engine.control("restore-gpu", "3")
    wait_until(lambda: exporter.has(TEMPERATURE, gpu="3"), "the GPU is back")
    back = exporter.page()
    assert back.samples(TEMPERATURE, gpu="3")[0].labels["UUID"].startswith("GPU-")
    assert exporter.health() == (200, "OK")


def test_a_mig_change_is_followed(stage: Stage) -> None:
    engine = stage.engine("h100x8")
    exporter = stage.exporter(engine, collect_interval=1000)
    exporter.wait_until_up()

    def instances(gpu: str) -> set[str]:
        found = exporter.page().samples(TEMPERATURE, gpu=gpu)
        return {sample.labels.get("GPU_I_PROFILE", "whole") for sample in found}

    steps = {
        "3g.40gb,2g.20gb": {"3g.40gb", "2g.20gb"},
        "1g.10gb,1g.10gb,1g.10gb": {"1g.10gb"},
        "7g.80gb": {"7g.80gb"},
        "off": {"whole"},
    }
    for profiles, expected in steps.items():
        engine.control("mig", "--gpu", "0", profiles)
        wait_until(lambda wanted=expected: instances("0") == wanted, profiles)
        # No ghost of an instance that is gone, no series twice (which any Page checks).
        page = exporter.page()
        count = 1 if profiles == "off" else profiles.count(",") + 1
        assert len(page.samples(TEMPERATURE, gpu="0")) == count
        assert instances("1") == {"whole"}
    wait_until(lambda: len(engine.control("status")["connections"]) == 1, "one connection")


def test_no_xid_of_a_storm_is_missed_and_none_is_counted_twice(stage: Stage) -> None:
    engine = stage.engine("h100x8")
    exporter = stage.exporter(engine, collect_interval=1500)
    exporter.wait_until_up()
    storm = [("0", "13"), ("0", "31"), ("0", "13"), ("5", "94"), ("0", "43")]
    for gpu, xid in storm:
        engine.control("xid", "--gpu", gpu, xid)
    expected = {case: storm.count(case) for case in set(storm)}

    def counted() -> dict[tuple[str, str], float]:
        page = exporter.page()
        return {case: total(page, *case) for case in expected}

    wait_until(lambda: counted() == expected, f"the XIDs are counted as {expected}")
    exporter.wait_for_cycles(1)
    assert counted() == expected
    page = exporter.page()
    assert page.value(XIDS_IN_WINDOW, gpu="0", xid="13", window_size_in_ms="20000") == 2
    assert page.value(LAST_XID, gpu="0") == 43
    assert page.value(LAST_XID, gpu="5") == 94
    assert page.value(LAST_XID, gpu="1") == 0
    assert page.value(XID_TIME, gpu="0", xid="43") > page.value(XID_TIME, gpu="0", xid="13")


def test_xids_of_instances_go_to_their_instance(stage: Stage) -> None:
    engine = stage.engine("h100x8-mig")
    exporter = stage.exporter(engine)
    exporter.wait_until_up()
    engine.control("xid", "--gpu-instance", "0", "13")
    engine.control("xid", "--compute-instance", "8", "43")
    wait_until(
        lambda: total(exporter.page(), "0", "13") == total(exporter.page(), "1", "43") == 1,
        "both XIDs",
    )
    page = exporter.page()
    assert len(page.samples(XIDS, xid="13")) == 1
    assert "GPU_I_ID" in page.samples(XIDS, xid="13")[0].labels
    assert "GPU_I_ID" in page.samples(XIDS, xid="43")[0].labels


def test_xids_from_while_the_connection_was_lost_are_counted(
    exporter: Exporter, engine: SimulatedEngine
) -> None:
    engine.control("xid", "--gpu", "0", "13")
    wait_until(lambda: total(exporter.page(), "0", "13") == 1, "the first XID")
    engine.control("refuse")
    engine.control("drop")
    exporter.wait_until_down()
    engine.control("xid", "--gpu", "0", "31")
    engine.control("resume")
    wait_until(lambda: total(exporter.page(), "0", "31") == 1, "the second XID")
    exporter.wait_for_cycles(2)
    assert total(exporter.page(), "0", "13") == 1
    assert total(exporter.page(), "0", "31") == 1


def test_xid_119_leaves_nothing_but_xids_until_the_engine_is_restarted(stage: Stage) -> None:
    engine = stage.engine("h100x8")
    exporter = stage.exporter(engine)
    exporter.wait_until_up()
    engine.control("xid119")
    only_xids = {LAST_XID, XIDS, XIDS_IN_WINDOW, XID_TIME}
    wait_until(lambda: exporter.page().dcgm <= only_xids, "everything else is gone")
    page = exporter.page()
    assert page.own("hostengine_up") == 1
    assert page.own("gpu_up", gpu="7") == 0
    assert exporter.health()[0] == 503
    wait_until(lambda: total(exporter.page(), "0", "119") == 1, "the XID")
    assert exporter.page().value(LAST_XID, gpu="0") == 119
    engine.restart()
    wait_until(lambda: exporter.has(TEMPERATURE, gpu="7"), "the values are back")
    wait_until(lambda: exporter.health() == (200, "OK"), "all is well")
    assert total(exporter.page(), "0", "119") == 1


@pytest.mark.parametrize("version", ["3.3.9", "4.2.3"])
def test_one_poisoned_field_takes_no_other_down(stage: Stage, version: str) -> None:
    """On 3.3.9 an empty string in its cache makes every call with that field fail."""
    counters = stage.directory / "more.csv"
    counters.write_text("DCGM_FI_DEV_SERIAL, label, x\nDCGM_FI_DEV_INFOROM_IMAGE_VER, label, x\n")
    engine = stage.engine("h100x8", version)
    exporter = stage.exporter(
        engine, environ={"DCGM_SIMULATOR_VERSION": version}, collectors=counters
    )
    before = exporter.wait_until_up()
    serial = "DCGM_FI_DEV_SERIAL"
    wait_until(lambda: serial in exporter.page().samples(TEMPERATURE)[0].labels, "the label")
    engine.control("set", "--entity", "gpu:2", "53", "empty")
    wait_until(
        lambda: serial not in exporter.page().samples(TEMPERATURE, gpu="2")[0].labels,
        "the label is gone",
    )
    page = exporter.page()
    assert before.dcgm <= page.dcgm
    assert len(page.samples(TEMPERATURE)) == 8
    assert page.own("hostengine_up") == 1
    assert exporter.health()[0] == 200
    assert ("fails on them: 53" in exporter.health()[1]) == (version == "3.3.9")
    poisoned = page.own("values_dropped_total", reason="poisoned")
    exporter.wait_for_cycles(3)
    assert len(exporter.log_lines("field 53 makes the engine fail")) == (version == "3.3.9")
    assert (exporter.page().own("values_dropped_total", reason="poisoned") > poisoned) == (
        version == "3.3.9"
    )


def test_without_the_profiling_module_all_else_is_there(stage: Stage) -> None:
    exporter = stage.exporter(stage.engine("a100-no-prof"))
    page = exporter.wait_until_up()
    assert not [name for name in page.dcgm if name.startswith("DCGM_FI_PROF_")]
    assert len(page.samples(TEMPERATURE)) == 2
    assert exporter.health()[0] == 200
    assert "no profiling metrics on GPU 0, 1" in exporter.health()[1]
    exporter.wait_for_cycles(3)
    assert len(exporter.log_lines("no profiling metrics on GPU 0, 1")) == 1
    assert exporter.page().own("values_dropped_total", reason="profiling_not_offered") > 0


def test_a_stale_value_is_not_shown(exporter: Exporter, engine: SimulatedEngine) -> None:
    engine.control("freeze", "150")
    wait_until(lambda: not exporter.has(TEMPERATURE), "the frozen field is gone")
    assert exporter.has("DCGM_FI_DEV_SM_CLOCK")
    assert exporter.page().own("values_dropped_total", reason="stale") > 0
    engine.control("thaw", "150")
    wait_until(lambda: exporter.has(TEMPERATURE), "it is back")


@pytest.mark.parametrize("value", ["blank", "not-supported", "no-permission", "status:-14"])
def test_no_sentinel_is_ever_shown_as_a_number(
    shared: tuple[SimulatedEngine, Exporter], value: str
) -> None:
    engine, exporter = shared
    engine.control("set", "--entity", "gpu:0", "150", value)
    wait_until(lambda: not exporter.has(TEMPERATURE, gpu="0"), "no sample")
    engine.control("set", "--entity", "gpu:0", "150", "unset")
    wait_until(lambda: exporter.has(TEMPERATURE, gpu="0"), "a sample")


@pytest.fixture(scope="module")
def shared(shared_stage: Stage) -> tuple[SimulatedEngine, Exporter]:
    engine = shared_stage.engine()
    exporter = shared_stage.exporter(engine, collect_interval=300)
    exporter.wait_until_up()
    return engine, exporter


def test_an_incident_of_dcgms_health_watches_is_shown(stage: Stage) -> None:
    counters = stage.directory / "health.csv"
    counters.write_text("DCGM_EXP_GPU_HEALTH_STATUS, gauge, x\n")
    engine = stage.engine("h100x8")
    engine.control("health", "--entity", "gpu:2", "--system", "16", "fail")
    page = stage.exporter(engine, collectors=counters).wait_until_up()
    health = "DCGM_EXP_GPU_HEALTH_STATUS"
    assert page.value(health, gpu="2", health_watch="MEM") > 0
    assert page.value(health, gpu="2", health_watch="PCIE") == 0
    assert page.value(health, gpu="1", health_watch="MEM") == 0


def test_job_names_of_any_kind_become_labels(stage: Stage) -> None:
    jobs = stage.directory / "jobs"
    jobs.mkdir()
    names = ['quo"ted', "back\\slash\\", "naïve café", "new\\nline"]
    (jobs / "0").write_text("\n".join(names) + "\n")
    exporter = stage.exporter(stage.engine(), hpc_job_mapping_dir=jobs)
    page = exporter.wait_until_up()
    assert page.label_values(TEMPERATURE, "hpc_job") == set(names)
    (jobs / "0").unlink()
    wait_until(lambda: "hpc_job" not in exporter.page().samples(TEMPERATURE)[0].labels, "no job")
