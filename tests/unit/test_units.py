"""The package's units are written for every systemd they may meet."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.builders import REPOSITORY
from tests.systemd_249 import not_understood, settings_in

UNITS = sorted((REPOSITORY / "debian" / "units").iterdir())


def test_the_units_are_found() -> None:
    assert {"do-dcgm-exporter.service", "10-engine.conf"} <= {unit.name for unit in UNITS}


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_249_understands_every_line(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    assert list(settings_in(text))
    assert not_understood(text) == []


@pytest.mark.parametrize(
    "line",
    [
        "RestartSteps=5",
        "Type=notify-reload",
        "PrivateTmp=disconnected",
        "ProtectHostname=private",
        "SystemCallFilter=@system-service @sandbox",
        "ConditionCredential=x",
        "StartLimitBurst=5",  # of [Unit] alone
    ],
)
def test_what_is_newer_or_misplaced_is_noticed(line: str) -> None:
    unit = f"[Unit]\nDescription=x\n[Service]\nType=notify\nExecStart=/bin/true \\\n  a=b\n{line}\n"
    assert not_understood(unit) == [f"[Service] {line}"]
