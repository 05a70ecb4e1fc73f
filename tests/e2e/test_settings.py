"""Settings from flags, environment and file: which of them wins, and what is said of mistakes."""

from __future__ import annotations

import json
import os
import re
import socket
from pathlib import Path

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import (
    ETC,
    flags_for,
    run,
    settings_for,
)
from tests.e2e.pages import Page

from dcgm_simulator.process import SimulatedEngine

DATA = Path(__file__).parent / "data"
TEMPERATURE = "DCGM_FI_DEV_GPU_TEMP"
ONE_COUNTER = DATA / "temperature.csv"


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
        (["--simulate=/dev/null", "--once"], ["--simulate", "/dev/null", "not a recording"]),
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
