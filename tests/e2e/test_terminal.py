"""What the modes that end print for a person at a terminal, and what into a pipe."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import struct
import subprocess
import termios
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.conftest import Stage
from tests.e2e.exporter import CHECK_CONFIG, COMMAND, environment, flags_for, run

from dcgm_simulator.process import SimulatedEngine

ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
BOLD, GREEN, RED = "\x1b[1m", "\x1b[32m", "\x1b[31m"
XTERM = {"TERM": "xterm", "LANG": "C.UTF-8"}


@dataclass(frozen=True)
class Shown:
    """What came to a terminal; ``passing`` is what was taken back."""

    status: int
    raw: str

    @property
    def lines(self) -> list[str]:
        """What is left in the end, without colours."""
        kept = (line.rpartition("\x1b[K")[2] for line in self.raw.split("\n"))
        return [ESCAPE.sub("", line).strip("\r") for line in kept]

    @property
    def passing(self) -> str:
        """What was there for a while."""
        return ESCAPE.sub("", " ".join(re.findall(r"\x1b\[K([^\r\n]*)\r", self.raw)))


def on_terminal(
    *arguments: str, columns: int = 100, environ: Mapping[str, str] | None = None
) -> Shown:
    """Run the command at a terminal of so many columns."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, columns, 0, 0))
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        env=environment({**XTERM, **(environ or {})}),
    )
    os.close(slave)
    received = b""
    while True:
        try:
            data = os.read(master, 65536)
        except OSError as error:
            assert error.errno == errno.EIO  # how a terminal ends, pts(4)
            break
        if not data:
            break
        received += data
    os.close(master)
    return Shown(process.wait(60), received.decode())


@pytest.fixture(scope="module")
def engine(shared_stage: Stage) -> SimulatedEngine:
    return shared_stage.engine("h100x8")


def test_once_begins_with_what_matters_and_has_every_family(engine: SimulatedEngine) -> None:
    shown = on_terminal(*flags_for(engine, status_page="false"), "--once")
    assert shown.status == 0
    assert shown.lines[0].startswith("✓ All is well: 8 GPUs answer, ")
    assert re.fullmatch(r" +Utilization +Memory +Temperature +Power +Clocks", shown.lines[2])
    assert re.fullmatch(r"GPU 0 +\d+ % +[\d.]+ / 79.6 GiB +\d+ / 90 °C .*", shown.lines[3])
    plain = run(*flags_for(engine), "--once").out
    families = set(re.findall("^# HELP ([^ ]+)", plain, re.MULTILINE))
    assert families == {line.split()[0] for line in shown.lines if re.match(r"\w+_\w+  ", line)}
    place = next(n for n, line in enumerate(shown.lines) if "DCGM_FI_DEV_GPU_TEMP " in line)
    assert re.fullmatch(r"  GPU 0  \d+ +GPU 1  \d+ .*", shown.lines[place + 1])
    assert max(map(len, shown.lines[3:11])) <= 100


def test_once_tells_what_it_waits_for_and_takes_that_back(engine: SimulatedEngine) -> None:
    shown = on_terminal(*flags_for(engine, collect_interval=20000), "--once")
    assert "waiting for profiling values (" in shown.passing
    assert "waiting for profiling" not in "\n".join(shown.lines)


def test_once_names_what_is_wrong_in_its_colour(stage: Stage) -> None:
    engine = stage.engine("h100x8")
    engine.control("lose-gpu", "3")
    shown = on_terminal(*flags_for(engine), "--once")
    assert shown.status == 1
    assert shown.lines[0].startswith("✗ GPU 3 is lost to the driver (UUID not known)")
    assert "GPU 3  lost to the driver" in shown.lines
    assert f"{RED}✗" in shown.raw


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_who_wants_no_colours_gets_none(engine: SimulatedEngine, environ: dict[str, str]) -> None:
    flags = flags_for(engine)
    for mode in (("--once",), CHECK_CONFIG, ("--list-fields",)):
        shown = on_terminal(*flags, *mode, environ=environ)
        assert "\x1b" not in shown.raw
        assert shown.status == 0


def test_signs_are_those_that_can_be_shown(engine: SimulatedEngine) -> None:
    shown = on_terminal(
        *flags_for(engine), "--once", environ={"LANG": "C", "PYTHONIOENCODING": "ascii"}
    )
    assert shown.lines[0].startswith("ok All is well")


def test_check_config_is_a_coloured_table_per_file(engine: SimulatedEngine, tmp_path: Path) -> None:
    counters = tmp_path / "more.csv"
    counters.write_text("DCGM_FI_DEV_GPU_TEMPS, gauge, x\nDCGM_FI_DEV_MAX_SM_CLOCK, gauge, x\n")
    flags = flags_for(engine, collectors=counters)
    shown = on_terminal(*flags, *CHECK_CONFIG)
    assert shown.status == 2
    assert f"{BOLD}{counters}" in shown.raw
    assert f"{RED}unknown" in shown.raw
    assert f"{GREEN}ok" in shown.raw
    place = shown.lines.index(str(counters))
    wrong, right = shown.lines[place + 1 : place + 3]
    assert wrong.index("DCGM_FI_DEV_GPU_TEMPS") == right.index("DCGM_FI_DEV_MAX_SM_CLOCK")
    summary = run(*flags, *CHECK_CONFIG).out.splitlines()[-1]
    assert summary in shown.lines


@pytest.mark.parametrize("columns", [110, 132, 200])
def test_list_fields_fits_the_terminal(columns: int) -> None:
    shown = on_terminal("--list-fields", columns=columns)
    assert max(map(len, shown.lines)) <= columns
    listed = {line.split()[1] for line in run("--list-fields").out.splitlines()[1:]}
    assert listed <= set(" ".join(shown.lines).split())


def test_into_a_pipe_nothing_is_dressed_up(engine: SimulatedEngine) -> None:
    for mode in (("--once",), CHECK_CONFIG, ("--list-fields",)):
        ran = run(*flags_for(engine), *mode, environ=XTERM)
        assert "\x1b" not in ran.out + ran.err
        assert "waiting" not in ran.err
    assert run(*flags_for(engine), "--once").out.startswith("# HELP ")
