"""The command line: modes that end, what they print, and with which status."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import (
    CHECK_CONFIG,
    COMMAND,
    Ran,
    environment,
    flags_for,
    run,
)
from tests.e2e.pages import Page
from tests.waiting import wait_until

from dcgm_simulator.process import SimulatedEngine
from do_dcgm_exporter import __version__

DATA = Path(__file__).parent / "data"
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
ONE_COUNTER = DATA / "temperature.csv"


@pytest.fixture(scope="module")
def hgx(shared_stage: Stage) -> SimulatedEngine:
    return shared_stage.engine("hgx")


def closed_port() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


# 168 counters, ten of which are nonsense

MANY = DATA / "168-counters.csv"
MANY_LINES = MANY.read_text().splitlines()
NONSENSE = range(6, 168, 17)  # the lines, counted from 1


def test_check_config_names_the_ten_bad_lines_of_168(hgx: SimulatedEngine) -> None:
    ran = run(*flags_for(hgx, default_counters=MANY), *CHECK_CONFIG)
    assert ran.status == 2
    assert ran.err == ""
    *verdicts, summary = ran.out.splitlines()
    assert len(verdicts) == 168
    bad = [line for line in verdicts if " ok " not in line]
    assert len(bad) == len(NONSENSE) == 10
    for number, line in zip(NONSENSE, bad, strict=True):
        assert re.match(rf"{MANY}:{number}: (unknown|malformed)\b", line)
    assert summary.startswith("168 lines: 158 ok, ")


def test_all_good_ones_of_168_counters_are_on_the_page(stage: Stage, hgx: SimulatedEngine) -> None:
    # A cycle may take an interval; this one simulates 292 switches and links on a busy machine.
    exporter = stage.exporter(hgx, default_counters=MANY, collect_interval=10_000)
    good = {
        line.partition(",")[0]
        for number, line in enumerate(MANY_LINES, 1)
        if number not in NONSENSE
    }
    assert len(good) == 158
    wait_until(lambda: exporter.page().dcgm == good, "all good counters, and no others")
    wait_until(lambda: exporter.health() == (200, "OK"), "a healthy page")
    for number in NONSENSE:
        assert len(exporter.log_lines(f"{MANY}:{number}: ")) == 1


def test_without_an_engine_counters_are_not_checked_against_a_gpu() -> None:
    address = closed_port()
    ran = run(*flags_for(address), *CHECK_CONFIG)
    assert (ran.status, ran.err) == (0, "")
    assert f"not checked against a GPU: no engine answers at {address}" in ran.out


# Counters as people have them

NVIDIA_LIKE = DATA / "nvidia-like.csv"


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace(b"\n", b"\r\n"),
        lambda text: b"\xef\xbb\xbf" + text,
        lambda text: text.replace(b", ", b"\t,\t"),
        lambda text: re.sub(rb"(?m)^(DCGM\w+),", rb'"\1",', text),
        lambda text: text.rstrip(b"\n"),
        lambda text: text.replace(b"gauge", b"Gauge"),
    ],
    ids=["as it is", "CRLF", "BOM", "tabs", "quotes", "no newline at the end", "case"],
)
def test_a_csv_like_nvidias_is_accepted_as_the_users_file(
    tmp_path: Path, single: SimulatedEngine, change: object
) -> None:
    counters = tmp_path / "counters.csv"
    counters.write_bytes(change(NVIDIA_LIKE.read_bytes()))
    ran = run(*flags_for(single, collectors=counters), *CHECK_CONFIG)
    assert ran.status == 0, ran.out
    mine = [line for line in ran.out.splitlines() if line.startswith(f"{counters}:")]
    verdicts = {line.split()[2].rstrip(":"): line.split()[1].rstrip(":") for line in mine}
    assert verdicts["DCGM_FI_DEV_BRAND"] == "ok"
    assert verdicts["DCGM_FI_DEV_SERIAL"] == "ok"
    assert verdicts[TEMPERATURE] == "duplicate"
    assert set(verdicts.values()) <= {"ok", "duplicate", "unsupported"}


# --once


def once(engine: SimulatedEngine | str, *flags: str, **settings: object) -> Ran:
    return run(*flags_for(engine, **settings), *flags, "--once")


@pytest.mark.parametrize("interval", [300, 1000, 20000])
def test_once_prints_the_page_with_profiling_values(single: SimulatedEngine, interval: int) -> None:
    ran = once(single, collect_interval=interval)
    assert (ran.status, ran.err) == (0, "")
    page = Page(ran.out)
    assert page.own("hostengine_up") == 1
    assert page.samples(TEMPERATURE)
    assert page.samples("DCGM_FI_PROF_GR_ENGINE_ACTIVE")


def test_once_without_an_engine_is_one_sentence_and_status_1() -> None:
    address = closed_port()
    ran = once(address)
    assert (ran.status, ran.out) == (1, "")
    assert ran.sentence.startswith(f"do-dcgm-exporter: no engine answers at {address}")


def test_once_without_a_driver_is_one_sentence_and_status_1(stage: Stage) -> None:
    ran = once(stage.engine("no-nvml"))
    assert (ran.status, ran.out) == (1, "")
    assert "NVML" in ran.sentence


def test_once_with_a_lost_gpu_prints_the_page_and_says_what_it_lacks(stage: Stage) -> None:
    engine = stage.engine("h100x8")
    engine.control("lose-gpu", "3")
    ran = once(engine)
    assert ran.status == 1
    assert Page(ran.out).own("gpu_up", gpu="3") == 0
    assert "lost GPU 3" in ran.sentence


def test_once_with_a_selection_that_matches_nothing_says_so(single: SimulatedEngine) -> None:
    ran = once(single, devices="g:7")
    assert ran.status == 1
    assert "-d" in ran.err.splitlines()[-1]


# What is listed and printed


def test_list_fields_tells_what_a_csv_needs() -> None:
    ran = run("--list-fields", "gpu_temp")
    assert (ran.status, ran.err) == (0, "")
    header, *rows = ran.out.splitlines()
    assert header.split() == ["ID", "NAME", "TYPE", "ENTITY", "UNIT", "OTHER", "NAMES"]
    assert any(row.split()[:2] == ["150", TEMPERATURE] for row in rows)
    assert len(run("--list-fields").out.splitlines()) > 600
    assert run("--list-fields", "150").status == 0
    ran = run("--list-fields", "no such field")
    assert ran.status == 1
    assert "no such field" in ran.sentence


def test_a_reader_that_leaves_early_is_no_error() -> None:
    shell = f"{' '.join(COMMAND)} --list-fields | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", shell],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout.startswith("ID")


def test_version_and_help() -> None:
    assert run("--version") == Ran(0, f"do-dcgm-exporter {__version__}\n", "")
    ran = run("--help")
    assert ran.status == 0
    for option in ("--collect-interval", "--forward-url", "--simulate", "--check-config"):
        assert option in ran.out


def test_ctrl_c_ends_it_without_a_traceback(stage: Stage, single: SimulatedEngine) -> None:
    exporter = stage.exporter(single)
    exporter.wait_until_up()
    exporter.signal(signal.SIGINT)
    assert exporter.process.wait(10) == 0


def test_ctrl_c_ends_once_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(60)
        process = subprocess.Popen(
            # A shell has what it puts in the background ignore the signal, and so would this.
            [
                "env",
                "--default-signal=INT",
                *COMMAND,
                *flags_for(f"127.0.0.1:{silent.getsockname()[1]}"),
                "--once",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        with silent.accept()[0]:
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (130, "", "do-dcgm-exporter: interrupted\n")
