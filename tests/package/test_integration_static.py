"""The units and papers of the integration tool, without booting anything."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tests.package.packages import CLONE
from tests.package.test_static import plain, unpacked

__all__ = ["unpacked"]  # a fixture

DEBIAN = CLONE / "debian"
UNITS = DEBIAN / "units"
INTEGRATE = UNITS / "do-dcgm-exporter-integrate.service"
EMBEDDED = UNITS / "do-dcgm-exporter-embedded.service"
USAGE = UNITS / "do-dcgm-exporter-usage.service"
# In tenths: what is left is being root, seeing all processes and, for the first, writing.
EXPOSURES = {INTEGRATE: 43, EMBEDDED: 25, USAGE: 25}
TIMERS = sorted(UNITS.glob("*.timer"))
TRIGGERED = ("nvidia-dcgm-exporter.service", "dcgm-exporter.service")


@pytest.mark.parametrize("unit", EXPOSURES, ids=lambda unit: unit.name)
def test_a_unit_is_confined_as_far_as_its_work_permits(unit: Path) -> None:
    subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURES[unit]}", unit],
        check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def test_no_target_can_wait_for_the_work() -> None:
    assert len(TIMERS) == len(EXPOSURES)
    for unit in EXPOSURES:
        assert "[Install]" not in unit.read_text()
    for starter in (*TIMERS, *UNITS.glob("*.path")):
        kind = starter.suffix.lstrip(".")
        assert re.findall("(?m)^WantedBy=(.*)$", starter.read_text()) == [f"{kind}s.target"]


def test_exporters_units_trigger_by_both_spellings_of_their_paths(unpacked: Path) -> None:
    lines = (unpacked / "DEBIAN" / "triggers").read_text().splitlines()
    for name in TRIGGERED:
        for place in ("/lib", "/usr/lib"):
            assert f"interest-noawait {place}/systemd/system/{name}" in lines


def help_of(*command: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "do_dcgm_exporter.integration", *command, "--help"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


@pytest.mark.parametrize(
    "path",
    ["usr/share/man/man8/do-dcgm-exporter-integrate.8.gz",
     "usr/share/bash-completion/completions/do-dcgm-exporter-integrate"],
)  # fmt: skip
def test_every_command_and_option_is_documented_and_completed(unpacked: Path, path: str) -> None:
    text = subprocess.run(
        ["zcat", "--force", unpacked / path], capture_output=True, text=True, check=True
    ).stdout
    words = set(re.findall(r"(?<![\w-])-{0,2}[A-Za-z][a-z-]*", plain(text)))
    found = re.search(r"\{([a-z,]+)\}", help_of())
    assert found
    commands = found[1].split(",")
    options = {
        option
        for command in commands
        for option in re.findall(r"(?<![\w-])--[a-z-]+", help_of(command))
    }
    assert [word for word in {*commands, *options} if word not in words] == []


def test_the_translations_are_complete(tools: None) -> None:
    for language in ("de", "fr"):
        subprocess.run(
            ["msgcmp", DEBIAN / "po" / f"{language}.po", DEBIAN / "po" / "templates.pot"],
            check=True,
        )
