"""The command line: modes that end, what they print, and with which status."""

from __future__ import annotations

import json
import os
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
    ETC,
    Exporter,
    Ran,
    as_flags,
    command_without,
    environment,
    run,
    settings_for,
)
from tests.e2e.pages import Page
from tests.waiting import STOP_LIMIT, wait_until

from dcgm_simulator.process import SimulatedEngine
from dcgm_simulator.versions import VERSION_VARIABLE
from do_dcgm_exporter import __version__

DATA = Path(__file__).parent / "data"
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
ONE_COUNTER = DATA / "temperature.csv"


@pytest.fixture(scope="module")
def hgx(shared_stage: Stage) -> SimulatedEngine:
    return shared_stage.engine("hgx")


@pytest.fixture(scope="module")
def single(shared_stage: Stage) -> SimulatedEngine:
    return shared_stage.engine("h100x1")


def flags_for(engine: SimulatedEngine | str, **settings: object) -> list[str]:
    address = engine if isinstance(engine, str) else engine.address
    return ["--config-file=/dev/null", *as_flags(settings_for(address, **settings))]


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


# Mistakes


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--colect-interval=5"], ["--colect-interval", "did you mean"]),
        (["nonsense"], ["'nonsense'"]),
        (["-c", "soon"], ["collect-interval", "'soon'", "milliseconds"]),
        (["-c", "1"], ["collect-interval", "100"]),
        (["-c"], ["collect-interval"]),
        (["-a", "1.2.3.4:99999"], ["address", "99999"]),
        (["-r", "localhost:nonsense"], ["remote-hostengine-info"]),
        (["-d", "x:1"], ["devices", "'x:1'"]),
        (["--forward-url=ftp://x"], ["forward-url", "http://"]),
        (["--log-level=loud"], ["log-level", "loud"]),
        (["--hostname-label=a-b"], ["hostname-label", "a-b"]),
        (["--dcgm-bindings=/nonexistent"], ["dcgm-bindings", "/nonexistent"]),
        (["--hpc-job-mapping-dir=/nonexistent"], ["hpc-job-mapping-dir", "/nonexistent"]),
        (["--config-file=/nonexistent.conf"], ["/nonexistent.conf"]),
        (["--default-counters=/nonexistent.csv"], ["/nonexistent.csv"]),
        (["-f", "/nonexistent.csv"], ["/nonexistent.csv"]),
        (["-f", "/"], ["/", "directory"]),
        (["--once", "--check-config"], ["--check-config", "--once"]),
        (["--stale-after=100"], ["stale-after", "collect-interval"]),
        (["--simulate=nonsense"], ["nonsense", "h100x8"]),
        (["--simulate=nonsense", "--once"], ["nonsense", "h100x8"]),
        (["--simulate=/dev/null", "--once"], ["--simulate", "/dev/null", "no recording"]),
        (["--record=some.json"], ["--record", "--once"]),
        (["--once", "--replace-identifiers"], ["--replace-identifiers", "--record"]),
        (["--once", "--record=/dev/null"], ["--record", "/dev/null exists"]),
    ],
    ids=" ".join,
)
def test_a_mistake_is_one_sentence_that_names_it_and_status_2(
    arguments: list[str], words: list[str]
) -> None:
    if not any(argument.startswith("--config-file") for argument in arguments):
        arguments = ["--config-file=/dev/null", *arguments]
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.sentence.startswith("do-dcgm-exporter: ")
    for word in words:
        assert word in ran.sentence


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("collect-interval = 5000\nnonsense = 1\n", 2, ["nonsense"]),
        ("collect-interval =\n", 1, ["collect-interval", "value"]),
        ("\n# x\ncollect-interval = soon\n", 3, ["collect-interval", "'soon'"]),
        ("forward = perhaps\n", 1, ["forward", "perhaps"]),
        ("forward = true\n\nforward = false\n", 3, ["forward", "line 1"]),
        ("forward = true\nno-forward = true\n", 2, ["forward", "line 1"]),
        ("once = true\n", 1, ["once", "command line"]),
        ("=\n", 1, ["key = value"]),
    ],
)
def test_a_mistake_in_the_file_names_file_and_line(
    tmp_path: Path, text: str, line: int, words: list[str]
) -> None:
    path = tmp_path / "exporter.conf"
    path.write_text(text)
    ran = run("--config-file", path)
    assert (ran.status, ran.out) == (2, "")
    assert ran.sentence.startswith(f"do-dcgm-exporter: {path}:{line}: ")
    for word in words:
        assert word in ran.sentence


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "exporter.conf"
    path.write_bytes(b"collect-interval = 5000\n\xff\xfe\n")
    ran = run("--config-file", path)
    assert ran.status == 2
    assert ran.sentence.startswith(f"do-dcgm-exporter: {path}:2: ")


def test_a_mistake_in_the_environment_names_the_variable() -> None:
    name = "DO_DCGM_EXPORTER_COLLECT_INTERVAL"
    ran = run("--config-file=/dev/null", environ={name: "soon"})
    assert (ran.status, ran.out) == (2, "")
    assert name in ran.sentence


def test_an_unknown_variable_is_logged_in_the_chosen_format(
    stage: Stage, single: SimulatedEngine
) -> None:
    variables = {"DO_DCGM_EXPORTER_ADRESS": ":1"}
    exporter = stage.exporter(single, environ=variables, log_format="json")
    entries = [json.loads(line) for line in exporter.log().splitlines()]
    warnings = [entry["message"] for entry in entries if entry["level"] == "warning"]
    assert "ignoring the unknown environment variable DO_DCGM_EXPORTER_ADRESS" in warnings[0]


def test_a_taken_port_names_its_holder_and_is_status_1(
    stage: Stage, single: SimulatedEngine
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        ran = run(*flags_for(single, address=f"127.0.0.1:{port}"))
    assert (ran.status, ran.out) == (1, "")
    last = ran.err.splitlines()[-1]
    assert f"port {port} is taken by" in last
    assert f"(pid {os.getpid()})" in last


# Where settings come from


def label_of(page: str) -> set[str]:
    return {name for name in Page(page).samples(TEMPERATURE)[0].labels if name.endswith("Host")}


def test_flags_beat_the_environment_which_beats_the_file(
    tmp_path: Path, single: SimulatedEngine
) -> None:
    path = tmp_path / "exporter.conf"
    settings = settings_for(single.address, hostname_label="FileHost", default_counters=ONE_COUNTER)
    path.write_text("".join(f"{name} = {value}\n" for name, value in settings.items()))
    arguments = ["--config-file", path, "--once"]
    variable = {"DO_DCGM_EXPORTER_HOSTNAME_LABEL": "VariableHost"}
    assert label_of(run(*arguments).out) == {"FileHost"}
    assert label_of(run(*arguments, environ=variable).out) == {"VariableHost"}
    flagged = run(*arguments, "--hostname-label=FlagHost", environ=variable)
    assert label_of(flagged.out) == {"FlagHost"}


@pytest.mark.parametrize(
    ("file", "environ", "flags", "shown"),
    [
        ("", {}, [], True),
        ("hostname = false", {}, [], False),
        ("no-hostname = true", {}, [], False),
        ("no-hostname = false", {}, [], True),
        ("", {"DO_DCGM_EXPORTER_HOSTNAME": "false"}, [], False),
        ("", {"DO_DCGM_EXPORTER_NO_HOSTNAME": "true"}, [], False),
        ("hostname = false", {"DO_DCGM_EXPORTER_HOSTNAME": "true"}, [], True),
        ("hostname = false", {}, ["--hostname"], True),
        ("", {"DO_DCGM_EXPORTER_HOSTNAME": "true"}, ["-n"], False),
    ],
)
def test_a_switch_works_from_everywhere_in_both_spellings(
    tmp_path: Path,
    single: SimulatedEngine,
    file: str,
    environ: dict[str, str],
    flags: list[str],
    *,
    shown: bool,
) -> None:
    path = tmp_path / "exporter.conf"
    settings = settings_for(single.address, hostname_label="TheHost", default_counters=ONE_COUNTER)
    lines = [f"{name} = {value}" for name, value in settings.items()]
    path.write_text("\n".join([*lines, file, ""]))
    ran = run("--config-file", path, *flags, "--once", environ=environ)
    assert ran.status == 0, ran.err
    assert label_of(ran.out) == ({"TheHost"} if shown else set())


def test_the_shipped_file_is_accepted_with_every_line_switched_on(
    tmp_path: Path, single: SimulatedEngine
) -> None:
    shipped = (ETC / "do-dcgm-exporter.conf").read_text()
    on, count = re.subn(r"(?m)^#(?=[a-z-]+ = )", "", shipped)
    assert count >= 25
    settings = settings_for(
        single.address, hpc_job_mapping_dir=tmp_path, default_counters=ONE_COUNTER
    )
    for name, value in settings.items():
        if name not in ("forward", "collect-interval"):
            on, changed = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", on)
            assert changed == 1, name
    path = tmp_path / "exporter.conf"
    path.write_text(on)
    ran = run("--config-file", path, "--no-forward", "--once")
    assert ran.status == 0, ran.err
    assert Page(ran.out).samples(TEMPERATURE)
    # As it is shipped it sets nothing.
    path.write_text(shipped)
    ran = run("--config-file", path, *flags_for(single)[1:], "--once")
    assert ran.status == 0, ran.err


# --simulate


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


def test_simulate_outlives_a_reload(stage: Stage) -> None:
    exporter = simulate(stage)
    exporter.wait_until_up()
    exporter.reload(hostname="false")
    wait_until(
        lambda: "Hostname" not in exporter.page().samples(TEMPERATURE)[0].labels, "the change"
    )
    assert exporter.page().own("gpus") == 8


def test_simulate_takes_a_scenario_for_every_mode() -> None:
    flags = ["--config-file=/dev/null", "--simulate", "h100x8-mig", "--collectors=/dev/null"]
    ran = run(*flags, "--default-counters", ETC / "default-counters.csv", "--once")
    assert ran.status == 0
    assert "GPU_I_PROFILE" in ran.out


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


def test_without_the_simulator_installed_simulate_names_its_package() -> None:
    without = command_without("dcgm_simulator")
    ran = run("--config-file=/dev/null", "--simulate", command=without)
    assert ran.status == 2
    assert "install the package dcgm-simulator" in ran.sentence


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
