"""SIGHUP: everything is read again, and nothing is lost over it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.endpoint import Endpoint
from tests.e2e.exporter import Exporter, command_after
from tests.e2e.pages import Page
from tests.waiting import wait_until

from dcgm_simulator.process import SimulatedEngine

SERIAL = "DCGM_FI_DEV_SERIAL, label, x\n"
CLOCK = "DCGM_FI_DEV_MAX_SM_CLOCK, gauge, x\n"
XIDS = "DCGM_EXP_XID_ERRORS_TOTAL"


@pytest.fixture
def counters(stage: Stage) -> Path:
    """The user's counters, of which there are none yet."""
    path = stage.directory / "collectors.csv"
    path.touch()
    return path


@pytest.fixture
def reloadable(stage: Stage, engine: SimulatedEngine, counters: Path) -> Exporter:
    """An exporter with values, the profiling ones too, and counters of the user."""
    exporter = stage.exporter(engine, collectors=counters, collect_interval=300)
    wait_until(lambda: exporter.has("DCGM_FI_PROF_GR_ENGINE_ACTIVE"), "all values")
    return exporter


@contextmanager
def scraping(exporter: Exporter) -> Iterator[list[Page]]:
    """Scrape as fast as it goes; the pages are read when the block ends."""
    texts: list[str] = []
    pages: list[Page] = []
    errors: list[Exception] = []
    stopped = threading.Event()

    def scrape() -> None:
        while not stopped.is_set():
            try:
                texts.append(exporter.get().text)
            except Exception as error:  # noqa: BLE001 - shown below, in the test's thread
                errors.append(error)

    thread = threading.Thread(target=scrape)
    thread.start()
    try:
        yield pages
    finally:
        stopped.set()
        thread.join()
    assert not errors
    pages += map(Page, dict.fromkeys(texts))


def leaks(engine: SimulatedEngine) -> dict[str, int]:
    status = engine.control("status")
    names = ("connections", "groups", "field_groups", "watches")
    return {name: len(status[name]) for name in names}


def test_new_counters_appear_and_old_ones_go(reloadable: Exporter, counters: Path) -> None:
    counters.write_text(CLOCK + SERIAL)
    reloadable.reload()
    wait_until(lambda: reloadable.has("DCGM_FI_DEV_MAX_SM_CLOCK"), "the new family")
    page = reloadable.page()
    assert page.samples("DCGM_FI_DEV_MAX_SM_CLOCK")[0].labels["DCGM_FI_DEV_SERIAL"]
    assert page.own("config_last_reload_successful") == 1
    counters.write_text("")
    reloadable.reload()
    wait_until(lambda: not reloadable.has("DCGM_FI_DEV_MAX_SM_CLOCK"), "the family goes")


def test_ten_reloads_cost_no_scrape_a_family_and_leave_nothing_behind(
    reloadable: Exporter, engine: SimulatedEngine, counters: Path
) -> None:
    common = reloadable.page().dcgm
    before = leaks(engine)
    with scraping(reloadable) as pages:
        for number in range(10):
            counters.write_text(CLOCK if number % 2 == 0 else "")
            reloadable.reload()
            wait_until(
                lambda wanted=number % 2 == 0: reloadable.has("DCGM_FI_DEV_MAX_SM_CLOCK") is wanted,
                "the new page",
            )
    assert len(pages) >= 10
    for page in pages:
        assert common <= page.dcgm
        assert page.own("hostengine_up") == 1
    wait_until(lambda: leaks(engine) == before, f"nothing but {before} is left")


def test_no_xid_is_lost_or_counted_twice_over_reloads(
    reloadable: Exporter, engine: SimulatedEngine, counters: Path
) -> None:
    for number in range(5):
        engine.control("xid", "--gpu", "0", "13")
        counters.write_text(f"# {number}\n" + CLOCK * (number % 2))
        reloadable.reload()

    def counted() -> float:
        return sum(sample.value for sample in reloadable.page().samples(XIDS, xid="13"))

    with scraping(reloadable) as pages:
        wait_until(lambda: counted() == 5, "all five")
        reloadable.wait_for_cycles(2)
        reloadable.reload()
        reloadable.wait_for_cycles(3)
    assert counted() == 5
    values = [sum(s.value for s in page.samples(XIDS, xid="13")) for page in pages]
    assert values == sorted(values)  # no counter ever goes back


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("collect-interval = soon", "collect-interval"),
        ("nonsense = 1", "nonsense"),
        ("collectors = /nonexistent.csv", "/nonexistent.csv"),
        ("forward-url = ftp://x/", "forward-url"),
    ],
)
def test_a_bad_configuration_is_refused_in_one_line_and_the_old_one_goes_on(
    shared: Exporter, line: str, complaint: str
) -> None:
    name, value = line.split(" = ")
    good = dict(shared.settings)
    refusals = len(shared.log_lines(" ERROR "))
    shared.reload(**{name: value})
    errors = shared.log_lines(" ERROR ")[refusals:]
    assert len(errors) == 1
    assert "the old one stays in force" in errors[0]
    assert complaint in errors[0]
    page = shared.page()
    assert page.own("config_last_reload_successful") == 0
    assert page.dcgm
    shared.wait_for_cycles(2)
    assert shared.page().own("config_last_reload_successful") == 0

    shared.settings = good
    shared.reload()
    assert shared.page().own("config_last_reload_successful") == 1
    shared.wait_for_cycles(2)
    assert shared.is_up()


@pytest.fixture(scope="module")
def shared(shared_stage: Stage) -> Exporter:
    exporter = shared_stage.exporter(shared_stage.engine(), collect_interval=300)
    exporter.wait_until_up()
    return exporter


def test_a_configuration_file_that_is_gone_is_refused(shared: Exporter) -> None:
    refusals = len(shared.log_lines(" ERROR "))
    text = shared.config_path.read_bytes()
    for spoil in (
        shared.config_path.unlink,
        lambda: shared.config_path.write_bytes(b"\xff\xfe\0collect"),
        lambda: shared.config_path.write_bytes(b"x" * 100_000),
        lambda: shared.config_path.unlink() or shared.config_path.mkdir(),
    ):
        spoil()
        shared.signal(signal.SIGHUP)
        refusals += 1
        wait_until(lambda n=refusals: len(shared.log_lines(" ERROR ")) == n, "the refusal")
    shared.config_path.rmdir()
    shared.config_path.write_bytes(text)
    shared.reload()
    assert shared.page().own("config_last_reload_successful") == 1
    assert shared.is_up()


def test_what_needs_a_restart_is_said_and_kept(shared: Exporter) -> None:
    good = dict(shared.settings)
    port = shared.port
    bindings = shared.directory / "bindings"
    bindings.mkdir()
    (bindings / "dcgm_structs.py").touch()
    shared.reload(address="127.0.0.1:1", dcgm_bindings=bindings)
    assert len(shared.log_lines("the address 127.0.0.1:1 takes effect at the next restart")) == 1
    assert len(shared.log_lines(f"the bindings {bindings} take effect at the next restart")) == 1
    shared.wait_for_cycles(2)
    assert shared.port == port
    assert shared.page().own("config_last_reload_successful") == 1
    shared.settings = good
    shared.reload()


def test_another_engine_and_another_interval_are_taken(stage: Stage) -> None:
    first, second = stage.engine("h100x1"), stage.engine("h100x8")
    exporter = stage.exporter(first, collect_interval=3_600_000)
    exporter.wait_until_up()
    assert exporter.page().own("gpus") == 1
    exporter.reload(remote_hostengine_info=second.address, collect_interval=300)
    wait_until(lambda: exporter.page().own("gpus") == 8, "the other engine's GPUs")
    exporter.wait_for_cycles(3)
    wait_until(lambda: leaks(first)["connections"] == 0, "the first engine is let go")
    assert leaks(second)["connections"] == 1


def test_labels_devices_and_windows_change_with_a_reload(stage: Stage) -> None:
    exporter = stage.exporter(stage.engine("h100x8"))
    exporter.wait_until_up()
    temperature = "DCGM_FI_DEV_GPU_TEMP"
    exporter.reload(
        devices="g:1,3-4",
        hostname="false",
        replace_blanks_in_model_name="true",
        xid_count_window_size=60000,
    )
    wait_until(lambda: len(exporter.page().samples(temperature)) == 3, "three GPUs")
    page = exporter.page()
    assert page.label_values(temperature, "gpu") == {"1", "3", "4"}
    assert page.label_values(temperature, "modelName") == {"NVIDIA-H100-80GB-HBM3-(simulated)"}
    assert "Hostname" not in page.samples(temperature)[0].labels
    assert page.label_values("DCGM_EXP_XID_ERRORS_COUNT", "window_size_in_ms") == {"60000"}
    assert page.label_values("do_dcgm_exporter_gpu_up", "gpu") == {"1", "3", "4"}


def test_label_counters_move_to_an_info_series_and_back_with_a_reload(stage: Stage) -> None:
    info, driver = "do_dcgm_exporter_gpu_info", "DCGM_FI_DRIVER_VERSION"
    temperature = "DCGM_FI_DEV_GPU_TEMP"
    engine = stage.engine("h100x8-mig")
    exporter = stage.exporter(engine)
    before = exporter.wait_until_up()
    assert not exporter.has(info)
    exporter.reload(label_fields_as_info="true")
    wait_until(lambda: exporter.has(info), "the info series")
    page = exporter.page()
    assert page.label_values(info, driver) == before.label_values(temperature, driver)
    of_devices = [
        {name: value for name, value in sample.labels.items() if name != driver}
        for sample in page.samples(info)
    ]
    # One for everything that has series, so that each finds its partner in a query.
    assert all(sample.labels in of_devices for sample in page.samples(temperature))
    for name, family in page.families.items():
        assert name == info or all(driver not in sample.labels for sample in family.samples)
    shown = page.samples(temperature, gpu="0")[0].labels
    gpus = {f"gpu:{gpu}" for gpu in range(8)}
    watched = {watch["entity"] for watch in engine.control("status")["watches"]}
    for entity in gpus | {entity for entity in watched if entity.startswith("gpu_i:")}:
        engine.control("set", "--entity", entity, "1", "999.9")
    wait_until(lambda: exporter.page().label_values(info, driver) == {"999.9"}, "a new driver")
    assert exporter.page().samples(temperature, gpu="0")[0].labels == shown
    exporter.reload(label_fields_as_info="false")
    wait_until(lambda: not exporter.has(info), "no info series any more")
    wait_until(
        lambda: exporter.page().label_values(temperature, driver) == {"999.9"}, "the label again"
    )


def test_forwarding_is_turned_on_and_off_by_a_reload(shared: Exporter, endpoint: Endpoint) -> None:
    shared.reload(forward="true", forward_url=endpoint.url, forward_interval=200)
    endpoint.wait_for_posts(2)
    shared.reload(forward="false")
    count = len(endpoint.posts)
    shared.wait_for_cycles(3)
    assert len(endpoint.posts) <= count + 1  # one may have been under way


SIGHUP_WHILE_STARTING = """
import os, signal, sys

class Reloading:
    def find_spec(self, name, path, target=None):
        if name == "do_dcgm_exporter.service.service":
            os.kill(os.getpid(), signal.SIGHUP)

sys.meta_path.insert(0, Reloading())
"""


def test_a_reload_that_is_asked_for_during_the_start_is_done_after_it(
    stage: Stage, engine: SimulatedEngine
) -> None:
    exporter = stage.exporter(engine, command=command_after(SIGHUP_WHILE_STARTING))
    exporter.wait_for_log("configuration reloaded")
    wait_until(lambda: exporter.health()[0] == 200, "values")


def test_a_storm_of_reloads_is_survived(reloadable: Exporter, engine: SimulatedEngine) -> None:
    before = leaks(engine)
    for _ in range(100):
        reloadable.signal(signal.SIGHUP)
    reloadable.reload()
    reloadable.wait_for_cycles(2)
    wait_until(lambda: leaks(engine) == before, f"nothing but {before} is left")


def test_a_reload_while_the_engine_hangs_or_is_away_is_taken(
    stage: Stage, engine: SimulatedEngine, counters: Path
) -> None:
    exporter = stage.exporter(engine, collectors=counters, collect_interval=300)
    exporter.wait_until_up()
    engine.suspend()
    exporter.wait_until_down()
    counters.write_text(CLOCK)
    exporter.reload()
    assert exporter.page().own("config_last_reload_successful") == 1
    engine.resume()
    wait_until(lambda: exporter.has("DCGM_FI_DEV_MAX_SM_CLOCK"), "the new family")
    engine.kill()
    exporter.wait_until_down()
    counters.write_text("")
    exporter.reload()
    engine.restart()
    exporter.wait_until_up()
    # A connection that was being made meanwhile may yet be read once as it was asked for.
    wait_until(lambda: not exporter.has("DCGM_FI_DEV_MAX_SM_CLOCK"), "the family is gone")


def test_twenty_reloads_leave_no_descriptor_or_thread_behind(
    reloadable: Exporter, endpoint: Endpoint, engine: SimulatedEngine
) -> None:
    before = leaks(engine)
    usage = (0, 0)
    for number in range(20):
        # Every other reload also starts another forwarder.
        reloadable.reload(
            forward="true", forward_url=endpoint.url, forward_interval=200 + number // 2
        )
        reloadable.wait_for_cycles(1)
        if number == 3:
            usage = reloadable.descriptors(), reloadable.threads()
    wait_until(lambda: leaks(engine) == before, "one connection")
    reloadable.wait_until_no_more_than(*usage, spare=2)
