"""The simulated engine under NVIDIA's name says what it is and takes NVIDIA's flags."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from dcgm_simulator.nv_hostengine import main, parser


def test_it_takes_the_flags_that_units_and_guides_give_it() -> None:
    flags = "-n -b 127.0.0.1 -p 5556 --service-account nvidia-dcgm --log-level DEBUG -f -"
    options = parser().parse_args(flags.split())
    assert (options.no_daemon, options.port, options.bind_interface) == (True, 5556, "127.0.0.1")


def test_it_says_loudly_that_every_number_is_invented() -> None:
    command = [sys.executable, "-m", "dcgm_simulator.nv_hostengine", "-n", "-p", "0"]
    environ = os.environ | {"DCGM_SIMULATOR_VERSION": "3.3.9"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environ) as engine:
        assert engine.stdout is not None
        said = engine.stdout.readline()
        engine.terminate()
    assert re.search(r"NOT NVIDIA.*INVENTED.*h100x8, DCGM 3\.3\.9, at 127\.0\.0\.1:\d+", said)
    assert engine.returncode == 0


def test_a_scenario_that_is_none_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-n"], {"DCGM_SIMULATOR_SCENARIO": "b200"}) == 1
    assert "there is no scenario b200" in capsys.readouterr().err


def test_there_is_nothing_to_terminate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-t", "--pid", str(tmp_path / "pid")], {}) == 1
    assert "no nv-hostengine is running" in capsys.readouterr().err
