"""The counter group peaks, from the simulated engine to the page of the real process."""

from __future__ import annotations

from tests.builders import REPOSITORY
from tests.e2e.conftest import Stage
from tests.e2e.pages import Page
from tests.waiting import wait_until

PEAKS = REPOSITORY / "counter-groups" / "peaks.csv"
POWER, ENERGY = "155", "156"
HIGHEST, JOULES = "DCGM_FI_DEV_POWER_USAGE_MAX", "DCGM_EXP_SAMPLED_ENERGY_JOULES_TOTAL"


def test_the_group_is_on_the_page_after_a_reload_and_gone_after_another(stage: Stage) -> None:
    engine = stage.engine("h100x8")
    engine.control("set", "--entity", "gpu:1", ENERGY, "not-supported")
    exporter = stage.exporter(engine, collect_interval=1000, sample_interval=100)
    plain = exporter.wait_until_up()
    assert plain.dcgm
    assert not [name for name in plain.dcgm if name.endswith(("_AVG", JOULES))]
    assert engine.control("status")["calls"].get("get_field_summary", 0) == 0

    exporter.reload(collectors=PEAKS)
    engine.control("set", "--entity", "gpu:0", POWER, "2000")
    wait_until(lambda: 2000 in _powers(exporter.page()), "the peak")
    engine.control("set", "--entity", "gpu:0", POWER, "unset")
    wait_until(lambda: _powers(exporter.page()) and 2000 not in _powers(exporter.page()), "no peak")
    page = exporter.page()
    for sample in page.samples(HIGHEST):
        gpu = sample.labels["gpu"]
        lowest, mean = (page.value(HIGHEST.replace("MAX", end), gpu=gpu) for end in ("MIN", "AVG"))
        assert lowest <= mean <= sample.value
    joules = wait_until(lambda: _counted(exporter.page()), "energy")
    assert joules.keys() == {"1"}

    exporter.reload(collectors="/dev/null")
    wait_until(lambda: exporter.has("DCGM_FI_DEV_POWER_USAGE"), "values")
    wait_until(lambda: not exporter.has(HIGHEST) and not exporter.has(JOULES), "no peaks")


def _powers(page: Page) -> list[float]:
    return [sample.value for sample in page.samples(HIGHEST, gpu="0")]


def _counted(page: Page) -> dict[str, float]:
    samples = page.samples(JOULES)
    return {sample.labels["gpu"]: sample.value for sample in samples if sample.value}
